#include <ringfold/collective/narrow_scan.hpp>

#include <doctest/doctest.h>

#include <cmath>

#include "../../examples/support/any_schedule.hpp"
#include "scans.hpp"

using namespace ringfold;
using scans::any_affine;
using scans::experiment;

namespace {

/// What enters each slot, by the narrowed algebra, one element after the other; a seed is rounded behind slot 0.
std::vector<std::vector<double>> serial(experiment& e, bool seeded) {
  sharded::workspace memory(1 << 16);
  narrowed<any_affine, float> const of(e.of, memory.arena());
  auto const element = of.take_element(memory.arena());
  auto now = of.take_state(memory.arena()), after = of.take_state(memory.arena());
  auto const nothing = of.take_state(memory.arena());
  host_stream const on;
  std::vector<std::vector<double>> before;
  on.elementwise(elementwise::set_zero{}, nothing);
  on.copy(piece_of(now, role::state), piece_of(nothing, role::state));
  if (seeded) on.elementwise(elementwise::round_to{}, now, e.state(e.seed));
  for (int slot = 0; slot < e.slots.count(); ++slot) {
    if (e.slots.fresh_at(slot)) on.copy(piece_of(now, role::state), piece_of(nothing, role::state));
    before.emplace_back(now.data, now.data + now.size());
    auto const enters = e.slots.forgets_at(slot) ? nothing : now;
    //! [narrowed]
    of.take_over(on, e.of_slot(slot), element);
    of.apply(on, enters, element, after);
    //! [narrowed]
    std::swap(now, after);
  }
  if (seeded) before[0] = e.seed;
  return before;
}

double largest(const std::vector<std::vector<double>>& of) {
  double most = 1;  // values are within 1
  for (const auto& each : of) {
    for (double const number : each) most = std::fmax(most, std::isfinite(number) ? std::fabs(number) : 0);
  }
  return most;
}

}  // namespace

TEST_CASE("what is handed on is rounded, the same by every schedule of the serial order; bytes are of such numbers") {
  std::uint64_t draw = 0;
  double worst = 0;
  for (const auto& each : examples::all_schedules(2, 2)) {
    auto const schedule = schedule::narrow<float>(each);
    for (int const ranks : {1, 2, 3, 5, 8}) {
      for (transition const kind : scans::transitions) {
        for (int const dealt : {0, 1, 3}) {
          CAPTURE(each.name);
          CAPTURE(ranks);
          CAPTURE(static_cast<int>(kind));
          CAPTURE(dealt);
          if (++draw % scans::one_of != 0) continue;
          std::mt19937_64 random(draw);
          scan_slots slots(scans::owners(dealt, ranks, random));
          if (draw % 2 == 0) slots = scans::with_documents(slots, random);
          bool const seeded = draw % 3 != 0;
          experiment e({kind, 2, 3, 4, 5}, slots, draw);
          auto const got = scans::run(schedule, e, ranks, seeded);
          auto const exact = e.serial(seeded), rounded = serial(e, seeded);
          double const unit = 0x1p-24 * largest(exact);
          for (std::size_t slot = 0; slot < exact.size(); ++slot) {
            if (each.keeps_order()) CHECK(got.before[slot] == rounded[slot]);
            if (kind == transition::dense) continue;  // which need not shrink what was lost
            for (std::size_t i = 0; i < exact[slot].size(); ++i) {
              double const off = std::fabs(got.before[slot][i] - exact[slot][i]);
              CHECK(off <= 2 * static_cast<double>(slot) * unit + (slot > 0 ? unit : 0));
              worst = std::fmax(worst, off / largest(exact));
            }
          }
          if (dealt != 0 || draw % 2 == 0) continue;
          auto sizes = e.sizes();
          sizes.state /= 2;
          for (int slot = 0; slot < ranks; ++slot)
            CHECK(got.books[static_cast<std::size_t>(slot)].total_bytes() == each.bytes(ranks, slot, sizes));
        }
      }
    }
  }
  CHECK(worst >= 0x1p-25);
}

TEST_CASE("states of double as bf16: to the nearest, by way of float") {
  affine<double, transition::scalar> const of{1, 1, 1, 1};
  sharded::workspace memory(1 << 10);
  narrowed<affine<double, transition::scalar>, bf16> const narrow(of, memory.arena());
  auto const made = of.take_element(memory.arena());
  auto const rounded = narrow.take_element(memory.arena());
  made.gate.data[0] = -0.25, made.value.data[0] = 1 + 0x1p-8 + 0x1p-16;
  narrow.take_over(host_stream{}, made, rounded);
  CHECK(rounded.value.data[0] == 1 + 0x1p-7);
  CHECK(rounded.sums.gate.data[0] == -0.25);
}
