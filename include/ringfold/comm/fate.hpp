#pragma once

#include <atomic>
#include <exception>
#include <mutex>

#include <ringfold/core/errors.hpp>

/// \file
/// What the ranks of one launch share when one of them fails.

namespace ringfold::detail {

/// The first failure among ranks: who, why, and the exception itself. Whoever comes later changes nothing.
///
/// A rank whose exception unwinds a live exchange is known as the origin before its text is: no destructor can
/// read the exception that passes through it.
class fate {
 public:
  /// Whether a rank has failed; from then on nobody begins to read another rank's memory.
  bool sealed() const noexcept { return state_.load() != state::good; }
  /// Whether the cause is known too.
  bool told() const noexcept { return state_.load() == state::told; }

  /// An exception unwinds a live exchange of this rank.
  void unwinding(int rank) noexcept {
    std::lock_guard const hold(mutex_);
    if (sealed()) return;
    origin_ = rank;
    state_.store(state::unwinding);
  }

  /// This rank has failed with this exception.
  void tell(int rank, const char* text, std::exception_ptr cause) noexcept {
    std::lock_guard const hold(mutex_);
    if (told() || (sealed() && origin_ != rank)) return;
    origin_ = rank;
    text_ = say("%s", text);
    cause_ = std::move(cause);
    state_.store(state::told);
  }

  /// If an exception unwound a live exchange of this rank, the rank has caught it itself.
  void caught(int rank) noexcept {
    if (!sealed() || told()) return;
    line const text = say("rank %d caught an exception that unwound a live exchange", rank);
    tell(rank, text.text, std::make_exception_ptr(transport_error(text, {.rank = rank, .origin = rank})));
  }

  /// The error of a rank that was stopped by it.
  poisoned verdict(int rank) const noexcept {
    std::lock_guard const hold(mutex_);
    return poisoned(say("rank %d failed: %s", origin_, text_.text), {.rank = rank, .origin = origin_});
  }

  std::exception_ptr cause() const noexcept {
    std::lock_guard const hold(mutex_);
    return cause_;
  }

 private:
  enum class state { good, unwinding, told };

  std::atomic<state> state_{state::good};
  mutable std::mutex mutex_;
  int origin_ = -1;
  line text_ = say("an exception unwound a live exchange");
  std::exception_ptr cause_;
};

}  // namespace ringfold::detail
