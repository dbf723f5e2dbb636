// report: comm may not include <ringfold/wrap/counted.hpp>
#pragma once

#include <ringfold/wrap/counted.hpp>
