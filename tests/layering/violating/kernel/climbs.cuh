// report: kernel may not include <ringfold/attention/ring.hpp>
#pragma once

#include <ringfold/attention/ring.hpp>
