#include <ringfold/collective/scan.hpp>

#include <doctest/doctest.h>

#include <cmath>

#include "scans.hpp"

using namespace ringfold;
using scans::apart, scans::experiment, scans::run;

namespace {

/// Bytes are those of the schedule's messages, less what stays on its rank.
template <class Schedule>
void check_all(Schedule schedule) {
  scans::check_all(schedule, [&](const experiment& e, const scans::outcome& got, int ranks, bool documents, int kind) {
    if (documents) return;
    auto const sizes = e.sizes();
    for (int rank = 0; rank < ranks; ++rank) {
      extent bytes = 0;
      for (int const slot : e.slots.of(rank)) {
        if constexpr (Schedule::carries_states) {
          bool const leaves = slot + 1 < e.slots.count() && e.slots.owner(slot + 1) != rank;
          bytes += leaves ? sizes.state : 0;
        } else {
          for (int round = 0; round < schedule.rounds(e.slots.count()); ++round) {
            int const to = schedule.at(e.slots.count(), slot, round).to;
            bytes += to >= 0 && e.slots.owner(to) != rank ? sizes.element() : 0;
          }
        }
      }
      counters const& book = got.books[static_cast<std::size_t>(rank)];
      CHECK(book.total_bytes() == bytes);
      if (kind != 0) continue;
      int const pieces = e.of.kind == transition::identity || Schedule::carries_states ? 1 : 2;
      CHECK(book.messages == pieces * schedule.messages(ranks, e.slots.of(rank)[0]));
    }
    if (kind != 0) return;
    extent const steps = scans::check_published(schedule, e, got, ranks);
    if (!Schedule::carries_states) CHECK(steps == schedule.rounds(ranks));  // a chain's rounds are of different ranks
  });
}

/// A schedule may bring a scan of its own.
struct own_schedule {
  template <class G, class C>
  using scan = chain_scan<G, C>;
};
static_assert(
    std::is_same_v<scan_of<own_schedule, scans::any_affine, threads>, chain_scan<scans::any_affine, threads>>);

}  // namespace

TEST_CASE("states handed on, whole and in pieces, are the serial recurrence bit for bit") {
  check_all(schedule::chain{});
  check_all(schedule::chain{2});
  check_all(schedule::chain{5});
}

TEST_CASE("elements joined in few rounds give the same states") {
  check_all(schedule::hillis_steele{});
  check_all(schedule::doubling_123{});
  check_all(schedule::recursive_doubling{});
}

TEST_CASE("order matters: exchanging two elements changes the result") {
  experiment e({transition::dense, 1, 1, 3, 2}, scan_slots({0, 1, 2, 3}), 3);
  auto const before = e.serial(true);
  std::swap(e.gates[0], e.gates[1]), std::swap(e.values[0], e.values[1]);
  CHECK(apart(e.serial(true)[3], before[3]) > 1e-2);
}

TEST_CASE("long products of strong decays underflow to nothing, and nothing else happens") {
  experiment e({transition::scalar, 1, 2, 3, 4}, scan_slots({0, 1, 2, 3, 0, 1, 2, 3}), 5);
  for (auto& gate : e.gates) gate.assign(gate.size(), -5e5);
  auto const wanted = e.serial(true);
  CHECK(run(schedule::chain{2}, e, 4, true).before == wanted);
  CHECK(run(schedule::hillis_steele{}, e, 4, true).before == wanted);
  CHECK(run(schedule::doubling_123{}, e, 4, true).before == wanted);
  CHECK(run(schedule::recursive_doubling{}, e, 4, true).before == wanted);
}

TEST_CASE("rounds are those that are published") {
  for (int slots = 3; slots < 300; ++slots) {
    CHECK(schedule::chain{}.rounds(slots) == slots - 1);
    CHECK(schedule::chain{7}.rounds(slots) == slots + 5);
    CHECK(schedule::hillis_steele::rounds(slots) == 1 + static_cast<int>(std::ceil(std::log2(slots - 1))));
    CHECK(schedule::doubling_123::rounds(slots) ==
          static_cast<int>(std::ceil(std::log2(slots - 1) + std::log2(4 / 3.0))));
    CHECK(schedule::recursive_doubling::rounds(slots) == static_cast<int>(std::ceil(std::log2(slots))));
  }
}

