// sanitize: off
#include <doctest/doctest.h>

#include <string>

#include "support/dense_recurrences.hpp"
#include "support/golden_recurrence.hpp"
#include "support/recurrences.hpp"

using namespace ringfold;
using namespace dense_recurrences;

namespace {

struct result {
  numbers made;
  std::vector<counters> forward, backward;
};

/// Runs a rule as every rank of a layout, forward and then backward; each twice, and the second time counts.
template <class T, class Rule, class Schedule>
result run(const experiment& e, const layout& tokens, Schedule schedule, extent chunk) {
  using A = accumulate_t<T>;
  auto const& s = e.size;
  auto const order = sharded::memory_order::bhsd;
  result all;
  all.forward.resize(static_cast<std::size_t>(tokens.ranks())), all.backward = all.forward;
  all.made = e.made;
  for (auto const member : members(e)) std::fill((all.made.*member).begin(), (all.made.*member).end(), 0.0);
  std::mutex guard;
  run_ranks(tokens.ranks(), [&](threads comm) {
    int const me = comm.rank();
    counters book;
    auto const p = make_recurrence<T>(
        tokens, {.batch = s.batch, .heads = s.heads, .dim = s.dim, .value_dim = s.value_dim}, e.packed, e.scale);
    auto const over = recurrence(counted(comm, book), schedule, Rule{chunk});
    auto const mine = [&]<class N>(N, const std::vector<double>& from, extent width) {
      return from.empty() ? sharded::shard<N>{} : sharded::scatter<N>(from, tokens, me, order, s.batch, s.heads, width);
    };
    auto const empty = [&]<class N>(N, extent width) {
      return sharded::make_shard<N>(order, s.batch, tokens.rows(me), s.heads, width);
    };
    auto const q = mine(T{}, e.in.q, s.dim), k = mine(T{}, e.in.k, s.dim), v = mine(T{}, e.in.v, s.value_dim),
               a = mine(T{}, e.in.a, s.dim), b = mine(T{}, e.in.b, s.dim), dout = mine(T{}, e.in.out, s.value_dim);
    auto const beta = mine(A{}, e.in.beta, 1);
    auto const dq = empty(T{}, s.dim), dk = empty(T{}, s.dim), dv = empty(T{}, s.value_dim), da = empty(T{}, s.dim),
               db = empty(T{}, s.dim), out = empty(T{}, s.value_dim);
    auto const dbeta = empty(A{}, 1);
    sharded::shard<A> gates, dgates;
    auto const gates_in = [&](sharded::shard<A>& memory, const std::vector<double>& from) {
      if constexpr (Rule::gates == gating::none) {
        return view<A, 1>{};
      } else if constexpr (Rule::gates == gating::per_head) {
        memory.memory.assign(from.begin(), from.end());
        return dense(memory.memory.data(), s.heads);
      } else {
        memory = mine(A{}, from, e.gate_width());
        if constexpr (Rule::gates == gating::per_token) {
          return first_of_rows(memory.whole);
        } else {
          return memory.whole;
        }
      }
    };
    auto const g = gates_in(gates, e.in.gates), dg = gates_in(dgates, e.in.gates);
    std::vector<A> initial(e.in.initial.begin(), e.in.initial.end()), final(e.in.final.begin(), e.in.final.end()),
        made_final(final.size(), A(7)), made_initial(final.size(), A(7));
    auto const state = [&](std::vector<A>& of, extent slots = 1) {
      return dense(of.data(), slots * s.batch, s.heads, s.dim, s.value_dim);
    };

    recurrence_plan forward(over, p);
    recurrence_backward_plan backward(over, p);
    std::vector<A> kept(initial.size() * static_cast<std::size_t>(forward.slots()));
    auto const entered = state(kept, forward.slots());
    counters forward_book;
    for (int i = 0; i < 2; ++i) {
      typename decltype(forward)::states const states{state(initial), state(made_final), entered};
      typename decltype(backward)::states const outside{state(final), state(made_initial)};
      book = {};
      if constexpr (requires(typename Rule::template inputs<T> x) { x.beta; }) {
        forward.forward({q, k, v, first_of_rows(beta.whole), g}, out.whole, states);
        forward_book = book, book = {};
        backward.backward({q, k, v, first_of_rows(beta.whole), g}, entered, dout,
                          {dq.whole, dk.whole, dv.whole, first_of_rows(dbeta.whole), dg}, outside);
      } else {
        forward.forward({q, k, v, a, b, g}, out.whole, states);
        forward_book = book, book = {};
        backward.backward({q, k, v, a, b, g}, entered, dout, {dq.whole, dk.whole, dv.whole, da.whole, db.whole, dg},
                          outside);
      }
    }

    std::lock_guard const lock(guard);
    all.forward[static_cast<std::size_t>(me)] = forward_book, all.backward[static_cast<std::size_t>(me)] = book;
    recurrences::put(all.made.out, out.whole, tokens, me), recurrences::put(all.made.q, dq.whole, tokens, me);
    recurrences::put(all.made.k, dk.whole, tokens, me), recurrences::put(all.made.v, dv.whole, tokens, me);
    if (e.rule == rule_name::delta) recurrences::put(all.made.beta, dbeta.whole, tokens, me);
    if (e.rule == rule_name::dplr) {
      recurrences::put(all.made.a, da.whole, tokens, me), recurrences::put(all.made.b, db.whole, tokens, me);
    }
    if (Rule::gates == gating::per_head) {
      for (std::size_t i = 0; i < all.made.gates.size(); ++i)
        all.made.gates[i] += static_cast<double>(dgates.memory[i]);
    } else if (Rule::gates != gating::none) {
      recurrences::put(all.made.gates, dgates.whole, tokens, me);
    }
    tokens.for_each_position(me, [&](extent, extent position) {
      if (position == 0) all.made.initial.assign(made_initial.begin(), made_initial.end());
      if (position + 1 == tokens.tokens()) all.made.final.assign(made_final.begin(), made_final.end());
    });
  });
  return all;
}

/// A case of tests/golden/recurrence.
experiment golden(const std::string& name, rule_name rule, gating gates, extents size) {
  experiment e(rule, gates, size, documents{size.tokens}, 1);
  e.scale = 1 / std::sqrt(static_cast<double>(size.dim));
  golden_recurrence file(name);
  auto &x = e.in, &y = e.made;
  file.take(x.q, x.k, x.v, x.gates, x.beta, x.a, x.b, x.initial, x.out, x.final);
  file.take(y.out, y.final, y.q, y.k, y.v, y.gates, y.beta, y.a, y.b, y.initial);
  file.end();
  return e;
}

/// Roundings of sums over 21 tokens, and 6 rows of states that no transition lets grow, here and in PyTorch; errors partly
/// cancel, so a few dozen roundoffs of the largest number, 1.1e-16 each.
template <class Rule, class... Schedules>
void check_golden(const experiment& e, Schedules... schedules) {
  CHECK(off(e, e.define(e.in)) <= 1e-14);
  for (int const ranks : {1, 2, 3, 5}) {
    for (auto const& cut : {contiguous(e.size.tokens, ranks), zigzag(e.size.tokens, ranks)}) {
      CAPTURE(ranks);
      for (auto const& result : {run<double, Rule>(e, cut, schedules, 4)...}) CHECK(off(e, result.made) <= 1e-14);
    }
  }
}

}  // namespace

