#pragma once

#include <bit>

#include <ringfold/core/config.hpp>

/// \file
/// A binomial tree for every owner at once: what all ranks have of everybody's comes home in logarithmic time.

namespace ringfold::schedule {

/// At step t rank r sends to r - 2^t what it holds of every owner whose distance before it has t trailing zero bits.
///
/// The receiver puts it together with its own, and passes both on at a later step, unless it is the owner. So each rank
/// sends each owner's part once, whatever the number of ranks, and has one peer to send to and one to hear from.
struct tree {
  /// log2 of the ranks, rounded up.
  static constexpr int steps(int size) {
    return static_cast<int>(std::bit_width(static_cast<unsigned>(size > 1 ? size - 1 : 0)));
  }
  static constexpr int to(int rank, int size, int step) { return (rank + size - (1 << step)) % size; }
  static constexpr int from(int rank, int size, int step) { return (rank + (1 << step)) % size; }
  /// The step at which a rank sends on what it holds of an owner's: never before it has heard all it will hear of it.
  static constexpr int leaves(int rank, int size, int owner) {
    if (rank == owner) return steps(size);
    return std::countr_zero(static_cast<unsigned>((rank + size - owner) % size));
  }
  /// How many ranks' parts of an owner's go out together when they leave a rank: its own and those of the ranks behind.
  static constexpr int gathered(int rank, int size, int owner) {
    int const most = 1 << leaves(rank, size, owner), behind = size - (rank + size - owner) % size;
    return most < behind ? most : behind;
  }
};

namespace detail {
constexpr bool tree_brings_everything_home(int size, int owner) {
  unsigned long long held[64] = {};
  for (int rank = 0; rank < size; ++rank) held[rank] = 1ull << rank;
  for (int step = 0; step < tree::steps(size); ++step) {
    for (int rank = 0; rank < size; ++rank) {
      int const to = tree::to(rank, size, step);
      if (tree::from(to, size, step) != rank) return false;
      if (tree::leaves(rank, size, owner) != step) continue;
      // The receiver keeps it or has yet to send, and nothing is there twice.
      if (tree::leaves(to, size, owner) <= step || (held[to] & held[rank]) != 0) return false;
      unsigned long long together = 0;
      for (int i = 0; i < tree::gathered(rank, size, owner); ++i) together |= 1ull << (rank + i) % size;
      if (held[rank] != together) return false;
      held[to] |= held[rank];
    }
  }
  return held[owner] == (size == 64 ? ~0ull : (1ull << size) - 1);
}
}  // namespace detail

static_assert([] {
  for (int size = 1; size <= 17; ++size) {
    for (int owner = 0; owner < size; ++owner) {
      if (!detail::tree_brings_everything_home(size, owner)) return false;
    }
  }
  return detail::tree_brings_everything_home(64, 0) && detail::tree_brings_everything_home(64, 21);
}());

}  // namespace ringfold::schedule
