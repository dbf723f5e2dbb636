// report: algebra never sees a communicator: <ringfold/core/communicator.hpp>
#pragma once

#include <ringfold/core/communicator.hpp>
