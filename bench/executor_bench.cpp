#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/executor/thread_pool.hpp>
#include <ringfold/kernel/cpu/flash.hpp>

/// \file
/// One rank's attention shared among the workers of a pool, and alone, call by call in turn.

#include "support/in_turn.hpp"

using namespace ringfold;

namespace {

struct one_rank {
  using problem_t = decltype(make_problem<float>(contiguous(1, 1), shape{}, band{}));
  problem_t p;
  std::vector<float> q, k, v, out, dout, lse, dq, dk, dv;

  explicit one_rank(const problem_t& described) : p(described) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> numbers(-1.7F, 1.7F);
    auto const sized = [&](extent tokens, extent heads) {
      std::vector<float> made(static_cast<std::size_t>(tokens * heads * p.dim));
      for (float& number : made) number = numbers(random);
      return made;
    };
    extent const queries = p.queries.tokens(), keys = p.keys.tokens();
    q = out = dout = dq = sized(queries, p.head.query);
    k = v = dk = dv = sized(keys, p.head.key);
    lse.resize(static_cast<std::size_t>(queries * p.head.query));
  }
  auto queries(std::vector<float>& of) const { return dense(of.data(), 1, p.queries.tokens(), p.head.query, p.dim); }
  auto keys(std::vector<float>& of) const { return dense(of.data(), 1, p.keys.tokens(), p.head.key, p.dim); }
  auto rows() { return dense(lse.data(), 1, p.queries.tokens(), p.head.query); }

  template <class Plan>
  void operator()(Plan& run) {
    if constexpr (requires { run.forward(queries(q), keys(k), keys(v), queries(out), rows()); }) {
      run.forward(queries(q), keys(k), keys(v), queries(out), rows());
    } else {
      run.backward(queries(q), keys(k), keys(v), queries(out), rows(), queries(dout), queries(dq), keys(dk), keys(dv));
    }
  }
};

/// Arguments: workers, queries, keys, heads, kv heads, causal (queries are the last tokens).
template <template <class, class> class Plan>
void shared(benchmark::State& bench) {
  int const workers = static_cast<int>(bench.range(0));
  extent const queries = bench.range(1), keys = bench.range(2);
  band const mask = bench.range(5) != 0 ? causal() : full();
  shape const of{.heads = bench.range(3), .kv_heads = bench.range(4), .dim = 64};
  one_rank data(make_problem<float>(contiguous(queries, 1), contiguous(keys, 1), of, mask));
  thread_pool const pool(workers);
  auto const shares = flash_kernel{}.on(pool);
  plan first(flash_kernel{}, data.p);
  data(first);
  Plan<flash_kernel, one_rank::problem_t> alone(flash_kernel{}, data.p);
  Plan<std::remove_const_t<decltype(shares)>, one_rank::problem_t> together(shares, data.p);
  in_turn::compare(
      bench, workers, [&] { data(alone); }, [&] { data(together); });
}

void arguments(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"workers", "queries", "keys", "heads", "kv_heads", "causal"})->UseManualTime();
  bench->Unit(benchmark::kMillisecond)->MinTime(0.2);
  for (int const workers : {1, 2}) {
    for (int const tokens : {512, 2048, 8192}) {
      bench->Args({workers, tokens, tokens, 1, 1, 0})->Args({workers, tokens, tokens, 1, 1, 1});
    }
    bench->Args({workers, 512, 512, 8, 2, 1})->Args({workers, 2048, 2048, 8, 2, 1});
  }
}
void decode(benchmark::internal::Benchmark* bench) {
  arguments(bench);
  for (int const workers : {1, 2}) bench->Args({workers, 1, 16384, 8, 8, 0})->Args({workers, 1, 16384, 32, 8, 0});
}

BENCHMARK_TEMPLATE(shared, plan)->Name("forward")->Apply(decode);
BENCHMARK_TEMPLATE(shared, backward_plan)->Name("backward")->Apply(arguments);

}  // namespace
