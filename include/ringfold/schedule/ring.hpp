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
};

namespace detail {
constexpr bool ring_shows_each_block_once(int size) {
  for (int rank = 0; rank < size; ++rank) {
    unsigned long long seen = 0;
    for (int step = 0; step <= ring::steps(size); ++step) {
      unsigned long long const block = 1ull << ring::held(rank, size, step);
      if ((seen & block) != 0) return false;
      seen |= block;
      // What arrives next is what the sender holds now, and the sender names this rank.
      int const sender = ring::from(rank, size);
      if (ring::to(sender, size) != rank) return false;
      if (step < ring::steps(size) && ring::held(sender, size, step) != ring::held(rank, size, step + 1)) return false;
    }
    if (seen != (size == 64 ? ~0ull : (1ull << size) - 1)) return false;
  }
  return true;
}
}  // namespace detail

static_assert([] {
  for (int size = 1; size <= 17; ++size) {
    if (!detail::ring_shows_each_block_once(size)) return false;
  }
  return detail::ring_shows_each_block_once(64);
}());

}  // namespace ringfold::schedule
