// sanitize: off
#include <ringfold/attention/backward_plan.hpp>

#include <doctest/doctest.h>

#include "support/gradients.hpp"

using namespace ringfold;
using namespace combinations;
using namespace gradients;

TEST_CASE("the definition's gradients are the slopes of its results") {
  schedules::experiment<double> e(contiguous(7, 1), {.batch = 2, .heads = 4, .kv_heads = 2, .dim = 3, .value_dim = 2},
                                  causal(), 3, 0.8);
  definition::cotangents const of(e, 3);
  auto const exact = exact_gradients(e, of);
  auto const value = [&] {
    auto const r = e.exact();
    double sum = 0;
    for (std::size_t i = 0; i < r.o.size(); ++i) sum += r.o[i] * of.out[i];
    for (std::size_t i = 0; i < r.lse.size(); ++i) sum += r.lse[i] * of.lse[i];
    return sum;
  };
  auto const check_slopes = [&](std::vector<double>& numbers, const std::vector<double>& gradient) {
    for (std::size_t i = 0; i < numbers.size(); i += 5) {
      double const kept = numbers[i], step = 1e-5;
      numbers[i] = kept + step;
      double const above = value();
      numbers[i] = kept - step;
      double const slope = (above - value()) / (2 * step);
      numbers[i] = kept;
      CHECK(slope == doctest::Approx(gradient[i]).epsilon(1e-6));
    }
  };
  check_slopes(e.q, exact.dq);
  check_slopes(e.k, exact.dk);
  check_slopes(e.v, exact.dv);
}

TEST_CASE(
    "gradients for every pair of rank count, schedule, layout, mask, dtype, head ratio, length and memory order") {
  std::mt19937_64 random(21);
  std::uint64_t seed = 100;
  for (const combination& c : all_pairs(random)) check(c, seed++);
}

TEST_CASE("gradients for random combinations") {
  int const count = 400;
  std::mt19937_64 random(8);
  for (int i = 0; i < count; ++i) {
    auto const c = random_combination(random);
    check(c, random() % 100000);
  }
}

TEST_CASE("rows that see nothing and keys that nobody sees get exactly zero") {
  // Keys 0..9 are before every window; queries see only keys at the same position or one behind, of 20.
  for (auto const which : schedules::names) {
    CAPTURE(static_cast<int>(which));
    int const ranks = 4;
    auto const queries = contiguous(20, ranks), keys = contiguous(30, ranks);
    std::vector<float> q(20 * 4 * 6, 0.5F), k(30 * 4 * 6, 0.25F), dq(q.size(), 9), dk(k.size(), 9), dv(k.size(), 9);
    run_ranks(ranks, [&](threads comm) {
      int const me = comm.rank();
      auto const p = make_problem<float>(queries, keys, {.heads = 4, .dim = 6}, window(0, 0));
      extent const rows = queries.rows(me), key_rows = keys.rows(me);
      auto const part = [&](std::vector<float>& of, const layout& by, extent count) {
        return dense(of.data() + by.segments(me)[0].first * 24, 1, count, 4, 6);
      };
      std::vector<float> out(static_cast<std::size_t>(rows * 24)), lse(static_cast<std::size_t>(rows * 4));
      schedules::with(which, comm, reference_kernel{}, [&](auto attend) {
        plan run(attend, p);
        backward_plan back(attend, p);
        run.forward(part(q, queries, rows), part(k, keys, key_rows), part(k, keys, key_rows),
                    dense(out.data(), 1, rows, 4, 6), dense(lse.data(), 1, rows, 4));
        back.backward(part(q, queries, rows), part(k, keys, key_rows), part(k, keys, key_rows),
                      dense(out.data(), 1, rows, 4, 6), dense(lse.data(), 1, rows, 4), part(q, queries, rows),
                      part(dq, queries, rows), part(dk, keys, key_rows), part(dv, keys, key_rows));
      });
    });
    for (std::size_t i = 20 * 24; i < k.size(); ++i) CHECK((dk[i] == 0 && dv[i] == 0));
    for (std::size_t i = 0; i < 20 * 24; ++i) CHECK((dv[i] == 0.5F && dq[i] == 0));  // one key each: weight 1
  }
}

TEST_CASE("a backward plan runs after a forward one, with out and lse kept") {
  run_ranks(2, [](threads comm) {
    auto const problem = make_problem<float>(zigzag(16, comm.size()), {.heads = 2, .dim = 4}, causal());
    auto const attend = ring(comm, reference_kernel{});
    std::vector<float> memory[8];
    for (auto& each : memory) each.resize(8 * 2 * 4, 0.5F);
    std::vector<float> lses(8 * 2);
    auto const tensor = [&](int i) { return dense(memory[i].data(), 1, 8, 2, 4); };
    auto const q = tensor(0), k = tensor(1), v = tensor(2), out = tensor(3), dout = tensor(4), dq = tensor(5),
               dk = tensor(6), dv = tensor(7);
    auto const lse = dense(lses.data(), 1, 8, 2);
    //! [backward]
    auto const kept = plan(attend, problem).forward(q, k, v, out, lse);
    backward_plan(attend, problem).backward(kept, dout, dq, dk, dv);
    //! [backward]
    for (float const each : memory[5]) {
      if (each > 1e-6F || each < -1e-6F) throw usage_error(say("equal values give a query no slope"));
    }
  });
}
