#include <ringfold/collective/two_level_scan.hpp>

#include <doctest/doctest.h>

#include <atomic>

#include "scans.hpp"

using namespace ringfold;
using scans::experiment;

namespace {

/// Counts only what goes to another node: what stays on the sender's is counted as if it were kept.
struct between_nodes : wrapper<threads> {
  int ranks_per_node;
  std::atomic<extent>* bytes;

  between_nodes(threads inner, int per_node, std::atomic<extent>& sum)
      : wrapper(inner), ranks_per_node(per_node), bytes(&sum) {}
  request_t<threads> post(exchange x, stream on) {
    for (const piece& each : x.sends) {
      if (each.peer / ranks_per_node != rank() / ranks_per_node) *bytes += each.bytes();
    }
    return inner_.post(x, on);
  }
};

template <class Schedule>
void check_all(Schedule schedule) {
  std::atomic<extent> slow = 0;
  scans::check_all(
      schedule, [&](threads comm) { return between_nodes(comm, schedule.ranks_per_node, slow); },
      [&](const experiment& e, const scans::outcome& got, int ranks, bool documents, int kind) {
        extent const twice = slow.exchange(0);
        if (documents || kind != 0) return;
        extent between = 0;
        for (int slot = 0; slot < ranks; ++slot) between += schedule.bytes_between_nodes(ranks, slot, e.sizes());
        if (e.slots.owner(0) == 0) CHECK(twice == 2 * between);
        // Reversed, the last node is the first, and need not be full: then runs are others than are published.
        bool const whole = ranks % schedule.ranks_per_node == 0;
        if (e.slots.owner(0) != 0 && !whole) return;
        extent const steps = scans::check_published(schedule, e, got, ranks);
        if constexpr (!decltype(schedule.outer)::carries_states) {
          CHECK(steps <= schedule.rounds(ranks));
          if (whole) CHECK(steps == schedule.rounds(ranks));
        }
      });
}

}  // namespace

TEST_CASE("scans within nodes and over nodes are the serial recurrence") {
  check_all(schedule::two_level{2, schedule::recursive_doubling{}, schedule::chain{2}});
  check_all(schedule::two_level{3, schedule::doubling_123{}, schedule::all_to_all{}});
  check_all(schedule::two_level<schedule::hillis_steele, schedule::gather_bruck>{4});
}

TEST_CASE("a state goes between nodes once for each, however many ranks they have") {
  for (int ranks_per_node = 1; ranks_per_node <= 16; ranks_per_node *= 2) {
    schedule::two_level const over{ranks_per_node, schedule::doubling_123{}, schedule::chain{}};
    extent bytes = 0;
    for (int slot = 0; slot < 64; ++slot) bytes += over.bytes_between_nodes(64, slot, {1000, 500, 10});
    CHECK(bytes == 1000 * (64 / ranks_per_node - 1));
    int const within = ranks_per_node == 1 ? 0 : schedule::doubling_123::rounds(ranks_per_node) + 1;
    CHECK(over.rounds(64) == within + 64 / ranks_per_node - 1);
  }
}

TEST_CASE("elements and states travel on both levels while other work is done") {
  CHECK(scans::travels(schedule::two_level{2, schedule::doubling_123{}, schedule::chain{}}));
  CHECK(scans::travels(schedule::two_level{2, schedule::hillis_steele{}, schedule::recursive_doubling{}}));
}

TEST_CASE("a node without ranks is refused") {
  run_ranks(1, [](threads comm) {
    sharded::workspace memory(1 << 12);
    affine<double, transition::identity> const sum{1, 1, 1, 3};
    schedule::two_level const over{0, schedule::doubling_123{}, schedule::chain{}};
    CHECK_THROWS_WITH_AS(scan(over, sum, comm, scan_slots({0}), memory.arena()),
                         "scan: 0 ranks per node; allowed: 1 or more", usage_error);
  });
}
