#pragma once

#include <ringfold/core/view.hpp>
#include <mutex>
