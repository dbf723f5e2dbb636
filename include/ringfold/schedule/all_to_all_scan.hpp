#pragma once

#include <ringfold/schedule/scan.hpp>

/// \file
/// Exclusive scans that cut the state, so that everybody folds one part of it for all.

namespace ringfold::schedule {

/// Each rank is sent one part of all elements, folds them in order, and sends each slot that part of what enters it.
///
/// Elements need no product. The order is the serial one, bit for bit. What is not cut of an element, as its transition,
/// goes to each part's rank whole. What the first slot leaves is a state already, and travels as one. Where ranks are
/// more than columns, the others fold nothing.
/// **Steps** two. **Bytes** about a state and a transition for each part, and a state. **Order** the serial one.
/// Source: the transpose of a reduce-scatter, as Ulysses (2023) is of an all-gather.
struct all_to_all {
  static constexpr bool carries_states = false, keeps_order = true;

  static constexpr int rounds(int slots) { return slots > 1 ? 2 : 0; }
  /// Of a state that may be cut along so many columns.
  static constexpr int parts(int ranks, extent columns) { return static_cast<int>(ranks < columns ? ranks : columns); }
  static constexpr extent bytes(int slots, int slot, scan_sizes of) {
    int const count = parts(slots, of.columns);
    extent tells = 0;
    for (int part = 0; part < count && slot + 1 < slots; ++part) {
      if (part == slot) continue;
      tells += of.state_part(part, count) + (slot > 0 ? of.transition_part(part, count) : 0);
    }
    return slot < count ? tells + (slots - 1 - (slot > 0)) * of.state_part(slot, count) : tells;
  }
};

}  // namespace ringfold::schedule
