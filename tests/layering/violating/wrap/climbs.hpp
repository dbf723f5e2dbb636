// report: wrap may not include <ringfold/attention/ring.hpp>
#pragma once

#include <ringfold/attention/ring.hpp>
