// sanitize: off
// Conformance: cases that implementations of recurrences over ranks have failed, each by every schedule.
#include <doctest/doctest.h>

#include <string>

#include "../../examples/support/any_schedule.hpp"
#include "../../examples/support/rules/convolved.hpp"
#include "../../examples/support/rules/matrices.hpp"
#include "../../examples/support/rules/selective.hpp"
#include "support/rules_over_ranks.hpp"

using namespace ringfold;
using namespace rules;

namespace {

/// Transitions of all kinds at once: a matrix, a decay for each row of it. Inputs: q, k, v, beta, gates.
using kimi = matrices<writing::corrects, gating::per_row>;
constexpr std::size_t keys = 1, betas = 3, gates = 4;

/// Results and gradients are the definition's.
template <class Spec>
void hold(const experiment<Spec>& e, const layout& tokens, const examples::any_schedule& by, double allowed = 1e-13) {
  CAPTURE(by.name);
  CAPTURE(tokens.ranks());
  CAPTURE(e.tokens);
  auto const off = apart(run_over_ranks<double>(e, tokens, by).made, e.made);
  CHECK(off.out <= allowed);
  CHECK(off.gradients <= allowed);
}
template <class Spec>
void hold(const experiment<Spec>& e, const layout& tokens, double allowed = 1e-13) {
  for (const auto& by : examples::all_schedules(2, 2)) hold(e, tokens, by, allowed);
}

/// The same, by a rule that makes what needs no state in a pass of its own, wherever the state is.
struct in_two_passes : kimi {
  struct rule_of : decltype(kimi().rule()) {
    void within_and_carry() const = delete;
  };
  rule_of rule() const { return {kimi::rule()}; }
};

experiment<kimi> drawn(const documents& packed, std::uint64_t seed = 1) { return {kimi{}, packed, 1, 2, seed}; }

}  // namespace

TEST_CASE("one rank, two, no power of two, more than heads, more than tokens") {
  for (int const ranks : {1, 2, 3, 5, 7, 12}) {
    hold(drawn({29}), contiguous(29, ranks));
    hold(drawn({3}), contiguous(3, ranks));
  }
}

TEST_CASE("ranks without tokens at the start, in the middle and at the end; of one token; of less than a chunk") {
  for (const std::vector<extent>& lengths :
       {std::vector<extent>{0, 9, 8}, {9, 0, 8}, {9, 8, 0}, {1, 1, 1, 7, 7}, {0, 17}})
    hold(drawn({17}), uneven(17, lengths));
  for (extent const chunk : {1, 5, 17, 64}) {
    experiment const e(kimi{3, 4, chunk}, documents{17}, 1, 2, 2);
    hold(e, contiguous(17, 3));
  }
}

TEST_CASE("a convolution that looks back over more than one rank") {
  experiment const e(convolved{4, 3}, documents{11}, 1, 2, 3);
  hold(e, uneven(11, {1, 1, 0, 1, 8}));
  hold(e, striped(11, 4));
  hold(experiment(convolved{7, 2}, documents{3, 8}, 1, 1, 4), uneven(11, {2, 2, 2, 2, 3}));
}

TEST_CASE("documents: cut within and at their ends, over several ranks, of no token and of one, within one rank") {
  for (const documents& packed :
       {documents{12, 12}, documents{8, 8, 8}, documents{3, 18, 3}, documents{0, 8, 0, 16, 0}, documents{7, 1, 16},
        documents{10, 2, 12}, documents{2, 3, 3, 16}, documents{23, 1}}) {
    for (const layout& tokens : {contiguous(24, 3), zigzag(24, 3), striped(24, 3), zigzag(packed, 24, 3)})
      hold(drawn(packed), tokens);
  }
}

