#pragma once

#include <ringfold/comm/member.hpp>

/// \file
/// The ranks of one launch, and the wires between them.

namespace ringfold::detail {

/// All ranks of a launch: one fate.
template <class Stream>
class team {
 public:
  team(int ranks, std::chrono::nanoseconds deadline) : deadline_(deadline) {
    for (int rank = 0; rank < ranks; ++rank) members_.push_back(&rooms_.emplace_back(*this, rank));
  }

  int size() const noexcept { return static_cast<int>(members_.size()); }
  std::chrono::nanoseconds deadline() const noexcept { return deadline_; }
  member<Stream>& at(int rank) noexcept { return *members_[static_cast<std::size_t>(rank)]; }
  detail::fate& fate() noexcept { return fate_; }

  /// Whether any rank reads another's memory.
  bool reading() const noexcept {
    for (auto const& each : members_) {
      if (each->reads()) return true;
    }
    return false;
  }

  void ring_all() noexcept {
    for (auto& each : members_) each->ring();
  }

  /// An exception unwinds a live exchange of this rank; its text is not known yet.
  void unwinding(int rank) noexcept {
    fate_.unwinding(rank);
    ring_all();
  }

  /// This rank goes on; if an exception unwound a live exchange, that is now all that will be known of it.
  void caught(int rank) noexcept {
    fate_.caught(rank);
    ring_all();
  }

  /// This rank's part is done: it sends and receives no more.
  void returned(int rank) noexcept {
    fate_.caught(rank);
    at(rank).has_returned = true;
    any_returned_ = true;
    ring_all();
  }
  bool any_returned() const noexcept { return any_returned_; }
  bool has_returned(int rank) const noexcept { return members_[static_cast<std::size_t>(rank)]->has_returned; }

  /// The exception that is being handled on this rank stops all others, unless they were stopped before.
  void poison_by_current(int rank) noexcept {
    try {
      throw;
    } catch (const std::exception& cause) {
      fate_.tell(rank, cause.what(), std::current_exception());
    } catch (...) {
      fate_.tell(rank, "an exception that is no std::exception", std::current_exception());
    }
    ring_all();
  }

 private:
  std::chrono::nanoseconds deadline_;
  detail::fate fate_;
  std::atomic<bool> any_returned_{false};
  std::list<member<Stream>> rooms_;  // members do not move
  std::vector<member<Stream>*> members_;
};

/// One mailbox per ordered pair of ranks. A wire is split off by all ranks, each when it gets there.
template <class Stream>
class wire {
 public:
  explicit wire(team<Stream>& all)
      : team_(all),
        boxes_(static_cast<std::size_t>(all.size() * all.size())),
        ends_(static_cast<std::size_t>(all.size())) {}

  member<Stream>& at(int rank) noexcept { return team_.at(rank); }

  mailbox& box(int from, int to) noexcept { return boxes_[static_cast<std::size_t>(from * team_.size() + to)]; }

  /// The number of this rank's next exchange.
  long next_step(int rank) noexcept { return ends_[static_cast<std::size_t>(rank)].steps++; }

  /// The wire that this rank's next split leads to: the same for the k-th split of every rank.
  wire& split(int rank) {
    std::size_t const k = ends_[static_cast<std::size_t>(rank)].splits++;
    std::lock_guard const hold(splitting_);
    while (parts_.size() <= k) parts_.emplace_back(team_);
    auto found = parts_.begin();
    for (std::size_t i = 0; i < k; ++i) ++found;
    return *found;
  }

 private:
  struct alignas(64) end {
    long steps = 0;
    std::size_t splits = 0;
  };

  team<Stream>& team_;
  std::vector<mailbox> boxes_;
  std::vector<end> ends_;
  std::mutex splitting_;
  std::list<wire> parts_;
};

}  // namespace ringfold::detail
