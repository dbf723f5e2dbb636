#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include <ringfold/core/errors.hpp>
#include <ringfold/core/executor.hpp>

/// \file
/// The plain executor.

namespace ringfold {

/// A fixed number of threads, the caller's among them, that live as long as the pool.
///
/// A call that finds the pool at work, for another rank or from within, runs in place: nobody waits for a free pool.
/// Threads that find nothing to do look again for some microseconds, then sleep. A call allocates nothing.
class thread_pool {
 public:
  /// \throws usage_error when there is no worker; what std::thread throws.
  explicit thread_pool(int workers) {
    if (workers < 1) throw usage_error(say("thread_pool: %d workers; at least 1 is needed", workers));
    threads_.reserve(static_cast<std::size_t>(workers - 1));
    try {
      while (this->workers() < workers) threads_.emplace_back([this] { serve(); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ~thread_pool() { stop(); }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  int workers() const { return static_cast<int>(threads_.size()) + 1; }

  /// Calls f(0) .. f(count - 1), which throw nothing.
  template <class F>
  void run(int count, F&& f) const {
    if (count < 1) return;
    if (count == 1 || threads_.empty() || busy_.test_and_set()) return in_place{}.run(count, f);
    using callable = std::remove_reference_t<F>;
    job_ = {[](void* of, int i) noexcept { (*static_cast<callable*>(of))(i); },
            const_cast<void*>(static_cast<const void*>(std::addressof(f))), count};
    done_ = 0;
    open_ = static_cast<std::uint64_t>(count);
    open_.notify_all();
    work();
    for (int done = done_; done != count; done = done_) await(done_, done);
    busy_.clear();
  }

 private:
  struct job {
    void (*call)(void*, int) noexcept;
    void* f;
    int count;
  };
  static constexpr std::uint64_t closed = ~std::uint64_t{0};
  static constexpr int looks = 256;

  /// Takes pieces until none is left. A job stays what it is until all pieces that were taken of it are done.
  void work() const {
    for (std::uint64_t left = open_; left != 0 && left != closed;) {
      if (!open_.compare_exchange_weak(left, left - 1)) continue;
      job const mine = job_;
      mine.call(mine.f, mine.count - static_cast<int>(left));
      if (++done_ == mine.count) done_.notify_one();
      left = open_;
    }
  }
  void serve() const {
    for (std::uint64_t left = open_; left != closed; left = open_) {
      work();
      await(open_, std::uint64_t{0});
    }
  }
  /// Waits while it is `old`; to be woken takes longer than many a piece of work.
  template <class T>
  static void await(const std::atomic<T>& changing, T old) {
    for (int look = 0; look < looks && changing == old; ++look) std::this_thread::yield();
    changing.wait(old);
  }
  void stop() {
    open_ = closed;
    open_.notify_all();
    for (std::thread& each : threads_) each.join();
  }

  std::vector<std::thread> threads_;
  mutable std::atomic_flag busy_;
  mutable std::atomic<std::uint64_t> open_{0};  ///< pieces that nobody has taken
  mutable std::atomic<int> done_{0};
  mutable job job_{};
};

}  // namespace ringfold
