#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>

#include "support/peak.hpp"

using namespace ringfold;

namespace {

/// The multiply-add peak of this core, measured once.
template <class A>
double peak_rate() {
  static double const rate = peak::fma_rate<A>();
  return rate;
}

struct release {
  void operator()(void* memory) const { std::free(memory); }
};

/// One head of n tokens on one core; arguments: tokens, dim, causal.
template <class T, class Kernel>
void forward(benchmark::State& bench) {
  Kernel const kernel;
  extent const n = bench.range(0), dim = bench.range(1);
  bool const is_causal = bench.range(2) != 0;
  auto const p = make_problem<T>(contiguous(n, 1), shape{1, 1, 1, dim, dim}, is_causal ? causal() : full());
  arena<> measuring;
  (void)kernel.state(p, measuring);
  std::unique_ptr<void, release> const memory(std::aligned_alloc(64, static_cast<std::size_t>(measuring.used())));
  arena<> given(memory.get(), measuring.used());
  auto state = kernel.state(p, given);

  std::mt19937 random(1);
  std::uniform_real_distribution<float> numbers(-1.7f, 1.7f);
  auto const size = static_cast<std::size_t>(n * dim);
  std::vector<T> q(size), k(size), v(size);
  for (auto* each : {&q, &k, &v}) {
    for (T& number : *each) number = static_cast<T>(numbers(random));
  }
  std::vector<accumulate_t<T>> o(size), lse(static_cast<std::size_t>(n));
  block<T> const kv{dense(k.data(), 1, n, 1, dim), dense(v.data(), 1, n, 1, dim), 0, 0};
  partial<accumulate_t<T>> const out{dense(o.data(), 1, n, 1, dim), dense(lse.data(), 1, n, 1)};
  for (auto _ : bench) {
    kernel.prepare(state, dense(q.data(), 1, n, 1, dim), host_stream{});
    kernel.accumulate(state, kv, host_stream{});
    kernel.close(state, out, host_stream{});
    benchmark::ClobberMemory();
  }
  double const pairs = static_cast<double>(n) * static_cast<double>(is_causal ? n + 1 : 2 * n) / 2;
  double const flops = 4 * pairs * static_cast<double>(dim) * static_cast<double>(bench.iterations());
  bench.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsRate);
  bench.counters["of_peak"] = benchmark::Counter(flops / peak_rate<accumulate_t<T>>(), benchmark::Counter::kIsRate);
}

/// As forward, its gradients; the products are five instead of two.
template <class T, class Kernel>
void backward(benchmark::State& bench) {
  using A = accumulate_t<T>;
  Kernel const kernel;
  extent const n = bench.range(0), dim = bench.range(1);
  bool const is_causal = bench.range(2) != 0;
  auto const p = make_problem<T>(contiguous(n, 1), shape{1, 1, 1, dim, dim}, is_causal ? causal() : full());
  arena<> measuring;
  (void)kernel.state(p, measuring);
  (void)kernel.backward_state(p, measuring);
  std::unique_ptr<void, release> const memory(std::aligned_alloc(64, static_cast<std::size_t>(measuring.used())));
  arena<> given(memory.get(), measuring.used());
  auto forward_state = kernel.state(p, given);
  auto state = kernel.backward_state(p, given);

  std::mt19937 random(1);
  std::uniform_real_distribution<float> numbers(-1.7f, 1.7f);
  auto const size = static_cast<std::size_t>(n * dim);
  std::vector<T> q(size), k(size), v(size), dout(size);
  for (auto* each : {&q, &k, &v, &dout}) {
    for (T& number : *each) number = static_cast<T>(numbers(random));
  }
  std::vector<A> o(size), dq(size), dk(size), dv(size), lse(static_cast<std::size_t>(n)), delta(lse.size());
  auto const rows = [&](auto& of) { return dense(of.data(), 1, n, 1, dim); };
  block<T> const kv{rows(k), rows(v), 0, 0};
  kernel.prepare(forward_state, rows(q), host_stream{});
  kernel.accumulate(forward_state, kv, host_stream{});
  kernel.close(forward_state, partial<A>{rows(o), dense(lse.data(), 1, n, 1)}, host_stream{});
  for (std::size_t i = 0; i < size; ++i) delta[i / static_cast<std::size_t>(dim)] += o[i] * static_cast<A>(dout[i]);
  cotangent<T> const of_out{rows(dout), dense(lse.data(), 1, n, 1), dense(delta.data(), 1, n, 1)};
  for (auto _ : bench) {
    kernel.prepare_backward(state, rows(q), of_out, host_stream{});
    kernel.accumulate_backward(state, kv, block_gradient<A>{rows(dk), rows(dv)}, host_stream{});
    kernel.close_backward(state, rows(dq), host_stream{});
    benchmark::ClobberMemory();
  }
  double const pairs = static_cast<double>(n) * static_cast<double>(is_causal ? n + 1 : 2 * n) / 2;
  double const flops = 10 * pairs * static_cast<double>(dim) * static_cast<double>(bench.iterations());
  bench.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsRate);
  bench.counters["of_peak"] = benchmark::Counter(flops / peak_rate<A>(), benchmark::Counter::kIsRate);
}

void grid(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"tokens", "dim", "causal"})->ArgsProduct({{1024, 2048, 4096, 8192}, {64, 128}, {0, 1}});
  bench->Unit(benchmark::kMillisecond)->MinTime(0.2);
}

void small_grid(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"tokens", "dim", "causal"})->ArgsProduct({{1024}, {64, 128}, {0, 1}});
  bench->Unit(benchmark::kMillisecond)->MinTime(0.2);
}

void fma_peak(benchmark::State& bench) {
  for (auto _ : bench) benchmark::DoNotOptimize(peak_rate<float>());
  bench.counters["GFLOP/s"] = peak_rate<float>() * 1e-9;
}

}  // namespace

BENCHMARK(fma_peak)->Iterations(1);
BENCHMARK(forward<float, flash_kernel>)->Apply(grid);
BENCHMARK(forward<bf16, flash_kernel>)->Apply(small_grid);
BENCHMARK(forward<f16, flash_kernel>)->Apply(small_grid);
BENCHMARK(forward<double, flash_kernel>)->Apply(small_grid);
BENCHMARK(backward<float, flash_kernel>)->Apply(grid);
BENCHMARK(backward<bf16, flash_kernel>)->Apply(small_grid);
BENCHMARK(backward<f16, flash_kernel>)->Apply(small_grid);
BENCHMARK(backward<double, flash_kernel>)->Apply(small_grid);
BENCHMARK(forward<float, reference_kernel>)->Args({1024, 64, 1})->Unit(benchmark::kMillisecond);
