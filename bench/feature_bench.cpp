#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/sequence/alibi.hpp>
#include <ringfold/sequence/bias.hpp>
#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/dropout.hpp>

#include "support/one_head.hpp"
#include "support/peak.hpp"

/// \file
/// What masks and scores cost: pairs per second of the blocked kernel, against plain causal attention of equal
/// work in the same run.

using namespace ringfold;

namespace {

constexpr extent tokens = 4096, dim = 64;

template <class Mask, class Parts>
auto make(Mask mask_of, scored<Parts> score, extent length) {
  return one_head<flash_kernel, problem<float, Mask, scored<Parts>>>(
      make_problem<float>(contiguous(length, 1), {.dim = dim}, mask_of, score));
}

template <bool Backward, class Head>
void call(Head& head) {
  Backward ? head.backward() : head.forward();
}

/// Plain causal attention of so many tokens, one call after the other.
using plain_head = one_head<flash_kernel, problem<float, band, scored<unmodified>>>;
std::vector<plain_head> plain(const std::vector<extent>& lengths) {
  std::vector<plain_head> made;
  for (extent const each : lengths) made.push_back(make(causal(), scaled{}, each));
  return made;
}

/// In turns with plain causal attention of as many pairs, or nearly; `of_causal` is the median of 9 ratios, by pairs.
template <bool Backward, class Mask, class Parts>
void measure(benchmark::State& bench, Mask mask_of, scored<Parts> score, const std::vector<extent>& equal) {
  auto head = make(mask_of, score, tokens);
  auto others = plain(equal);
  double const pairs = head.pairs();
  double pairs_of_others = 0;
  for (const auto& each : others) pairs_of_others += each.pairs();
  auto const seconds = [](auto work) {
    double const start = peak::now();
    for (int i = 0; i < 3; ++i) work();
    return peak::now() - start;
  };
  std::vector<double> ratios;
  for (auto _ : bench) {
    double const other = seconds([&] {
      for (auto& each : others) call<Backward>(each);
    });
    double const own = seconds([&] { call<Backward>(head); });
    ratios.push_back(pairs / own / (pairs_of_others / other));
    bench.SetIterationTime(own / 3);
    benchmark::ClobberMemory();
  }
  std::nth_element(ratios.begin(), ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2), ratios.end());
  bench.counters["of_causal"] = ratios[ratios.size() / 2];
}

template <class Mask, class Parts>
void both(const char* name, Mask mask_of, scored<Parts> score, const std::vector<extent>& equal = {tokens}) {
  auto const add = [](const std::string& full_name, auto f) {
    benchmark::RegisterBenchmark(full_name.c_str(), f)->Unit(benchmark::kMillisecond)->UseManualTime()->Iterations(9);
  };
  add(std::string("forward/") + name, [=](benchmark::State& bench) { measure<false>(bench, mask_of, score, equal); });
  add(std::string("backward/") + name, [=](benchmark::State& bench) { measure<true>(bench, mask_of, score, equal); });
}

}  // namespace

int main(int argc, char** argv) {
  static std::vector<float> numbers(tokens * tokens, 0.25F);
  both("causal", causal(), scaled{});
  both("full", full(), scaled{});
  both("window 511", window(511), scaled{}, {1983});
  std::vector<extent> const lengths{1000, 700, 300, 1500, 96, 500};
  both("documents", documents(lengths) & causal(), scaled{}, lengths);
  both("softcap", causal(), softcap(30));
  both("softcap of scores near it", causal(), softcap(2));
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