TEST_CASE("a delta rule over ranks") {
  run_ranks(4, [](threads comm) {
    std::vector<float> q(16 * 2 * 4), k(q), v(q), out(q), beta(16 * 2, 1), gates(beta.size(), -0.5f);
    for (std::size_t i = 0; i < q.size(); i += 4) q[i] = k[i] = 1, v[i] = static_cast<float>(comm.rank());
    auto const tokens = [](std::vector<float>& of) { return dense(of.data(), 1, 16, 2, 4); };
    auto const numbers = [](std::vector<float>& of) { return dense(of.data(), 1, 16, 2); };
    //! [delta]
    // Gated DeltaNet on 4 ranks of 16 tokens: a beta and a gate for each token and head.
    auto const problem = make_recurrence<float>(contiguous(64, comm.size()), {.heads = 2, .dim = 4});
    recurrence_plan run(recurrence(comm, schedule::chain{2}, delta_rule<gating::per_token>{}), problem);
    run.forward({tokens(q), tokens(k), tokens(v), numbers(beta), numbers(gates)}, tokens(out));
    //! [delta]
    // All keys are the same, of length 1, and beta is 1: a token takes back all that was written before its own value.
    for (std::size_t i = 0; i < out.size(); ++i) {
      float const wanted = v[i] / 2;
      if (!(std::fabs(out[i] - wanted) < 1e-6f)) throw usage_error(say("%g", static_cast<double>(out[i])));
    }
  });
}

