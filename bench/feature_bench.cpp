#include <benchmark/benchmark.h>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/sequence/alibi.hpp>
#include <ringfold/sequence/bias.hpp>
#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/dropout.hpp>

#include "support/one_head.hpp"
#include "support/peak.hpp"

/// \file
/// What masks and scores cost: pairs per second of the blocked kernel, against a plain causal mask in the same run.

using namespace ringfold;

namespace {

constexpr extent tokens = 4096, dim = 64;

template <class Mask, class Parts>
auto make(Mask mask_of, scored<Parts> score) {
  return one_head<flash_kernel, problem<float, Mask, scored<Parts>>>(
      make_problem<float>(contiguous(tokens, 1), {.dim = dim}, mask_of, score));
}

/// Pairs per second of plain causal attention, measured once; forward and backward.
template <bool Backward, class Head>
void call(Head& head) {
  if constexpr (Backward) {
    head.backward();
  } else {
    head.forward();
  }
}
template <bool Backward>
double plain_rate() {
  static double const rate = [] {
    auto head = make(causal(), scaled{});
    double const pairs = head.pairs();
    return peak::best_rate(pairs, [&] { call<Backward>(head); });
  }();
  return rate;
}

template <bool Backward, class Mask, class Parts>
void measure(benchmark::State& bench, Mask mask_of, scored<Parts> score) {
  auto head = make(mask_of, score);
  double const pairs = head.pairs();
  (void)plain_rate<Backward>();
  for (auto _ : bench) {
    call<Backward>(head);
    benchmark::ClobberMemory();
  }
  double const done = pairs * static_cast<double>(bench.iterations());
  bench.counters["Gpairs/s"] = benchmark::Counter(done * 1e-9, benchmark::Counter::kIsRate);
  bench.counters["of_causal"] = benchmark::Counter(done / plain_rate<Backward>(), benchmark::Counter::kIsRate);
}

template <class Mask, class Parts>
void both(const char* name, Mask mask_of, scored<Parts> score) {
  auto const add = [](const std::string& full_name, auto f) {
    benchmark::RegisterBenchmark(full_name.c_str(), f)->Unit(benchmark::kMillisecond)->MinTime(0.2);
  };
  add(std::string("forward/") + name, [=](benchmark::State& bench) { measure<false>(bench, mask_of, score); });
  add(std::string("backward/") + name, [=](benchmark::State& bench) { measure<true>(bench, mask_of, score); });
}

}  // namespace

int main(int argc, char** argv) {
  static std::vector<float> numbers(tokens * tokens, 0.25F);
  both("causal", causal(), scaled{});
  both("full", full(), scaled{});
  both("window 511", window(511), scaled{});
  both("documents", documents{1000, 700, 300, 1500, 96, 500} & causal(), scaled{});
  both("softcap", causal(), softcap(30));
  both("alibi", causal(), alibi(1));
  both("key bias", causal(), bias(dense(numbers.data(), 1, 1, 1, tokens)));
  both("full bias", causal(), bias(dense(numbers.data(), 1, 1, tokens, tokens)));
  both("dropout", causal(), dropout(0.1, 1));
  both("score function", causal(),
       score_function([](auto s, const token_pair&) { return s + s; }, [](auto, const token_pair&) { return 2.0F; }));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