TEST_CASE("a rank with two adjacent pieces, and ranks in any order") {
  auto const piece = [](extent first, extent count) { return segment{first, 1, count}; };
  hold(drawn({24}), layout(24, {{piece(0, 4), piece(4, 4)}, {piece(8, 8)}, {piece(16, 8)}}));
  hold(drawn({24}), layout(24, {{piece(16, 8)}, {piece(0, 8)}, {piece(8, 8)}}));
  hold(drawn({5, 19}), layout(24, {{piece(20, 4), piece(2, 3)}, {piece(5, 15)}, {piece(0, 2)}}));
}

TEST_CASE("a gradient of the last state alone, of outputs alone, and of the first state") {
  auto e = drawn({24});
  e.given.out.assign(e.given.out.size(), 0.0);
  e.define();
  hold(e, zigzag(24, 3));
  for (asked const what : {asked{false, true}, asked{true, false}, asked{false, false}})
    hold(experiment(kimi{}, documents{24}, 1, 2, 5, what), zigzag(24, 3));
}

TEST_CASE("gates: none, slow, strong, some that forget all, one head slow beside one that is not") {
  auto const with = [](auto gate_of) {
    auto e = drawn({40});
    auto const width = static_cast<std::size_t>(e.spec.dim);
    for (std::size_t i = 0; i < e.given.in[gates].size(); ++i)
      e.given.in[gates][i] = gate_of(i / width % 2, i / width / 2);
    e.define();
    hold(e, striped(40, 4, 5));
  };
  with([](std::size_t, std::size_t) { return 0.0; });
  with([](std::size_t, std::size_t) { return -1e-3; });
  with([](std::size_t, std::size_t) { return -50.0; });
  with([](std::size_t, std::size_t token) { return token % 7 == 3 ? -INFINITY : -0.25; });
  with([](std::size_t head, std::size_t) { return head == 0 ? -1e-3 : -5.0; });
}

TEST_CASE("a rank whose state is there works in one pass, with the same sums in the same order") {
  experiment const one(kimi{}, documents{5, 24}, 1, 2, 3);
  experiment const two(in_two_passes{}, documents{5, 24}, 1, 2, 3);
  for (const auto& by : examples::all_schedules(2, 2)) {
    for (const layout& tokens : {contiguous(29, 1), contiguous(29, 3), zigzag(29, 2)})
      for (auto const order : {sharded::memory_order::bshd, sharded::memory_order::planar}) {
        auto const out_of = [&](const auto& e) { return run_over_ranks<double>(e, tokens, by, {order}).made.out; };
        CHECK(out_of(one) == out_of(two));
      }
  }
}

TEST_CASE("betas of 0 and of 2, keys of nothing and of length 1") {
  auto e = drawn({40});
  for (std::size_t token = 0; token < e.given.in[betas].size(); ++token) {
    double* const key = &e.given.in[keys][token * static_cast<std::size_t>(e.spec.dim)];
    if (token % 4 == 0) e.given.in[betas][token] = 0;
    if (token % 4 == 1) e.given.in[betas][token] = 2, key[0] = 1, key[1] = key[2] = 0;
    if (token % 4 == 2) key[0] = key[1] = key[2] = 0;
  }
  e.define();
  hold(e, contiguous(40, 3));
  hold(e, striped(40, 3));
}

TEST_CASE("a state in one piece, in as many as it has columns, and in a number that does not divide them") {
  for (int const ranks : {1, 2, 3, 8}) {
    for (int const pieces : {1, 2, 3, 4}) hold(drawn({29}), contiguous(29, ranks), {"chain", schedule::chain{pieces}});
  }
}

TEST_CASE("of nothing but zeros comes no zero below zero") {
  auto e = drawn({12});
  for (auto& each : e.given.in) each.assign(each.size(), 0.0);
  e.given.initial.assign(e.given.initial.size(), 0.0);
  e.define();
  for (const auto& by : examples::all_schedules(2, 2)) {
    for (double const each : run_over_ranks<double>(e, contiguous(12, 4), by).made.out) CHECK(!std::signbit(each));
  }
}

