#include <ringfold/collective/gather_scan.hpp>

#include <doctest/doctest.h>

#include <cmath>

#include "scans.hpp"

using namespace ringfold;
using scans::experiment;

namespace {

/// How many ranks the needed one is further on than another, in the order of their first slots.
std::vector<int> places(const scan_slots& slots, int ranks) {
  std::vector<int> place(static_cast<std::size_t>(ranks), -1);
  int next = 0;
  for (int const owner : slots.owners) {
    int& of = place[static_cast<std::size_t>(owner)];
    if (of < 0) of = next++;
  }
  return place;
}

/// What each rank sends: from the definition of a segmented scan, and who passes what on to whom.
std::vector<extent> bytes_sent(const experiment& e, int ranks, bool bruck) {
  scan_slots const& slots = e.slots;
  auto const place = places(slots, ranks);
  int around = 0;
  for (int const each : place) around += each >= 0;
  std::vector<extent> made(static_cast<std::size_t>(ranks));
  for (int slot = 0; slot < slots.count(); ++slot) {
    std::vector<bool> reached(static_cast<std::size_t>(around));  // by how far on
    for (int other = slot + 1; other < slots.count() && !slots.fresh_at(other); ++other) {
      int on = (place[static_cast<std::size_t>(slots.owner(other))] -
                place[static_cast<std::size_t>(slots.owner(slot))] + around) %
               around;
      for (; on > 0; on -= bruck ? 1 << static_cast<int>(std::log2(on)) : 1)
        reached[static_cast<std::size_t>(on)] = true;
      if (slots.forgets_at(other)) break;
    }
    bool const state = slot == 0 || slots.forgets_at(slot);
    for (int on = 1; on < around; ++on) {
      if (!reached[static_cast<std::size_t>(on)]) continue;
      int const back = bruck ? on - (1 << static_cast<int>(std::log2(on))) : on - 1;
      for (int rank = 0; rank < ranks; ++rank) {
        int const at = place[static_cast<std::size_t>(rank)];
        if (at < 0 || at != (place[static_cast<std::size_t>(slots.owner(slot))] + back) % around) continue;
        made[static_cast<std::size_t>(rank)] += state ? e.sizes().state : e.sizes().element();
      }
    }
  }
  return made;
}

template <class Schedule>
void check_all(Schedule schedule, bool bruck) {
  scans::check_all(schedule, [&](const experiment& e, const scans::outcome& got, int ranks, bool documents, int kind) {
    auto const bytes = bytes_sent(e, ranks, bruck);
    for (std::size_t rank = 0; rank < bytes.size(); ++rank) CHECK(got.books[rank].total_bytes() == bytes[rank]);
    if (kind == 0 && !documents) CHECK(scans::check_published(schedule, e, got, ranks) == schedule.rounds(ranks));
  });
}

struct counting : scans::any_affine {
  int* applied;
  counting of_part(int, int) const { return *this; }
  void apply(host_stream on, const state& s, const element& e, const state& into) const {
    ++*applied, any_affine::apply(on, s, e, into);
  }
};

}  // namespace

TEST_CASE("elements gathered round a ring and folded are the serial recurrence bit for bit") {
  check_all(schedule::gather_ring{}, false);
}

TEST_CASE("elements gathered in few rounds and folded are the serial recurrence bit for bit") {
  check_all(schedule::gather_bruck{}, true);
}

TEST_CASE("rounds and messages of gathering are those that are published") {
  for (int slots = 1; slots < 100; ++slots) {
    CHECK(schedule::gather_ring::rounds(slots) == slots - 1);
    CHECK(schedule::gather_bruck::rounds(slots) == static_cast<int>(std::ceil(std::log2(slots))));
    int ring = 0, bruck = 0;
    for (int slot = 0; slot < slots; ++slot) {
      CHECK(schedule::gather_ring::messages(slots, slot) == (slot + 1 < slots ? slot + 1 : 0));
      CHECK(schedule::gather_bruck::messages(slots, slot) < slots);
      ring += schedule::gather_ring::messages(slots, slot), bruck += schedule::gather_bruck::messages(slots, slot);
    }
    // Each slot hears once of each before it.
    CHECK(ring == slots * (slots - 1) / 2);
    CHECK(bruck == ring);
  }
}

TEST_CASE("a rank folds each element once, however many slots it has") {
  run_ranks(1, [](threads comm) {
    sharded::workspace memory(1 << 14);
    int applied = 0;
    std::vector<double> numbers(3, 1.0);
    counting const sum{{transition::identity, 1, 1, 1, 3}, &applied};
    auto before = scan(schedule::gather_ring{}, sum, comm, scan_slots({0, 0, 0, 0, 0}), memory.arena());
    std::vector<counting::element> const mine(5, {{}, dense(numbers.data(), 1, 1, 1, 3)});
    before.start(mine, nullptr, {});
    before.finish({});
    CHECK(applied == 4);
    CHECK(before.before(4)(0, 0, 0, 2) == 4);
  });
}

TEST_CASE("elements travel while other work is done") {
  CHECK(scans::travels(schedule::gather_ring{}));
  CHECK(scans::travels(schedule::gather_bruck{}));
}

TEST_CASE("an owner that is no rank is refused") {
  run_ranks(1, [](threads comm) {
    sharded::workspace memory(1 << 12);
    affine<double, transition::identity> const sum{1, 1, 1, 3};
    CHECK_THROWS_WITH_AS(scan(schedule::gather_ring{}, sum, comm, scan_slots({0, 1}), memory.arena()),
                         "scan: slot 1 belongs to rank 1; there are ranks 0..0", usage_error);
  });
}
