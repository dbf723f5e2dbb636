// sanitize: threads
#include <ringfold/recurrence/shared_rule.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>

#include <ringfold/executor/thread_pool.hpp>
#include <ringfold/recurrence/both_ways.hpp>

#include "../../examples/support/rules/convolved.hpp"
#include "../../examples/support/rules/diagonal.hpp"
#include "../../examples/support/rules/matrices.hpp"
#include "../../examples/support/rules/memory_cell.hpp"
#include "../../examples/support/rules/selective.hpp"
#include "erratic.hpp"
#include "support/rules_over_ranks.hpp"
#include "support/sharded.hpp"

using namespace ringfold;
using namespace rules;

namespace {

/// One of several executors: of no worker, a thread_pool's; otherwise an erratic one's. Keeps the most pieces of a run.
struct either {
  int count = 0;
  const thread_pool* pool = nullptr;
  mutable std::atomic<int> most{0};

  int workers() const { return pool != nullptr ? pool->workers() : count; }
  template <class F>
  void run(int pieces, F&& f) const {
    for (int seen = most; seen < pieces && !most.compare_exchange_weak(seen, pieces);) {}
    pool != nullptr ? pool->run(pieces, f) : erratic{count}.run(pieces, f);
  }
};

bool same_bits(const values<double>& a, const values<double>& b) {
  return a.out == b.out && a.final == b.final && a.initial == b.initial && a.in == b.in;
}

/// Results and gradients of a rule on workers are its own, bit for bit: of documents, in both directions at once,
/// and from either end.
template <class Spec, class Schedule = schedule::chain>
void check(Spec spec, extent batch = 3, extent heads = 2, Schedule by = {}) {
  experiment<Spec> const e(spec, both_ways(documents{5, 12}), batch, heads, 1);
  for (int const ranks : {1, 3}) {
    auto const tokens = both_ways(contiguous(17, ranks));
    manner const how{sharded::memory_order::bshd, ranks == 3};
    auto const wanted = run_over_ranks<float>(e, tokens, by, how).made;
    auto const run_on = [&](const either& to) {
      auto const on_workers = [&](const auto& over) { return over.on(to); };
      CHECK(same_bits(run_over_ranks<float>(e, tokens, by, how, on_workers).made, wanted));
    };
    for (int workers = 0; workers <= 5; ++workers) {  // none: in place
      CAPTURE(workers);
      either const to{workers};
      run_on(to);
      if (workers > 1) CHECK(to.most == std::min<extent>(workers, batch * heads));
    }
    thread_pool const pool(3);
    run_on(either{0, &pool});
  }
}

/// A decay that fails at a head, if told to.
struct fragile : decay<gating::per_token> {
  extent failing_head = -1;

  template <class... W>
  void summarize(W&... work) const {
    fail(work...), decay<gating::per_token>::summarize(work...);
  }
  template <class W, class P, class... Rest>
  void within(W& work, const P& p, const Rest&... rest) const {
    fail(work, p), decay<gating::per_token>::within(work, p, rest...);
  }
  template <class W, class P, class... Rest>
  void fail(const W&, const P& p, const Rest&...) const {
    if (p.heads.first == failing_head) throw std::runtime_error("a head fails");
  }
};

/// Keeps how many batches of a head a worker has taken for gradients.
template <class Rule>
struct watched : Rule {
  std::atomic<extent>* batches;
  template <class W, class P>
  void carry_backward(W&, const P& p) const {
    *batches = p.batches.count;
  }
};
template <class Rule>
extent batches_at_once(Rule rule) {
  auto const p = make_recurrence<float>(contiguous(1, 1), {.batch = 3, .heads = 2, .dim = 2});
  sharded::workspace memory(1 << 20);
  std::atomic<extent> batches{0};
  erratic const workers{2};
  shared_rule const shared(watched<Rule>{rule, &batches}, workers);
  shared.carry_backward(shared.backward_workspace_for(p, 1, memory.arena()), p);
  return batches;
}

/// Whether tokens whose state is there take one pass.
template <class Rule>
constexpr bool in_one_pass =
    requires(const Rule& rule, typename Rule::workspace& work, const recurrence_problem<float>& p,
             const recurrence_operands<float>& of, const view<const float, 4>& enters,
             const view<float, 4>& out) { rule.within_and_carry(work, p, of, enters, out); };
struct in_two_passes : decay<gating::none> {
  void within_and_carry() const = delete;
};
static_assert(in_one_pass<shared_rule<decay<gating::none>, in_place>>);
static_assert(!in_one_pass<shared_rule<in_two_passes, in_place>>);

// Another executor takes the place of the one before.
static_assert(std::is_same_v<shared_rule<mlstm, erratic>,
                             decltype(shared_rule(std::declval<shared_rule<mlstm, in_place>>(), erratic{1}))>);

}  // namespace

