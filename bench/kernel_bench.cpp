#include <benchmark/benchmark.h>

#include <ringfold/attention/canonical.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>

#include "support/one_head.hpp"
#include "support/peak.hpp"

using namespace ringfold;

namespace {

/// The multiply-add peak of this core, measured once.
template <class T>
double peak_rate() {
  static double const rate = peak::fma_rate<T>();
  return rate;
}
/// What elements are multiplied in: bf16 where there are instructions for it.
template <class T, class Kernel>
using multiplied = detail::multiplied_t<T, std::is_same_v<Kernel, widening_flash_kernel>>;

/// One head of n tokens on one core; arguments: tokens, dim, causal. `products` of a matrix take 2 * dim flops a pair;
/// the peak is that of multiply-adds of F.
template <class T, class F = accumulate_t<T>, class Call, class Kernel>
void run(benchmark::State& bench, double products, Call call, Kernel kernel) {
  extent const n = bench.range(0), dim = bench.range(1);
  bool const is_causal = bench.range(2) != 0;
  one_head<Kernel, problem<T>> head(make_problem<T>(contiguous(n, 1), {.dim = dim}, is_causal ? causal() : full()),
                                    kernel);
  for (auto _ : bench) {
    call(head);
    benchmark::ClobberMemory();
  }
  double const pairs = static_cast<double>(n) * static_cast<double>(is_causal ? n + 1 : 2 * n) / 2;
  double const flops = 2 * products * pairs * static_cast<double>(dim) * static_cast<double>(bench.iterations());
  bench.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsRate);
  bench.counters["of_peak"] = benchmark::Counter(flops / peak_rate<F>(), benchmark::Counter::kIsRate);
}

template <class T, class Kernel>
void forward(benchmark::State& bench) {
  run<T, multiplied<T, Kernel>>(
      bench, 2, [](auto& head) { head.forward(); }, Kernel{});
}
template <class T, class Kernel>
void backward(benchmark::State& bench) {
  run<T, multiplied<T, Kernel>>(
      bench, 5, [](auto& head) { head.backward(); }, Kernel{});
}

/// The same of canonical(); the last argument is the chunk.
auto in_chunks(const benchmark::State& bench) { return canonical(flash_kernel{}, bench.range(3)); }
template <class T>
void canonical_forward(benchmark::State& bench) {
  run<T>(
      bench, 2, [](auto& head) { head.forward(); }, in_chunks(bench));
}
template <class T>
void canonical_backward(benchmark::State& bench) {
  run<T>(
      bench, 5, [](auto& head) { head.backward(); }, in_chunks(bench));
}

void chunk_grid(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"tokens", "dim", "causal", "chunk"});
  bench->ArgsProduct({{4096}, {64, 128}, {0, 1}, {64, 128, 512, 1024}});
  bench->Unit(benchmark::kMillisecond)->MinTime(0.2);
}

void grid(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"tokens", "dim", "causal"})->ArgsProduct({{1024, 2048, 4096, 8192, 16384}, {64, 128}, {0, 1}});
  bench->Unit(benchmark::kMillisecond)->MinTime(0.2);
}

void short_grid(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"tokens", "dim", "causal"})->ArgsProduct({{128, 512}, {64, 128}, {0}});
  bench->Unit(benchmark::kMillisecond)->MinTime(0.2);
}

void small_grid(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"tokens", "dim", "causal"})->ArgsProduct({{1024}, {64, 128}, {0, 1}});
  bench->Unit(benchmark::kMillisecond)->MinTime(0.2);
}

template <class T>
void show_peak(benchmark::State& bench) {
  for (auto _ : bench) benchmark::DoNotOptimize(peak_rate<T>());
  bench.counters["GFLOP/s"] = peak_rate<T>() * 1e-9;
}

}  // namespace

BENCHMARK(show_peak<float>)->Name("fma_peak")->Iterations(1);
BENCHMARK(show_peak<multiplied<bf16, flash_kernel>>)->Name("fma_peak of bf16")->Iterations(1);
BENCHMARK(forward<float, flash_kernel>)->Apply(short_grid);
BENCHMARK(forward<float, flash_kernel>)->Apply(grid);
BENCHMARK(forward<bf16, flash_kernel>)->Apply(grid);
BENCHMARK(forward<bf16, widening_flash_kernel>)->Apply(small_grid);
BENCHMARK(forward<f16, flash_kernel>)->Apply(small_grid);
BENCHMARK(forward<double, flash_kernel>)->Apply(small_grid);
BENCHMARK(backward<float, flash_kernel>)->Apply(grid);
BENCHMARK(backward<bf16, flash_kernel>)->Apply(grid);
BENCHMARK(backward<bf16, widening_flash_kernel>)->Apply(small_grid);
BENCHMARK(backward<f16, flash_kernel>)->Apply(small_grid);
BENCHMARK(backward<double, flash_kernel>)->Apply(small_grid);
BENCHMARK(canonical_forward<float>)->Apply(chunk_grid);
BENCHMARK(canonical_backward<float>)->Apply(chunk_grid);
BENCHMARK(forward<float, reference_kernel>)->Args({1024, 64, 1})->Unit(benchmark::kMillisecond);