TEST_CASE("the product of 256 matrices near the identity, a token each") {
  auto e = drawn({256});
  for (double& each : e.given.in[gates]) each = std::isfinite(each) ? each * 1e-3 : 0;
  for (double& each : e.given.in[betas]) each *= 0.05;
  e.define();
  hold(e, striped(256, 8), 1e-12);
}

TEST_CASE("float and bf16 over ranks: sums in float, results and gradients rounded once") {
  for (const layout& tokens : {contiguous(24, 3), zigzag(24, 3)}) {
    for (const auto& by : examples::all_schedules(2, 2)) {
      CAPTURE(by.name);
      auto const e = drawn({5, 19});
      auto const off = apart(run_over_ranks<float>(e, tokens, by).made, e.made);
      CHECK(off.out <= 33 * 0x1p-24);
      CHECK(off.gradients <= 33 * 0x1p-24);
      // Its inputs are numbers of bf16, so half a unit in the last place of the largest result is all that is lost.
      experiment const narrow(selective{2, 3, 4}, documents{5, 19}, 1, 2, 9);
      auto const rounded = apart(run_over_ranks<bf16>(narrow, tokens, by).made, narrow.made);
      CHECK(rounded.out <= 0x1p-8);
      CHECK(rounded.gradients <= 0x1p-8);
      CHECK(rounded.out > 0x1p-14);
    }
  }
}

TEST_CASE("two recurrences in turn over one communicator, again and again") {
  experiment const one(matrices<writing::adds, gating::none>{2, 3, 4}, documents{20}, 1, 1, 7, {false, false, false});
  experiment const other(kimi{3, 4, 4}, documents{6, 14}, 1, 2, 8, {false, false, false});
  for (const auto& by : examples::all_schedules(2, 2)) {
    CAPTURE(by.name);
    std::mutex guard;
    values<double> made_one, made_other;
    run_ranks(4, [&](threads comm) {
      auto const tokens = contiguous(20, 4);
      auto const plan_of = [&](const auto& e) {
        return recurrence_plan(recurrence(comm, by, e.spec.rule()),
                               e.spec.template problem<double>(tokens, e.packed, 1, e.heads));
      };
      auto first = plan_of(one);
      auto second = plan_of(other);
      shard_of<double, double, std::remove_cvref_t<decltype(one.spec)>> const of_first(one, tokens, comm.rank());
      shard_of<double, double, kimi> const of_second(other, tokens, comm.rank());
      for (int turn = 0; turn < 5; ++turn) {
        first.forward(of_first.read(one.spec), of_first.out.whole);
        second.forward(of_second.read(other.spec), of_second.out.whole);
      }
      std::lock_guard const lock(guard);
      of_first.add_to(made_one, one, tokens, comm.rank()), of_second.add_to(made_other, other, tokens, comm.rank());
    });
    CHECK(apart(made_one.out, one.made.out) <= 1e-13);
    CHECK(apart(made_other.out, other.made.out) <= 1e-13);
  }
}

TEST_CASE("a rank that fails ends the others' wait, and is named") {
  experiment const e(kimi{}, documents{20}, 1, 2, 8, {false, false, false});
  for (const auto& by : examples::all_schedules(2, 2)) {
    CAPTURE(by.name);
    std::string text;
    try {
      run_ranks(4, [&](threads comm) {
        auto const tokens = contiguous(20, 4);
        recurrence_plan plan(recurrence(comm, by, kimi{}.rule()), e.spec.problem<double>(tokens, e.packed, 1, 2));
        shard_of<double, double, kimi> mine(e, tokens, comm.rank());
        plan.forward(mine.read(e.spec), mine.out.whole);
        if (comm.rank() == 1) mine.sums[gates].memory[0] = 1;  // refused, on this rank alone
        plan.forward(mine.read(e.spec), mine.out.whole);
      });
    } catch (const usage_error& refusal) {
      text = refusal.what();
    }
    CHECK(text == "forward: gates hold 1; they are logarithms of decays, so allowed: at most 0");
  }
}
