// report: kernel never sees a communicator: <ringfold/core/exchange.hpp>
#pragma once

#include <ringfold/core/exchange.hpp>
