// sanitize: off
#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "support/recurrences.hpp"

using namespace ringfold;
using namespace recurrences;

namespace {

template <class T, gating Gates, class Schedule>
void check(const experiment& e, Schedule schedule, extent chunk, with_states with, sharded::memory_order order) {
  CAPTURE(e.tokens.ranks());
  CAPTURE(e.tokens.tokens());
  CAPTURE(chunk);
  auto const result = run<T, Gates>(e, schedule, chunk, with, order);
  CHECK(right<T>(e, result.made, with, true));
  if constexpr (Schedule::carries_states) {
    auto const bytes = chain_bytes(e.tokens, e.packed, state_bytes<T>(e), true);
    for (std::size_t rank = 0; rank < bytes.size(); ++rank) CHECK(result.backward[rank].total_bytes() == bytes[rank]);
  }
}

}  // namespace

TEST_CASE("gradients of a recurrence over ranks") {
  run_ranks(4, [](threads comm) {
    std::vector<float> q(16 * 2 * 4, 1), k(q), v(q), out(q), dout(q), dq(q), dk(q), dv(q), gates(q.size(), -0.5f),
        dgates(q);
    std::vector<float> dinitial(2 * 4 * 4);
    auto const tokens = [](std::vector<float>& of) { return dense(of.data(), 1, 16, 2, 4); };
    //! [backward]
    auto const problem = make_recurrence<float>(contiguous(64, comm.size()), {.heads = 2, .dim = 4});
    auto const over = recurrence(comm, schedule::chain{}, decay<gating::per_row>{});
    recurrence_plan forward(over, problem);
    recurrence_backward_plan backward(over, problem);

    // A state for each slot of this rank is kept: here one slot.
    std::vector<float> kept(static_cast<std::size_t>(forward.slots()) * 2 * 4 * 4);
    auto const entered = dense(kept.data(), forward.slots(), 2, 4, 4);
    forward.forward({tokens(q), tokens(k), tokens(v), tokens(gates)}, tokens(out), {.entered = entered});
    backward.backward({tokens(q), tokens(k), tokens(v), tokens(gates)}, entered, tokens(dout),
                      {tokens(dq), tokens(dk), tokens(dv), tokens(dgates)},
                      {.initial = dense(dinitial.data(), 1, 2, 4, 4)});
    //! [backward]
    // All are ones, the scale 1/2: the gradient of the initial state is the sum of exp(-t / 2) / 2 over 64 tokens.
    if (comm.rank() == 0 && !(std::fabs(dinitial[0] - 0.770747f) < 1e-5f))
      throw usage_error(say("%g", static_cast<double>(dinitial[0])));
  });
}

TEST_CASE("the definition's gradients are central differences of its results") {
  for (auto const gates : {gating::none, gating::per_head, gating::per_token, gating::per_row}) {
    documents const packed{9, 0, 1, 7};
    experiment e(contiguous(17, 1), packed, {2, 2, 3, 4}, gates, 21, false);
    auto const objective = [&](const numbers& x) {
      auto const y = e.define(x);
      double sum = 0;
      for (std::size_t i = 0; i < y.out.size(); ++i) sum += y.out[i] * e.in.out[i];
      for (std::size_t i = 0; i < y.final.size(); ++i) sum += y.final[i] * e.in.final[i];
      return sum;
    };
    double const step = 1e-4;
    for (auto const member : {&numbers::q, &numbers::k, &numbers::v, &numbers::gates, &numbers::initial}) {
      for (std::size_t i = 0; i < (e.in.*member).size(); i += 5) {
        numbers above = e.in, below = e.in;
        (above.*member)[i] += step, (below.*member)[i] -= step;
        double const difference = (objective(above) - objective(below)) / (2 * step);
        // The third derivatives of gates, times step squared, and the roundings of sums divided by step.
        CHECK(std::fabs(difference - (e.made.*member)[i]) <= 1e-6);
      }
    }
  }
}

TEST_CASE("gradients of all element types: sums in float, rounded once") {
  for (int const ranks : {1, 3, 8}) {
    documents const packed{20, 1, 0, 44};
    experiment const e(zigzag(65, ranks), packed, {2, 3, 5, 6}, gating::per_row, 5);
    check<float, gating::per_row>(e, schedule::chain{}, 16, {}, sharded::memory_order::bhsd);
    check<bf16, gating::per_row>(e, schedule::chain{6}, 16, {}, sharded::memory_order::packed);
    check<f16, gating::per_row>(e, schedule::hillis_steele{}, 16, {}, sharded::memory_order::planar);
    experiment const f(zigzag(65, ranks), packed, {2, 3, 5, 6}, gating::per_head, 6);
    check<float, gating::per_head>(f, schedule::recursive_doubling{}, 7, {}, sharded::memory_order::bshd);
  }
}