TEST_CASE("a chain is cut into as many pieces as are fastest") {
  //! [pieces]
  // A mebibyte over 64 ranks, where a message takes 5 us and 1 / 300 GB/s a byte, cut along at most 128 columns.
  int const pieces = schedule::pipeline_pieces(64, 1 << 20, 5e-6, 1 / 300e9, 128);
  auto const schedule = schedule::chain{pieces};
  //! [pieces]
  CHECK(schedule.pieces == 7);
  for (int const slots : {1, 2, 3, 8, 64, 256}) {
    for (extent const bytes : {0, 1 << 10, 1 << 20, 6 << 20}) {
      for (double const latency : {0.0, 1e-7, 8e-6}) {
        auto const seconds = [&](int count) {
          return (slots - 2 + count) * (latency + static_cast<double>(bytes) / 45e9 / count);
        };
        int const chosen = schedule::pipeline_pieces(slots, bytes, latency, 1 / 45e9, 128);
        REQUIRE(chosen >= 1);
        REQUIRE(chosen <= 128);
        if (slots < 3) continue;
        for (int count = 1; count <= 128; ++count) CHECK(seconds(chosen) <= seconds(count) * (1 + 1e-12));
        if (latency == 0) continue;
        double const root = std::sqrt((slots - 2) * static_cast<double>(bytes) / 45e9 / latency);
        CHECK(std::fabs(chosen - std::fmin(128, std::fmax(1, root))) <= 1);
      }
    }
  }
}

TEST_CASE("a scan is begun, other work is done, and it is finished") {
  std::vector<double> sums(4);
  run_ranks(4, [&](threads comm) {
    sharded::workspace memory(4096);
    double own = comm.rank() + 1;
    //! [scan]
    affine<double, transition::identity> const sum{1, 1, 1, 1};
    auto before = scan(schedule::doubling_123{}, sum, comm, scan_slots({0, 1, 2, 3}), memory.arena());
    affine_element<double> const mine{{}, dense(&own, 1, 1, 1, 1)};
    before.start({&mine, 1}, nullptr, {});
    before.advance({});  // now and then, between what needs no state
    before.finish({});
    double const entered = before.before(0)(0, 0, 0, 0);
    //! [scan]
    sums[static_cast<std::size_t>(comm.rank())] = entered;
  });
  CHECK(sums == std::vector<double>{0, 1, 3, 6});
}

TEST_CASE("states and elements travel while other work is done: nobody waits for finish()") {
  CHECK(scans::travels(schedule::chain{}));
  CHECK(scans::travels(schedule::hillis_steele{}));
  CHECK(scans::travels(schedule::doubling_123{}));
  CHECK(scans::travels(schedule::recursive_doubling{}));
}

TEST_CASE("what cannot be is refused before anything is sent") {
  run_ranks(1, [](threads comm) {
    sharded::workspace memory(1 << 16);
    affine<double, transition::identity> const sum{1, 1, 1, 3};
    CHECK_THROWS_WITH_AS(scan(schedule::chain{4}, sum, comm, scan_slots({0}), memory.arena()),
                         "scan: a state in 4 pieces; allowed: 1 to 3", usage_error);
    CHECK_THROWS_WITH_AS(scan(schedule::hillis_steele{}, sum, comm, scan_slots({0, 1}), memory.arena()),
                         "scan: slot 1 belongs to rank 1; there are ranks 0..0", usage_error);
    CHECK_THROWS_WITH_AS(scan_slots({0, 0}, {0}, {0, 0}),
                         "scan_slots: 2 owners, 1 slots that forget, 2 fresh ones; give the same number of each",
                         shape_error);
  });
}
