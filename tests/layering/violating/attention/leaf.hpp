// report: attention may not include <ringfold/comm/threads.hpp>
#pragma once

#include <ringfold/comm/threads.hpp>
