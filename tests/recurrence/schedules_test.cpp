// sanitize: off
#include <doctest/doctest.h>

#include "support/recurrences.hpp"

using namespace ringfold;
using namespace recurrences;

namespace {

/// Contiguous, zigzag, striped and uneven layouts of packed documents, or of one, over 1 to 9 ranks.
template <gating Gates, class F>
void for_each_layout(F f) {
  for (int ranks = 1; ranks <= 9; ++ranks) {
    for (int kind = 0; kind < layouts; ++kind) {
      std::mt19937_64 random(static_cast<std::uint64_t>(100 * ranks + kind));
      documents const packed = kind % 2 == 0 ? documents{13, 0, 20, 1, 7} : documents{41};
      f(experiment(layout_of(kind, 41, ranks, packed, random), packed, {1, 2, 3, 4}, Gates, random()));
    }
  }
}

/// Outputs, states and gradients by a schedule of the serial order are the chain's, bit for bit.
template <gating Gates, class Schedule>
void check_order(Schedule schedule) {
  for_each_layout<Gates>([&](const experiment& e) {
    CAPTURE(e.tokens.ranks());
    auto const wanted = run<float, Gates>(e, schedule::chain{}).made;
    CHECK((run<float, Gates>(e, schedule).made == wanted));
  });
}

}  // namespace

TEST_CASE("folds of gathered elements and of parts are the chain, forward and backward, bit for bit") {
  check_order<gating::per_row>(schedule::gather_bruck{});
  check_order<gating::per_row>(schedule::all_to_all{});
}

TEST_CASE("recurrences over nodes, forward and backward, by any rows of documents") {
  schedule::two_level const over{2, schedule::doubling_123{}, schedule::gather_ring{}};
  for_each_layout<gating::per_row>([&](const experiment& e) {
    CAPTURE(e.tokens.ranks());
    CHECK(right<float>(e, run<float, gating::per_row>(e, over).made, {}, true));
  });
}

TEST_CASE("bytes of a recurrence are those that its schedule publishes") {
  for (int const ranks : {1, 2, 5, 8}) {
    experiment const e(contiguous(41, ranks), documents{41}, {1, 2, 3, 4}, gating::per_row, 5);
    schedule::scan_sizes const sizes{state_bytes<float>(e), element_bytes<float>(e) - state_bytes<float>(e), 4};
    auto const check = [&](auto schedule) {
      auto const result = run<float, gating::per_row>(e, schedule);
      for (int rank = 0; rank < ranks; ++rank) {
        auto const at = static_cast<std::size_t>(rank);
        CHECK(result.forward[at].total_bytes() == schedule.bytes(ranks, rank, sizes));
        CHECK(result.backward[at].total_bytes() == schedule.bytes(ranks, ranks - 1 - rank, sizes));
      }
    };
    check(schedule::chain{}), check(schedule::gather_bruck{}), check(schedule::all_to_all{});
  }
}
