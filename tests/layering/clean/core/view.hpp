#pragma once

#include <cstddef>
#include <span>

#define RINGFOLD_HOST
