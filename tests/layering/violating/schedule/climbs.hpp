// report: schedule may not include <ringfold/collective/ring_pass.hpp>
#pragma once

#include <ringfold/collective/ring_pass.hpp>
