#pragma once

#include <ringfold/core/config.hpp>

/// \file
/// Direct exchange: at step t every rank deals with the ranks at distance t.

namespace ringfold::schedule {

/// At step 1 .. size-1 rank r sends to r + step and receives from r - step; no rank is busy twice in a step.
struct direct {
  static constexpr int steps(int size) { return size - 1; }
  static constexpr int to(int rank, int size, int step) { return (rank + step) % size; }
  static constexpr int from(int rank, int size, int step) { return (rank + size - step % size) % size; }
};

namespace detail {
constexpr bool direct_meets_each_peer_once(int size) {
  for (int rank = 0; rank < size; ++rank) {
    unsigned long long met = 1ull << rank;
    for (int step = 1; step <= direct::steps(size); ++step) {
      int const peer = direct::from(rank, size, step);
      if (direct::to(peer, size, step) != rank || (met >> peer & 1) != 0) return false;
      met |= 1ull << peer;
    }
    if (met != (size == 64 ? ~0ull : (1ull << size) - 1)) return false;
  }
  return true;
}
}  // namespace detail

static_assert([] {
  for (int size = 1; size <= 17; ++size) {
    if (!detail::direct_meets_each_peer_once(size)) return false;
  }
  return detail::direct_meets_each_peer_once(64);
}());

}  // namespace ringfold::schedule
