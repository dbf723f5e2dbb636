#include <ringfold/collective/all_to_all_scan.hpp>

#include <doctest/doctest.h>

#include "scans.hpp"

using namespace ringfold;
using scans::experiment;

namespace {

/// What each rank sends: parts of five columns go to the first ranks that own slots, and come back.
std::vector<extent> bytes_sent(const experiment& e, int ranks) {
  scan_slots const& slots = e.slots;
  std::vector<int> folding;
  for (int const owner : slots.owners) {
    bool const known = std::find(folding.begin(), folding.end(), owner) != folding.end();
    if (!known && folding.size() < 5) folding.push_back(owner);
  }
  int const parts = static_cast<int>(folding.size());
  std::vector<extent> made(static_cast<std::size_t>(ranks));
  auto const send = [&](int from, int to, extent bytes) {
    if (from != to) made[static_cast<std::size_t>(from)] += bytes;
  };
  for (int part = 0; part < parts; ++part) {
    int const at = folding[static_cast<std::size_t>(part)];
    extent const columns = 5 / parts + (part < 5 % parts ? 1 : 0), state = e.sizes().state / 5 * columns;
    extent const transition = e.of.kind == transition::elementwise ? state : e.sizes().transition;
    for (int slot = 0; slot < slots.count(); ++slot) {
      bool const heard = slot + 1 < slots.count() && !slots.fresh_at(slot + 1);
      bool const begins = slot == 0 || slots.forgets_at(slot);
      if (heard) send(slots.owner(slot), at, state + (begins ? 0 : transition));
      if (slot > 0 && !slots.fresh_at(slot)) send(at, slots.owner(slot), state);
    }
  }
  return made;
}

}  // namespace

TEST_CASE("parts folded by all are the serial recurrence bit for bit, with more ranks than columns too") {
  schedule::all_to_all const schedule;
  scans::check_all(schedule, [&](const experiment& e, const scans::outcome& got, int ranks, bool documents, int kind) {
    auto const bytes = bytes_sent(e, ranks);
    for (std::size_t rank = 0; rank < bytes.size(); ++rank) CHECK(got.books[rank].total_bytes() == bytes[rank]);
    for (const counters& book : got.books) CHECK(book.steps <= 2);
    if (kind == 0 && !documents) CHECK(scans::check_published(schedule, e, got, ranks) == schedule.rounds(ranks));
  });
}

TEST_CASE("about two states a rank, and of a matrix one for each part") {
  constexpr int ranks = 8;
  extent const state = 8 * 1024, matrix = 3000;
  for (int slot = 1; slot + 1 < ranks; ++slot) {
    CHECK(schedule::all_to_all::bytes(ranks, slot, {state, 0, 64}) == state / ranks * (2 * ranks - 3));
    CHECK(schedule::all_to_all::bytes(ranks, slot, {state, matrix, 64}) ==
          state / ranks * (2 * ranks - 3) + (ranks - 1) * matrix);
  }
  CHECK(schedule::all_to_all::rounds(1) == 0);
  CHECK(schedule::all_to_all::rounds(300) == 2);
}

TEST_CASE("parts travel while other work is done") { CHECK(scans::travels(schedule::all_to_all{})); }