TEST_CASE("the authors' reference of DeltaNet in float64, over ranks") {
  check_golden<delta_rule<gating::none>>(golden("delta", rule_name::delta, gating::none, {2, 14, 2, 5, 3}),
                                         schedule::chain{2}, schedule::hillis_steele{});
}
TEST_CASE("the authors' references of Gated DeltaNet and Kimi Delta Attention in float64, over ranks") {
  check_golden<delta_rule<gating::per_token>>(
      golden("gated_delta", rule_name::delta, gating::per_token, {1, 21, 2, 6, 4}), schedule::chain{});
  check_golden<delta_rule<gating::per_row>>(golden("kda", rule_name::delta, gating::per_row, {1, 21, 2, 6, 4}),
                                            schedule::hillis_steele{});
}
TEST_CASE("the authors' reference of RWKV-7 in float64, over ranks") {
  check_golden<dplr<gating::per_row>>(golden("rwkv7", rule_name::dplr, gating::per_row, {1, 14, 2, 6, 4}),
                                      schedule::chain{});
}

TEST_CASE("a chain sends states alone, a log-step scan matrices as well") {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    auto const cut = contiguous(11, ranks);
    extent const state = 2 * 3 * 4 * 5 * 8, matrix = 2 * 3 * 4 * 4 * 8;
    auto const drawn = [](rule_name rule, gating gates) {
      return experiment(rule, gates, {2, 11, 3, 4, 5}, documents{11}, 3);
    };
    auto const chain =
        run<double, dplr<gating::per_row>>(drawn(rule_name::dplr, gating::per_row), cut, schedule::chain{}, 4);
    auto const log_step =
        run<double, delta_rule<gating::none>>(drawn(rule_name::delta, gating::none), cut, schedule::hillis_steele{}, 4);
    for (int rank = 0; rank < ranks; ++rank) {
      auto const at = static_cast<std::size_t>(rank);
      CHECK(chain.forward[at].total_bytes() == (rank + 1 < ranks ? state : 0));
      CHECK(chain.backward[at].total_bytes() == (rank > 0 ? state : 0));
      extent const messages = schedule::hillis_steele{}.messages(ranks, rank),
                   back = schedule::hillis_steele{}.messages(ranks, ranks - 1 - rank);
      CHECK(log_step.forward[at].total_bytes() == messages * (state + matrix));
      CHECK(log_step.backward[at].total_bytes() == back * (state + matrix));
    }
  }
}

TEST_CASE("numbers that a delta rule does not take are refused with one line before anything is sent") {
  counters book;
  run_ranks(1, [&](threads plain) {
    counted comm(plain, book);
    auto const problem = make_recurrence<float>(contiguous(6, 1), {.batch = 2, .heads = 3, .dim = 4});
    recurrence_plan run(recurrence(comm, schedule::chain{}, delta_rule<gating::per_token>{}), problem);
    std::vector<float> q(144, 1.0f), out(144), beta(36, 2.0f), gates(36);
    auto const rows = [&](std::vector<float>& of) { return dense(of.data(), 2, 6, 3, 4); };
    auto const numbers = [&](std::vector<float>& of) { return dense(of.data(), 2, 6, 3); };
    auto const text = [&]() -> std::string {
      try {
        run.forward({rows(q), rows(q), rows(q), numbers(beta), numbers(gates)}, rows(out));
      } catch (const usage_error& e) {
        return e.what();
      }
      return "accepted";
    };
    CHECK(text() == "accepted");
    beta[7] = 2.5f;
    CHECK(text() == "forward: beta holds 2.5; allowed: from 0 to 2, where keys of length 1 let no state grow");
    beta[7] = -0.25f;
    CHECK(text() == "forward: beta holds -0.25; allowed: from 0 to 2, where keys of length 1 let no state grow");
    beta[7] = NAN;
    CHECK(text().starts_with("forward: beta holds "));
    CHECK_THROWS_WITH_AS(recurrence(comm, schedule::chain{}, delta_rule<gating::per_token>{0}),
                         "delta_rule: a chunk of 0 tokens; at least 1 is needed", usage_error);
    beta[7] = 2, gates[5] = 0.5f;
    CHECK(text() == "forward: gates hold 0.5; they are logarithms of decays, so allowed: at most 0");
  });
  CHECK(book.steps == 0);
}
