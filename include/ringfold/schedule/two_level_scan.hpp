#pragma once

#include <ringfold/schedule/scan.hpp>

/// \file
/// Exclusive scans over nodes of several ranks: what is dear is the way from node to node.

namespace ringfold::schedule {

/// Elements are joined within each node, what nodes make together is scanned over nodes, and spreads within them.
///
/// Ranks node * ranks_per_node and up are a node; slots that follow each other on one node are a run. The rank of a
/// run's last slot speaks for it. Inner joins elements; Outer may be any, but not of two levels itself.
/// **Steps** Inner's for ranks_per_node, Outer's for nodes, and one. **Bytes** between nodes, those of Outer; within
/// them, Inner's, and a state from the last rank to each other. Source: hierarchical MPI collectives (MPICH, Open MPI).
template <class Inner, class Outer>
struct two_level {
  static_assert(joining<Inner>,
                "[ringfold] two_level: within nodes elements are joined; use hillis_steele, doubling_123 or "
                "recursive_doubling there, and over nodes any schedule");
  static_assert(
      requires(Outer o) { o.rounds(1); } && !requires(Outer o) { o.ranks_per_node; },
      "[ringfold] two_level: over nodes one level is left; use a schedule of one level there");

  int ranks_per_node = 1;
  Inner inner{};
  Outer outer{};

  static constexpr bool carries_states = false, keeps_order = false;

  constexpr int nodes(int slots) const { return (slots + ranks_per_node - 1) / ranks_per_node; }
  /// Slots of a node: fewer of the last one.
  constexpr int length(int slots, int node) const {
    int const left = slots - node * ranks_per_node;
    return left < ranks_per_node ? left : ranks_per_node;
  }
  constexpr int rounds(int slots) const {
    int const most = slots < ranks_per_node ? slots : ranks_per_node;
    return inner.rounds(most) + outer.rounds(nodes(slots)) + (most > 1 && nodes(slots) > 1 ? 1 : 0);
  }
  constexpr int messages(int slots, int slot) const {
    int const node = slot / ranks_per_node, place = slot % ranks_per_node, count = length(slots, node);
    int const within = inner.messages(count, place);
    return place + 1 < count ? within : within + outer.messages(nodes(slots), node) + (node > 0 ? count - 1 : 0);
  }
  constexpr extent bytes(int slots, int slot, scan_sizes of) const {
    int const node = slot / ranks_per_node, place = slot % ranks_per_node, count = length(slots, node);
    extent const spread = place + 1 == count && node > 0 ? (count - 1) * of.state : 0;
    return inner.bytes(count, place, of) + bytes_between_nodes(slots, slot, of) + spread;
  }
  /// The part of it that goes to other nodes.
  constexpr extent bytes_between_nodes(int slots, int slot, scan_sizes of) const {
    int const node = slot / ranks_per_node;
    bool const speaks = slot % ranks_per_node + 1 == length(slots, node);
    return speaks ? outer.bytes(nodes(slots), node, of) : 0;
  }
};
template <class Inner, class Outer>
two_level(int, Inner, Outer) -> two_level<Inner, Outer>;

namespace detail {

/// What enters a node and what its slots before a slot make are, together, all slots before it.
template <class Inner, class Outer>
constexpr bool scans(const two_level<Inner, Outer>& s, int slots) {
  scanned_runs const over_nodes = played(s.outer, s.nodes(slots));
  for (int node = 0; node < s.nodes(slots); ++node) {
    int const first = node * s.ranks_per_node;
    run_of_slots const enters{over_nodes.before[node][0].first * s.ranks_per_node,
                              over_nodes.before[node][0].end * s.ranks_per_node, over_nodes.before[node][0].broken};
    scanned_runs const within = played(s.inner, s.length(slots, node));
    for (int slot = first; slot < first + s.length(slots, node); ++slot) {
      run_of_slots const mine = within.before[slot - first][0];
      if (enters.then({mine.first + first, mine.end + first, mine.broken}) != run_of_slots{0, slot} && slot > 0)
        return false;
    }
    if (!within.met) return false;
  }
  return over_nodes.met;
}

}  // namespace detail

static_assert([] {
  for (int slots = 1; slots <= 10; ++slots) {
    if (!detail::scans(two_level{2, recursive_doubling{}, hillis_steele{}}, slots)) return false;
    if (!detail::scans(two_level{4, doubling_123{}, chain{}}, slots)) return false;
  }
  return true;
}());

}  // namespace ringfold::schedule
