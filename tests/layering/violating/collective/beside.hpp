// report: collective may not include <ringfold/kernel/reference.hpp>
#pragma once

#include <ringfold/kernel/reference.hpp>
