// report: ThreadSanitizer misreads this
#pragma once

#include <mutex>

inline std::timed_mutex lock;
