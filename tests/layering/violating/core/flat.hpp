// report: write #include <ringfold/folder/name.hpp>
#pragma once

#include <ringfold/core.hpp>
