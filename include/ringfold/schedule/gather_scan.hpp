#pragma once

#include <ringfold/schedule/ring.hpp>
#include <ringfold/schedule/scan.hpp>

/// \file
/// Exclusive scans that bring everybody the elements before it, for each to fold by itself.
///
/// Ranks stand in a circle, by their first slots. A schedule is a pure function from (ranks, round) to a move, the same
/// for all of them.

namespace ringfold::schedule {

/// One round of everybody: to the rank `distance` further on, what began `first` to `first + count - 1` ranks back.
struct gather_move {
  int distance = 0, first = 0, count = 0;
};

/// A schedule that gathers.
template <class S>
concept gathering = requires(int n) {
  { S::at(n, n) } -> std::same_as<gather_move>;
};

namespace detail {

/// What schedules that gather have in common. Nothing travels to where nobody needs it: what would go past the last
/// slot is not sent. What the first slot leaves is a state already, and travels as one.
template <class Gather>
struct gathered {
  static constexpr bool carries_states = false, keeps_order = true;

  /// Calls f(slot) for every message that a slot's rank sends, by the slot that it tells of.
  template <class F>
  static constexpr void for_each_message(int slots, int slot, F f) {
    for (int round = 0; round < Gather::rounds(slots); ++round) {
      gather_move const move = Gather::at(slots, round);
      if (slot + move.distance >= slots) continue;
      for (int back = move.first; back < move.first + move.count && back <= slot; ++back) f(slot - back);
    }
  }
  static constexpr int messages(int slots, int slot) {
    int made = 0;
    for_each_message(slots, slot, [&](int) { ++made; });
    return made;
  }
  static constexpr extent bytes(int slots, int slot, scan_sizes of) {
    extent made = 0;
    for_each_message(slots, slot, [&](int origin) { made += origin == 0 ? of.state : of.element(); });
    return made;
  }
};

}  // namespace detail

/// Elements go round a ring, one rank further each round; everybody folds those before it, in order.
///
/// Elements need no product. The order is the serial one, bit for bit.
/// **Steps** slots - 1. **Bytes** at most slots - 1 elements. Source: LASP-2 (Sun et al., 2025).
struct gather_ring : detail::gathered<gather_ring> {
  static constexpr int rounds(int ranks) { return ring::steps(ranks); }
  static constexpr gather_move at(int, int round) { return {1, round, 1}; }
};

/// The same in few rounds: everybody sends all it has, twice as far each time.
///
/// **Steps** ceil(log2 slots). **Bytes** at most slots - 1 elements. Source: Bruck et al. (1997).
struct gather_bruck : detail::gathered<gather_bruck> {
  static constexpr int rounds(int ranks) { return recursive_doubling::rounds(ranks); }
  static constexpr gather_move at(int ranks, int round) {
    int const held = 1 << round;
    return {held, 0, held < ranks - held ? held : ranks - held};
  }
};

namespace detail {

/// Nobody sends what it has not, nobody hears anything twice, and all have all at the end.
template <class Gather>
constexpr bool gathers(int ranks) {
  unsigned long long held = 1;  // by how many ranks back it began; the same for everybody
  for (int round = 0; round < Gather::rounds(ranks); ++round) {
    gather_move const move = Gather::at(ranks, round);
    unsigned long long sent = 0;
    for (int back = move.first; back < move.first + move.count; ++back) sent |= 1ull << back;
    if ((sent & ~held) != 0 || (sent << move.distance & held) != 0) return false;
    held |= sent << move.distance;
  }
  return held == (1ull << ranks) - 1;
}

template <class Gather>
constexpr bool gathers_everywhere() {
  for (int ranks = 1; ranks <= 34; ranks += ranks < 18 ? 1 : 8) {
    if (!gathers<Gather>(ranks)) return false;
  }
  return true;
}

}  // namespace detail

static_assert(detail::gathers_everywhere<gather_ring>());
static_assert(detail::gathers_everywhere<gather_bruck>());

}  // namespace ringfold::schedule
