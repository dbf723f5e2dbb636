#pragma once

#include <chrono>
#include <thread>

/// \file
/// How a rank waits for others without a way to be woken.

namespace ringfold::detail {

/// A wait that spins briefly and then yields, so that ranks may outnumber cores.
///
/// It never sleeps: a large message moves only as fast as both ends look at it. The time counts from the first yield, as
/// most waits are over before.
class patience {
 public:
  explicit patience(double seconds) : seconds_(seconds) {}
  /// False when the time is up.
  bool pause() {
    if (++turns_ < spins) return true;
    if (turns_ == spins) start_ = clock::now();
    std::this_thread::yield();
    return seconds_ <= 0 || std::chrono::duration<double>(clock::now() - start_).count() < seconds_;
  }

 private:
  using clock = std::chrono::steady_clock;
  static constexpr long spins = 64;
  clock::time_point start_{};
  double seconds_;
  long turns_ = 0;
};

}  // namespace ringfold::detail
