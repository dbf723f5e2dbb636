#pragma once

#include <ringfold/testing/laws.hpp>
#include <ringfold/recurrence/chain.hpp>
