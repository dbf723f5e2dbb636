#pragma once

#include <chrono>
#include <thread>

/// \file
/// How a rank waits for others without a way to be woken.

namespace ringfold::detail {

/// A wait that spins briefly, then yields, then naps, so that ranks may outnumber cores.
class patience {
 public:
  explicit patience(double seconds) : seconds_(seconds) {}
  /// False when the time is up.
  bool pause() {
    if (++turns_ < 64) return true;
    double const waited = std::chrono::duration<double>(clock::now() - start_).count();
    if (waited < 2e-3) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return seconds_ <= 0 || waited < seconds_;
  }

 private:
  using clock = std::chrono::steady_clock;
  clock::time_point start_ = clock::now();
  double seconds_;
  int turns_ = 0;
};

}  // namespace ringfold::detail
