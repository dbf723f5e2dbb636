// report: write #include <ringfold/folder/name.hpp>
#pragma once

#include "climbs.hpp"
