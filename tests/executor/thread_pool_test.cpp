#include <ringfold/executor/thread_pool.hpp>

#include <doctest/doctest.h>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/recurrence/backward_plan.hpp>
#include <ringfold/recurrence/decay.hpp>

#include "support/allocations.hpp"

using namespace ringfold;

static_assert(executor<thread_pool>);

TEST_CASE("a rank of several threads") {
  run_ranks(2, [](threads comm) {
    //! [executor]
    // Each of the ranks has three threads; any executor will do in place of this pool, and no bit depends on it.
    thread_pool const pool(3);
    auto const problem = make_problem<float>(zigzag(1024, comm.size()), {.heads = 4, .dim = 32}, causal());
    plan run(ring(comm, flash_kernel{}.on(pool)), problem);

    std::vector<float> q(512 * 4 * 32, 0.5f), k(q), v(q), out(q);
    auto const tokens = [](std::vector<float>& of) { return dense(of.data(), 1, 512, 4, 32); };
    run.forward(tokens(q), tokens(k), tokens(v), tokens(out));
    //! [executor]
    for (float const each : out) CHECK(each == doctest::Approx(0.5));
  });
}

TEST_CASE("a rank of several threads, for a recurrence") {
  run_ranks(2, [](threads comm) {
    auto const problem = make_recurrence<float>(contiguous(64, comm.size()), {.batch = 2, .heads = 3, .dim = 4});
    std::vector<float> q(2 * 32 * 3 * 4, 0.5f), k(q), v(q), out(q), gates(2 * 32 * 3, -0.5f);
    auto const tokens = [](std::vector<float>& of) { return dense(of.data(), 2, 32, 3, 4); };
    //! [recurrence]
    thread_pool const pool(3);
    recurrence_plan run(recurrence(comm, schedule::chain{}, decay<gating::per_token>{}).on(pool), problem);
    //! [recurrence]
    auto const call = [&](auto& plan, std::vector<float>& to) {
      plan.forward({tokens(q), tokens(k), tokens(v), dense(gates.data(), 2, 32, 3)}, tokens(to));
    };
    recurrence_plan alone(recurrence(comm, schedule::chain{}, decay<gating::per_token>{}), problem);
    auto wanted = out;
    call(alone, wanted), call(run, out);
    CHECK(out == wanted);
    CHECK(run.workspace() > alone.workspace());
  });
}

TEST_CASE("heads of a recurrence are shared among workers, forward and backward, and a call allocates nothing") {
  thread_pool const pool(3);
  auto const p = make_recurrence<float>(contiguous(70, 1), {.batch = 2, .heads = 3, .dim = 4});
  std::vector<float> numbers(2 * 70 * 3 * 4, 0.5f), gates(2 * 70 * 3, -0.5f), entered(2 * 3 * 4 * 4);
  std::vector out(4, numbers);
  auto slopes = gates;
  auto const tokens = [](std::vector<float>& of) { return dense(of.data(), 2, 70, 3, 4); };
  auto const of_gates = [](std::vector<float>& of) { return dense(of.data(), 2, 70, 3); };
  auto const over = recurrence(self{}, schedule::chain{}, decay<gating::per_token>{}).on(pool);
  recurrence_plan forward(over, p);
  recurrence_backward_plan backward(over, p);
  auto const states = dense(entered.data(), 2, 3, 4, 4);
  long const before = allocations::everywhere;
  forward.forward({tokens(numbers), tokens(numbers), tokens(numbers), of_gates(gates)}, tokens(out[0]),
                  {.entered = states});
  backward.backward({tokens(numbers), tokens(numbers), tokens(numbers), of_gates(gates)}, states, tokens(numbers),
                    {tokens(out[1]), tokens(out[2]), tokens(out[3]), of_gates(slopes)});
  if (allocations::counted) CHECK(allocations::everywhere == before);
}

TEST_CASE("a pool calls every piece once, whoever calls it") {
  CHECK_THROWS_WITH_AS(thread_pool(0), "thread_pool: 0 workers; at least 1 is needed", usage_error);
  for (int const workers : {1, 2, 5}) {
    CAPTURE(workers);
    thread_pool const pool(workers);
    CHECK(pool.workers() == workers);
    auto const check = [&](int count) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
      pool.run(count, [&](int i) { ++calls[static_cast<std::size_t>(i)]; });
      bool once = true;
      for (auto const& each : calls) once = once && each == 1;
      return once;
    };
    for (int round = 0; round < 300; ++round) CHECK(check(round % 9));
    std::vector<std::thread> callers;
    std::atomic<int> wrong{0};
    for (int caller = 0; caller < 3; ++caller) {
      callers.emplace_back([&] {
        for (int round = 0; round < 100; ++round) wrong += check(1 + round % 6) ? 0 : 1;
      });
    }
    for (std::thread& each : callers) each.join();
    CHECK(wrong == 0);
    std::atomic<int> inner{0};
    pool.run(4, [&](int) { pool.run(3, [&](int) { ++inner; }); });
    CHECK(inner == 12);
  }
}

TEST_CASE("a pool sleeps and wakes, and a call allocates nothing") {
  thread_pool const pool(3);
  std::atomic<int> calls{0};
  long const before = allocations::everywhere;
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    pool.run(8, [&](int) { ++calls; });
  }
  CHECK(calls == 40);
  if (allocations::counted) CHECK(allocations::everywhere == before);
}

TEST_CASE("heads, queries and gradients of one problem are shared among workers") {
  auto const p = make_problem<float>(contiguous(1100, 1), {.batch = 2, .heads = 3, .kv_heads = 1, .dim = 16}, causal());
  auto const size = static_cast<std::size_t>(2 * 1100 * 3 * 16);
  std::vector<float> q(size), k(size / 3), v(size / 3), dout(size);
  float next = 0.1f;
  for (auto* each : {&q, &k, &v, &dout}) {
    for (float& number : *each) number = next = 3.7f * next * (1 - next);
  }
  auto const results = [&](auto kernel) {
    std::vector<float> out(size), lse(size / 16), dq(size), dk(size / 3), dv(size / 3);
    auto const tokens = [](auto& of, extent heads) { return dense(of.data(), 2, 1100, heads, 16); };
    auto const rows = dense(lse.data(), 2, 1100, 3);
    plan forward(kernel, p);
    forward.forward(tokens(q, 3), tokens(k, 1), tokens(v, 1), tokens(out, 3), rows);
    backward_plan backward(kernel, p);
    long const before = allocations::everywhere;
    backward.backward(tokens(q, 3), tokens(k, 1), tokens(v, 1), tokens(out, 3), rows, tokens(dout, 3), tokens(dq, 3),
                      tokens(dk, 1), tokens(dv, 1));
    if (allocations::counted) CHECK(allocations::everywhere == before);
    return std::vector{out, lse, dq, dk, dv};
  };
  thread_pool const pool(4);
  auto const alone = results(flash_kernel{}), shared = results(flash_kernel{}.on(pool));
  CHECK(shared == alone);
}
