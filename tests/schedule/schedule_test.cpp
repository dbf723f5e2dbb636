#include <doctest/doctest.h>

#include <set>
#include <vector>

#include <ringfold/schedule/direct.hpp>
#include <ringfold/schedule/ring.hpp>
#include <ringfold/schedule/tournament.hpp>
#include <ringfold/schedule/tree.hpp>

using namespace ringfold;

// The headers prove these up to 17 ranks as they compile; here the same by sets, and further.
TEST_CASE("a ring shows every rank each block once, and each send meets its receive") {
  for (int size = 1; size <= 100; ++size) {
    for (int rank = 0; rank < size; ++rank) {
      std::set<int> seen;
      for (int step = 0; step <= schedule::ring::steps(size); ++step) {
        seen.insert(schedule::ring::held(rank, size, step));
        int const to = schedule::ring::to(rank, size);
        REQUIRE(schedule::ring::from(to, size) == rank);
        REQUIRE(schedule::ring::held(to, size, step + 1) == schedule::ring::held(rank, size, step));
      }
      REQUIRE(static_cast<int>(seen.size()) == size);
    }
  }
}

TEST_CASE("direct exchange meets each peer once") {
  for (int size = 1; size <= 100; ++size) {
    for (int rank = 0; rank < size; ++rank) {
      std::set<int> met{rank};
      for (int step = 1; step <= schedule::direct::steps(size); ++step) {
        int const to = schedule::direct::to(rank, size, step);
        REQUIRE(schedule::direct::from(to, size, step) == rank);
        met.insert(to);
      }
      REQUIRE(static_cast<int>(met.size()) == size);
    }
  }
}

TEST_CASE("a tournament pairs everybody once, in rounds of disjoint pairs, with at most one rest each") {
  for (int size = 1; size <= 100; ++size) {
    for (int rank = 0; rank < size; ++rank) {
      std::set<int> met{rank};
      int rests = 0;
      for (int step = 0; step < schedule::tournament::steps(size); ++step) {
        int const partner = schedule::tournament::partner(rank, size, step);
        REQUIRE(schedule::tournament::partner(partner, size, step) == rank);
        rests += partner == rank;
        met.insert(partner);
      }
      REQUIRE(static_cast<int>(met.size()) == size);
      REQUIRE(rests == size % 2);
    }
  }
}

TEST_CASE("a tree brings every rank's part of everybody's home once, in log2 steps, with one peer each way") {
  for (int size = 1; size <= 100; ++size) {
    int const steps = schedule::tree::steps(size);
    REQUIRE((1 << steps) >= size);
    REQUIRE((size == 1 || (1 << (steps - 1)) < size));
    for (int owner = 0; owner < size; owner += 1 + size / 7) {
      std::vector<std::multiset<int>> held(static_cast<std::size_t>(size));
      for (int rank = 0; rank < size; ++rank) held[static_cast<std::size_t>(rank)].insert(rank);
      for (int step = 0; step < steps; ++step) {
        auto const before = held;
        for (int rank = 0; rank < size; ++rank) {
          int const to = schedule::tree::to(rank, size, step);
          REQUIRE(schedule::tree::from(to, size, step) == rank);
          if (schedule::tree::leaves(rank, size, owner) != step) continue;
          auto const& sent = before[static_cast<std::size_t>(rank)];
          REQUIRE(static_cast<int>(sent.size()) == schedule::tree::gathered(rank, size, owner));
          held[static_cast<std::size_t>(to)].insert(sent.begin(), sent.end());
        }
      }
      auto const& home = held[static_cast<std::size_t>(owner)];
      REQUIRE(static_cast<int>(home.size()) == size);
      REQUIRE(static_cast<int>(std::set<int>(home.begin(), home.end()).size()) == size);
    }
  }
}
