#pragma once

#include <ringfold/comm/bell.hpp>

/// \file
/// Who still needs memory that an exchange lent to others.

namespace ringfold::detail {

/// Counts the claims on lent memory: borrowers, and messages on their way from one borrower to the next.
///
/// The owner waits for all claims before it writes. Once the ranks are poisoned no message is taken any more, and the
/// owner waits for the borrowers only before it frees.
class lease {
 public:
  explicit lease(bell& owner) : owner_(owner) {}

  /// A borrower sends the memory on.
  void send_on() noexcept { claims_.fetch_add(1); }
  /// What was sent on has been read.
  void was_read() noexcept {
    claims_.fetch_sub(1);
    owner_.ring();
  }

  void borrow() noexcept {
    claims_.fetch_add(1);
    borrowers_.fetch_add(1);
  }
  void give_back() noexcept {
    borrowers_.fetch_sub(1);
    claims_.fetch_sub(1);
    owner_.ring();
  }

  bool claimed() const noexcept { return claims_.load() > 0; }
  bool borrowed() const noexcept { return borrowers_.load() > 0; }

 private:
  std::atomic<int> claims_{0};
  std::atomic<int> borrowers_{0};
  bell& owner_;
};

}  // namespace ringfold::detail
