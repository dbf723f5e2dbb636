#include <ringfold/algebra/product.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <mutex>
#include <random>
#include <vector>

#include <ringfold/algebra/window.hpp>
#include <ringfold/collective/scan.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/wrap/counted.hpp>

#include "sharded.hpp"

using namespace ringfold;

namespace {

using sums = affine<double, transition::identity>;
using decays = affine<double, transition::diagonal>;
using tokens = token_window<double>;
using all_three = product<tokens, decays, sums>;

all_three const together{{tokens{{2, 3, 2, 5}}, decays{2, 3, 4, 3}, sums{2, 3, 1, 2}}};

/// Fills the element of a slot: numbers drawn for it alone.
void fill(const all_three& of, const affine_element<double>& into, int slot) {
  std::mt19937_64 random(static_cast<std::uint64_t>(slot));
  auto const draw = [&](const view<double, 4>& some, double low, double high) {
    host_stream{}.elementwise([&](double& x) { x = low + (high - low) * static_cast<double>(random() % 1024) / 1024; },
                              some);
  };
  auto const window = of.of_element<0>(into), decay = of.of_element<1>(into), sum = of.of_element<2>(into);
  draw(window.value, -1, 1), draw(decay.value, -1, 1), draw(sum.value, -1, 1), draw(decay.gate, -2, 0);
  host_stream{}.elementwise([&](double& x) { x = slot % 3; }, window.gate);
}

/// What enters each slot, by the algebra alone that `one` picks, of its part of the same elements.
template <std::size_t I>
std::vector<std::vector<double>> alone(int slots) {
  auto const& of = std::get<I>(together.of);
  sharded::workspace memory(1 << 16);
  auto now = of.take_state(memory.arena()), next = of.take_state(memory.arena());
  auto const element = together.take_element(memory.arena());
  host_stream{}.elementwise(elementwise::set_zero{}, now);
  std::vector<std::vector<double>> made;
  for (int slot = 0; slot < slots; ++slot) {
    made.emplace_back(now.data, now.data + now.size());
    fill(together, element, slot);
    of.apply(host_stream{}, now, together.of_element<I>(element), next);
    std::swap(now, next);
  }
  return made;
}

template <class Schedule>
void check(Schedule schedule, int ranks, double bound) {
  CAPTURE(ranks);
  auto const windows = alone<0>(ranks), decayed = alone<1>(ranks), summed = alone<2>(ranks);
  std::vector<int> owners;
  for (int rank = 0; rank < ranks; ++rank) owners.push_back(rank);
  std::mutex guard;
  run_ranks(ranks, [&](threads plain) {
    counters book;
    counted comm(plain, book);
    sharded::workspace memory(1 << 18);
    auto before = scan(schedule, together, comm, scan_slots(owners), memory.arena());
    auto const mine = together.take_element(memory.arena());
    fill(together, mine, comm.rank());
    before.start({&mine, 1}, nullptr, {});
    before.finish({});

    std::lock_guard const lock(guard);
    auto const rank = static_cast<std::size_t>(comm.rank());
    auto const near = [&](view<double, 4> got, const std::vector<double>& wanted) {
      double most = 0;
      std::size_t i = 0;
      host_stream{}.elementwise(
          [&](double x) { most = std::max(most, x == wanted[i] ? 0 : std::fabs(x - wanted[i])), ++i; }, got);
      return i == wanted.size() && most <= bound;
    };
    auto const entered = before.before(0);
    CHECK(near(together.of_state<0>(entered), windows[rank]));
    CHECK(near(together.of_state<1>(entered), decayed[rank]));
    CHECK(near(together.of_state<2>(entered), summed[rank]));
    if constexpr (requires { schedule.messages(ranks, 0); }) {
      // One message where there would be three, and as many bytes.
      extent const states = 2 * 3 * (2 * 5 + 4 * 3 + 2) * 8, gates = 2 * 3 * (1 + 4) * 8;
      extent const messages = schedule.messages(ranks, comm.rank());
      CHECK(book.messages == messages * (Schedule::carries_states ? 1 : 2));
      CHECK(book.total_bytes() ==
            (Schedule::carries_states ? (comm.rank() + 1 < ranks ? states : 0) : messages * (states + gates)));
    }
  });
}

}  // namespace

TEST_CASE("algebras side by side are each of them alone, in one message") {
  for (int ranks = 1; ranks <= 7; ++ranks) {
    check(schedule::chain{}, ranks, 0);
    check(schedule::chain{3}, ranks, 0);  // in heads
    check(schedule::recursive_doubling{}, ranks, 1e-14);
    check(schedule::all_to_all{}, ranks, 0);
  }
}

TEST_CASE("algebras of other heads are refused, not read beyond their ends") {
  using sum = affine<double, transition::identity>;
  product<sum, sum> const apart{{sum{2, 3, 4, 5}, sum{2, 4, 4, 5}}};
  arena<> nowhere;
  CHECK_THROWS_WITH_AS(apart.take_state(nowhere),
                       "product: batch 2 and 4 heads beside batch 2 and 3 heads; they must be the same", usage_error);
}
