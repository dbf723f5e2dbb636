#pragma once

#include <ringfold/core/view.hpp>
#include <ringfold/collective/ring_pass.hpp>
#include <ringfold/kernel/reference.hpp>
