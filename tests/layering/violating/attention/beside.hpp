// report: attention may not include <ringfold/recurrence/chain.hpp>
#pragma once

#include <ringfold/recurrence/chain.hpp>
