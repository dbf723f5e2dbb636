// report: sequence may not include <ringfold/schedule/ring.hpp>
#pragma once

#include <ringfold/schedule/ring.hpp>
