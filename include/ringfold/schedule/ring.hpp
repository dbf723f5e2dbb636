#pragma once

#include <ringfold/core/config.hpp>

/// \file
/// The ring: what a rank holds goes one rank further at every step.

namespace ringfold::schedule {

/// Rank r sends to r + 1 and receives from r - 1; after t steps it holds what rank r - t began with.
struct ring {
  static constexpr int steps(int size) { return size - 1; }
  static constexpr int to(int rank, int size) { return (rank + 1) % size; }
  static constexpr int from(int rank, int size) { return (rank + size - 1) % size; }
  static constexpr int held(int rank, int size, int step) { return (rank + size - step) % size; }
  /// The rank that then holds what `origin` began with.
  static constexpr int holder(int origin, int size, int step) { return (origin + step) % size; }
};

/// The other way round: rank r sends to r - 1. Under a causal mask queries want to go there, as keys want to r + 1.
struct reversed_ring {
  static constexpr int steps(int size) { return ring::steps(size); }
  static constexpr int to(int rank, int size) { return ring::from(rank, size); }
  static constexpr int from(int rank, int size) { return ring::to(rank, size); }
  static constexpr int held(int rank, int size, int step) { return ring::holder(rank, size, step); }
  static constexpr int holder(int origin, int size, int step) { return ring::held(origin, size, step); }
};

namespace detail {
template <class Ring>
constexpr bool ring_shows_each_block_once(int size) {
  for (int rank = 0; rank < size; ++rank) {
    unsigned long long seen = 0;
    for (int step = 0; step <= Ring::steps(size); ++step) {
      int const origin = Ring::held(rank, size, step);
      if ((seen >> origin & 1) != 0 || Ring::holder(origin, size, step) != rank) return false;
      seen |= 1ull << origin;
      // What arrives next is what the sender holds now, and the sender names this rank.
      int const sender = Ring::from(rank, size);
      if (Ring::to(sender, size) != rank) return false;
      if (step < Ring::steps(size) && Ring::held(sender, size, step) != Ring::held(rank, size, step + 1)) return false;
    }
    if (seen != (size == 64 ? ~0ull : (1ull << size) - 1)) return false;
  }
  return true;
}
template <class Ring>
constexpr bool ring_is_proved() {
  for (int size = 1; size <= 17; ++size) {
    if (!ring_shows_each_block_once<Ring>(size)) return false;
  }
  return ring_shows_each_block_once<Ring>(64);
}
}  // namespace detail

static_assert(detail::ring_is_proved<ring>());
static_assert(detail::ring_is_proved<reversed_ring>());

}  // namespace ringfold::schedule
