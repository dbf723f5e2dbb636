#include "progress.hpp"

#include <unistd.h>

#include <cstdio>

namespace compare_schedules {

progress::progress(bool shown) : shown_(shown), terminal_(isatty(STDERR_FILENO) != 0) {}

void progress::tell(const std::string& what, long long done, long long total) {
  auto const now = clock::now();
  if (!shown_ || now - start_ < std::chrono::seconds(2)) return;
  if (now - last_ < std::chrono::milliseconds(terminal_ ? 100 : 5000)) return;
  last_ = now;
  dirty_ = terminal_;
  std::fprintf(stderr, "%s%s: %lld of %lld done%s", terminal_ ? "\r\033[K" : "", what.c_str(), done, total,
               terminal_ ? "" : "\n");
  std::fflush(stderr);
}

void progress::clear() {
  if (dirty_) std::fputs("\r\033[K", stderr), std::fflush(stderr);
  dirty_ = false;
}

}  // namespace compare_schedules
