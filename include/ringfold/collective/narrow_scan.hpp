#pragma once

#include <vector>

#include <ringfold/algebra/narrowed.hpp>
#include <ringfold/collective/posting.hpp>
#include <ringfold/schedule/narrowed.hpp>
#include <ringfold/schedule/slots.hpp>

/// \file
/// Exclusive scans whose states are rounded before they travel.

namespace ringfold {

/// The state that enters each of the caller's slots, by another scan of states of T; Scan is that one.
///
/// Used as chain_scan is, with elements, a seed and states of G.
/// **Steps, Order** the schedule's. **Bytes** the schedule's for states of T. **Memory** the scan's, and as much again
/// as its elements for sums; for each of the caller's slots an element and a state; three states. **Overlap** the scan's.
/// Throws what the communicator throws. Source: schedule::narrowed's.
template <class Scan, class T, class G, communicator C>
class narrow_scan {
 public:
  using stream = stream_t<C>;
  using space = space_t<C>;
  using state = typename G::state;
  using element = typename G::element;

  /// \throws usage_error when the scan does.
  template <class Schedule>
  narrow_scan(schedule::narrowed<T, Schedule> schedule, G algebra, C comm, const scan_slots& slots,
              arena<space>& memory)
      : algebra_(algebra, memory),
        seed_(algebra_.take_state(memory)),
        scan_(schedule.of, algebra_, comm, slots, memory) {
    for (int const slot : slots.of(comm.rank())) {
      has_first_ = has_first_ || slot == 0;
      mine_.push_back(algebra_.take_element(memory));
      before_.push_back(algebra.take_state(memory));
    }
  }

  /// As chain_scan's.
  void start(span<const element> mine, const state* seed, stream on) {
    for (std::size_t own = 0; own < mine_.size(); ++own) algebra_.take_over(on, mine[own], mine_[own]);
    bool const seeded = has_first_ && seed != nullptr;
    if (seeded) {
      on.elementwise(elementwise::round_to{}, seed_, *seed);
      on.elementwise(elementwise::round_to{}, before_[0], *seed);
    }
    widened_ = seeded ? 1 : 0;
    scan_.start(mine_, seeded ? &seed_ : nullptr, on);
  }

  bool advance(stream on) {
    if (!scan_.advance(on)) return false;
    widen(on);
    return true;
  }

  void finish(stream on) {
    scan_.finish(on);
    widen(on);
  }

  const state& before(int own) const { return before_[static_cast<std::size_t>(own)]; }

 private:
  using narrow = narrowed<G, T>;

  void widen(stream on) {
    for (; widened_ < before_.size(); ++widened_) {
      on.elementwise(elementwise::round_to{}, before_[widened_], scan_.before(static_cast<int>(widened_)));
    }
  }

  narrow algebra_;
  typename narrow::state seed_;
  Scan scan_;
  std::vector<typename narrow::element> mine_;
  std::vector<state> before_;
  bool has_first_ = false;
  std::size_t widened_ = 0;  // of before_; where a seed entered, it is there from the start
};

}  // namespace ringfold
