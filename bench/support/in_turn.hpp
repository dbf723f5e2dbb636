#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <thread>
#include <vector>

#include "peak.hpp"

/// \file
/// Work of one rank shared among the workers of a pool, and alone, call by call in turn.

namespace in_turn {

/// Measured once for each number of cores.
inline double scaling(int cores) {
  static std::map<int, double> known;
  auto const [at, is_new] = known.try_emplace(cores);
  if (is_new) at->second = peak::scaling(cores);
  return at->second;
}

template <class F>
double seconds_of(F f) {
  double const start = peak::wall();
  f();
  return peak::wall() - start;
}
inline double median(std::vector<double> times) {
  auto const middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

/// `ratio` is the time alone divided by the time of W workers and by the cores they had: 1 is ideal.
/// `of_cores` is the ratio by that of multiply-adds in registers, alone and on as many cores at once.
template <class Alone, class Together>
void compare(benchmark::State& bench, int workers, Alone alone, Together together) {
  std::vector<double> single, times;
  for (auto _ : bench) {
    single.push_back(seconds_of(alone));
    times.push_back(seconds_of(together));
    bench.SetIterationTime(times.back());
  }
  int const cores = std::min(workers, static_cast<int>(std::thread::hardware_concurrency()));
  double const ratio = median(single) / median(times) / cores;
  bench.counters["ratio"] = ratio;
  bench.counters["of_cores"] = ratio / scaling(cores);
}

}  // namespace in_turn