TEST_CASE("a gradient that is a sum over the batch is one worker's") {
  CHECK(batches_at_once(decay<gating::none>{}) == 1);
  CHECK(batches_at_once(decay<gating::per_head>{}) == 3);
  CHECK(batches_at_once(mlstm{}) == 1);
  CHECK(batches_at_once(selective_scan{}) == 3);
  CHECK(batches_at_once(short_convolution{}) == 3);
  CHECK(batches_at_once(diagonal_recurrence<field::real>{}) == 1);
  CHECK(batches_at_once(diagonal_recurrence<field::real, factors::learned>{}) == 3);
}

TEST_CASE("heads of a batch on workers: matrices") {
  check(matrices<writing::adds, gating::per_head>{});
  check(matrices<writing::corrects, gating::per_token>{}, 2, 3, schedule::narrow<bf16>(schedule::doubling_123{}));
  check(matrices<writing::of_low_rank, gating::per_row>{}, 5, 1);
}

TEST_CASE("heads of a batch on workers: other states") {
  check(memory_cell{});
  check(selective{});
  check(diagonal<field::complex, factors::learned>{});
  check(convolved{});
}

TEST_CASE("a round of pieces at once, and what is to be done meanwhile by the caller's thread, which has none") {
  constexpr extent batch = 1, heads = 5, tokens = 3;
  auto const p = make_recurrence<float>(contiguous(tokens, 1), {.heads = heads, .dim = 2});
  std::vector<float> numbers(tokens * heads * 2, 1);
  auto const rows = dense(numbers.data(), batch, tokens, heads, 2);
  view<const float, 4> const read = rows;
  recurrence_operands<float> const of{read, read, read, {}};
  erratic const workers{2};
  shared_rule const rule(decay<gating::none>{}, workers);
  sharded::workspace memory(1 << 16);
  auto const work = rule.forward_workspace(p, tokens, memory.arena());
  int rounds = 0;
  auto const caller = std::this_thread::get_id();
  rule.within(work, p, of, rows, [&] {
    ++rounds;
    CHECK(std::this_thread::get_id() == caller);
  });
  CHECK(rounds == 3);
}

TEST_CASE("a head that fails on a worker ends the call, and what waits for its rank") {
  thread_pool const pool(3);
  for (extent const failing : {0, 3}) {
    auto const run = [&] {
      run_ranks(3, [&](threads comm) {
        fragile rule{};
        if (comm.rank() == 1) rule.failing_head = failing;
        recurrence_plan plan(recurrence(comm, schedule::chain{}, rule).on(pool),
                             make_recurrence<float>(contiguous(30, 3), {.heads = 4, .dim = 2}));
        std::vector<float> numbers(10 * 4 * 2, 1), out(numbers), gates(10 * 4, -1);
        auto const rows = [](std::vector<float>& of) { return dense(of.data(), 1, 10, 4, 2); };
        plan.forward({rows(numbers), rows(numbers), rows(numbers), dense(gates.data(), 1, 10, 4)}, rows(out));
      });
    };
    CHECK_THROWS_WITH_AS(run(), "a head fails", std::runtime_error);
  }
}
