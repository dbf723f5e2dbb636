#pragma once

#include <atomic>
#include <concepts>
#include <exception>

#include <ringfold/core/sizes.hpp>

/// \file
/// Threads inside a rank: who runs pieces of work that may run at once.

namespace ringfold {

/// Runs pieces of work, at once if it can.
///
/// - `workers()`: how many pieces are worth having at once; scratch memory is kept for each. Whoever keeps it asks once:
///   should the number change, so many stay the most. Below 1 it counts as 1.
/// - `run(count, f)`: calls f(0) .. f(count - 1), each once, in any order and on any threads, and returns when all have
///   returned; what they wrote is seen then. `f` throws nothing. A call may wait for another that has begun, never for
///   one that has not: fewer threads than pieces will do, fibers that take turns will not.
///
/// Several ranks may share one: run() is then called by several threads at once. A kernel or recurrence that is told of
/// an executor (flash_kernel::on, recurrence_over::on) keeps a pointer to it, and calls masks, score functions and rules
/// from its threads; its results are the same bits for every number of workers whose floating-point modes are alike.
/// \snippet executor/thread_pool_test.cpp executor
template <class E>
concept executor = requires(const E& e, int count, void (*f)(int)) {
  { e.workers() } -> std::same_as<int>;
  e.run(count, f);
};

/// Stands where an executor was expected; naming it fails to compile with one line.
template <class E>
struct not_an_executor {
  static_assert(executor<E>,
                "[ringfold] not an executor: add    int workers() const; template <class F> void run(int count, F&& f) "
                "const, which calls f(0) .. f(count - 1)");
};

/// The caller's thread alone.
struct in_place {
  int workers() const { return 1; }
  template <class F>
  void run(int count, F&& f) const {
    for (int i = 0; i < count; ++i) f(i);
  }
};

namespace detail {

/// Calls f(i, worker) for all i below count, each worker below `most` one at a time. They begin in order, so that one may
/// wait for those before. \throws the first exception that f throws; what has not begun then never does.
template <executor E, class F>
void hand_out(const E& to, int most, extent count, F f) {
  int const workers = count < most ? static_cast<int>(count) : most;
  if (workers <= 1) {
    for (extent i = 0; i < count; ++i) f(i, 0);
    return;
  }
  std::atomic<extent> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  to.run(workers, [&](int worker) noexcept {
    try {
      for (extent i = next++; i < count; i = next++) f(i, worker);
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
      next = count;
    }
  });
  if (failure) std::rethrow_exception(failure);
}

/// How far each link of a chain has come along a way that all of them take: none overtakes the one before, and where
/// one breaks off, so do all behind it.
class footprints {
 public:
  using steps = std::atomic<extent>;
  /// One that begins at *mine = 0, behind whoever left `before`, if anybody.
  footprints(steps* mine, const steps* before, extent way) : mine_(mine), before_(before), left_(way) {}
  ~footprints() {
    if (left_ > 0) tell(broken_off);
  }
  footprints(const footprints&) = delete;
  footprints& operator=(const footprints&) = delete;

  /// Waits until the one before has come to `place`. False when it never will.
  [[nodiscard]] bool follow(extent place) const {
    if (before_ == nullptr) return true;
    extent seen = *before_;
    for (; seen < place; seen = *before_) before_->wait(seen);
    return seen != broken_off;
  }
  /// Goes on by so many places.
  void advance(extent places) {
    left_ -= places;
    tell(*mine_ + places);
  }

 private:
  static constexpr extent broken_off = extent{1} << 62;
  void tell(extent place) {
    *mine_ = place;
    mine_->notify_one();
  }
  steps* mine_;
  const steps* before_;
  extent left_;
};

}  // namespace detail
}  // namespace ringfold
