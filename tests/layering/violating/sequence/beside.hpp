// report: sequence may not include <ringfold/algebra/softmax.hpp>
#pragma once

#include <ringfold/algebra/softmax.hpp>
