// report: <chrono> is too heavy for attention
#pragma once

#include <chrono>
