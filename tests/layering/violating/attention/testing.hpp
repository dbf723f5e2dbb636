// report: attention may not include <ringfold/testing/laws.hpp>
#pragma once

#include <ringfold/testing/laws.hpp>
