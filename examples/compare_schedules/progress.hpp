#pragma once

#include <chrono>
#include <string>

/// \file
/// Tells on stderr how far a long run is; silent on short ones.

namespace compare_schedules {

/// One line on a terminal, rewritten; elsewhere a new line now and then.
class progress {
 public:
  explicit progress(bool shown);
  ~progress() { clear(); }
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  /// `done` of `total` parts of what is named are finished.
  void tell(const std::string& what, long long done, long long total);

  /// Takes the line away, so that something else can be printed.
  void clear();

 private:
  using clock = std::chrono::steady_clock;
  bool shown_, terminal_, dirty_ = false;
  clock::time_point start_ = clock::now(), last_{};
};

}  // namespace compare_schedules
