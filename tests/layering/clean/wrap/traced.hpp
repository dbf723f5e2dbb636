#pragma once

#include <ringfold/wrap/counted.hpp>
#include <ringfold/collective/shift.hpp>
#include <chrono>
