#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

/// \file
/// How one thread waits for what others do: it spins a little, yields a little, then sleeps until it is rung.

namespace ringfold::detail {

inline void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// One thread waits, any thread rings.
///
/// No wake-up is lost: the waiter says that it sleeps and then looks again; the ringer publishes and then looks who
/// sleeps. All four are sequentially consistent, so at least one of them sees the other.
class bell {
 public:
  using clock = std::chrono::steady_clock;
  static constexpr std::chrono::nanoseconds forever{0};

  /// Wakes the waiter. What it waits for was published before, with a sequentially consistent store.
  void ring() noexcept {
    if (!asleep_.load() || !asleep_.exchange(false)) return;
    {
      std::lock_guard const hold(mutex_);
      rung_ = true;
    }
    wake_.notify_one();
  }

  /// Waits until ready() or until `limit` has passed, and says whether it was ready.
  /// ready() runs unlocked, so that it may ring other bells.
  template <class Ready>
  bool wait(std::chrono::nanoseconds limit, Ready ready) {
    for (int spin = 0; spin < spins; ++spin) {
      if (ready()) return true;
      pause_briefly();
    }
    clock::time_point const until = limit > forever ? clock::now() + limit : clock::time_point::max();
    for (int yield = 0; yield < yields; ++yield) {
      std::this_thread::yield();
      if (ready()) return true;
    }
    for (;;) {
      asleep_.store(true);
      bool const done = ready();
      if (done || clock::now() >= until) {
        asleep_.store(false);
        return done;
      }
      std::unique_lock hold(mutex_);
      wake_.wait_until(hold, until, [this] { return rung_; });
      rung_ = false;
    }
  }

 private:
  // A condition variable costs 20 us to wake by, a yield 2 us where ranks outnumber cores, a spin nothing where not.
  static constexpr int spins = 100;
  static constexpr int yields = 50;

  std::atomic<bool> asleep_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool rung_ = false;
};

}  // namespace ringfold::detail
