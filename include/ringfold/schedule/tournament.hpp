#pragma once

#include <ringfold/core/config.hpp>

/// \file
/// The round-robin tournament: an all-to-all in rounds of disjoint pairs.

namespace ringfold::schedule {

/// In each of steps(size) rounds every rank has at most one partner, and partners name each other.
///
/// The circle method: the last of an even number of ranks stays, the others turn. With an odd number the rank that
/// would meet the missing one rests, and partner() returns the rank itself.
/// Both ends meet their peers in the same order, so that a backend that must cut a long exchange cuts both ends alike.
struct tournament {
  static constexpr int steps(int size) { return size % 2 == 0 ? size - 1 : size; }

  static constexpr int partner(int rank, int size, int step) {
    int const turning = size % 2 == 0 ? size - 1 : size;
    if (turning <= 0) return rank;
    if (rank == turning) return step * (turning + 1) / 2 % turning;  // the one that would meet itself
    int const other = ((step - rank) % turning + turning) % turning;
    if (other != rank) return other;
    return size % 2 == 0 ? turning : rank;
  }
};

namespace detail {
constexpr bool tournament_pairs_everybody_once(int size) {
  for (int rank = 0; rank < size; ++rank) {
    unsigned long long met = 1ull << rank;
    for (int step = 0; step < tournament::steps(size); ++step) {
      int const partner = tournament::partner(rank, size, step);
      if (partner == rank) continue;
      if (partner < 0 || partner >= size || tournament::partner(partner, size, step) != rank) return false;
      if ((met >> partner & 1) != 0) return false;
      met |= 1ull << partner;
    }
    if (met != (size == 64 ? ~0ull : (1ull << size) - 1)) return false;
  }
  return true;
}
}  // namespace detail

static_assert([] {
  for (int size = 1; size <= 17; ++size) {
    if (!detail::tournament_pairs_everybody_once(size)) return false;
  }
  return detail::tournament_pairs_everybody_once(64);
}());

}  // namespace ringfold::schedule
