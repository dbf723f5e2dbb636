// report: <functional> is too heavy for core
#pragma once

#include <functional>
