// report: wrap may not include <ringfold/comm/self.hpp>
#pragma once

#include <ringfold/comm/self.hpp>
