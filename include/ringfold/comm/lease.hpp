#pragma once

#include <cstdint>

#include <ringfold/comm/bell.hpp>

/// \file
/// Who still needs memory that one rank lent to others.

namespace ringfold::detail {

/// Counts what an exchange lent: claims (messages not yet given back) and readers (those that touch it right now).
///
/// The owner waits for its claims before it writes; once the world is poisoned nobody begins to read any more,
/// and it waits for its readers only. Both counts share one word, so that to give back is one step.
class lease {
 public:
  explicit lease(bell& owner) : owner_(owner) {}

  /// One more message refers to the memory.
  void claim() noexcept { count_.fetch_add(one_claim); }
  /// The caller begins to read; it holds a claim.
  void enter() noexcept { count_.fetch_add(one_reader); }
  /// The caller stops to read but leaves its claim.
  void leave() noexcept { drop(one_reader); }
  /// The caller stops to read and gives its claim back.
  void give_back() noexcept { drop(one_reader + one_claim); }

  int claims() const noexcept { return static_cast<int>(count_.load() & 0xffffffffu); }
  int readers() const noexcept { return static_cast<int>(count_.load() >> 32); }

 private:
  static constexpr std::uint64_t one_claim = 1, one_reader = std::uint64_t{1} << 32;

  void drop(std::uint64_t what) noexcept {
    count_.fetch_sub(what);
    owner_.ring();
  }

  std::atomic<std::uint64_t> count_{0};
  bell& owner_;
};

}  // namespace ringfold::detail