TEST_CASE("chunks of more tokens than fit in registers and blocks, rows of whole registers and a rest") {
  for (extent const chunk : {130, 200, 300}) {
    documents const packed{37, 463};
    experiment const e(contiguous(500, 2), packed, {1, 2, 35, 51}, gating::per_row, 31);
    check<float, gating::per_row>(e, schedule::chain{}, chunk, {}, sharded::memory_order::bhsd);
    check<double, gating::per_row>(e, schedule::chain{}, chunk, {}, sharded::memory_order::bshd);
    experiment const f(contiguous(500, 2), packed, {1, 2, 64, 16}, gating::per_token, 32);
    check<double, gating::per_token>(f, schedule::chain{}, chunk, {}, sharded::memory_order::packed);
    experiment const g(contiguous(500, 2), packed, {1, 2, 16, 80}, gating::none, 33);
    check<double, gating::none>(g, schedule::chain{}, chunk, {}, sharded::memory_order::bshd);
  }
}

TEST_CASE("gradients under strong gates over many tokens") {
  extent const tokens = 4000;
  experiment e(contiguous(tokens, 4), documents{tokens}, {1, 2, 2, 2}, gating::per_row, 9, false);
  for (std::size_t i = 0; i < e.in.gates.size(); ++i) e.in.gates[i] = i / 2 % 2 == 0 ? -5 : -0x1p-10;
  e.define();
  check<float, gating::per_row>(e, schedule::doubling_123{}, 64, {}, sharded::memory_order::bshd);
  check<float, gating::per_row>(e, schedule::chain{}, 64, {}, sharded::memory_order::bshd);
}

TEST_CASE("a chunk may be longer than any sequence") {
  auto const bytes = [](extent chunk) {
    arena<> measured;
    auto const p = make_recurrence<float>(contiguous(3, 1), {.dim = 20, .value_dim = 20});
    decay<gating::none>{chunk}.backward_workspace_for(p, 3, measured);
    return measured.used();
  };
  CHECK(bytes(std::numeric_limits<extent>::max()) == bytes(3));
}

TEST_CASE("what does not fit backward is refused with one line before anything is sent") {
  counters book;
  run_ranks(1, [&](threads plain) {
    counted comm(plain, book);
    auto const problem = make_recurrence<float>(contiguous(6, 1), {.batch = 2, .heads = 3, .dim = 4});
    recurrence_backward_plan run(recurrence(comm, schedule::chain{}, decay<gating::per_row>{}), problem);
    std::vector<std::vector<float>> memory(12, std::vector<float>(200));
    auto const at = [&](int i) { return dense(memory[static_cast<std::size_t>(i)].data(), 2, 6, 3, 4); };
    auto const state = [&](int i) { return dense(memory[static_cast<std::size_t>(i)].data(), 2, 3, 4, 4); };
    using none = view<float, 4>;
    auto const text_of = [&](auto q, auto k, auto v, auto gates, auto entered, auto dout, auto dq, auto dk, auto dv,
                             auto dgates, none dfinal = {}, none dinitial = {}) -> std::string {
      try {
        run.backward({q, k, v, gates}, entered, dout, {dq, dk, dv, dgates}, {dfinal, dinitial});
      } catch (const usage_error& e) {
        return e.what();
      }
      return "accepted";
    };
    CHECK(text_of(at(0), at(1), at(2), at(3), state(4), at(5), at(6), at(7), at(8), at(9), state(10), state(11)) ==
          "accepted");
    CHECK(text_of(at(0), at(1), at(2), at(3), view<float, 4>{}, at(5), at(6), at(7), at(8), at(9)) ==
          "backward: entered has 0 batch, the problem has 2");
    CHECK(text_of(at(0), at(1), at(2), at(3), state(4), at(5), at(6), at(7), at(8), view<float, 4>{}) ==
          "backward: dgates has 0 batch, the problem has 2");
    CHECK(text_of(at(0), at(1), at(2), at(3), state(4), at(5), at(6), at(6), at(8), at(9)) ==
          "backward: dq overlaps dk; outputs need memory of their own");
    CHECK(text_of(at(0), at(1), at(2), at(3), state(4), at(5), at(6), at(7), at(8), at(3)) ==
          "backward: dgates overlaps gates; outputs need memory of their own");
    CHECK(text_of(at(0), at(1), at(2), at(3), state(4), at(5), at(6), at(7), at(8), at(9), state(10), state(4)) ==
          "backward: dinitial overlaps entered; outputs need memory of their own");
    memory[3][5] = 1;
    CHECK(text_of(at(0), at(1), at(2), at(3), state(4), at(5), at(6), at(7), at(8), at(9)) ==
          "backward: gates hold 1; they are logarithms of decays, so allowed: at most 0");
  });
  CHECK(book.steps == 0);
}
