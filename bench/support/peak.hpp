#pragma once

#include <time.h>

#include <algorithm>
#include <thread>
#include <vector>

#include <ringfold/kernel/cpu/dot_step.hpp>

/// \file
/// What this core can do in registers alone, measured in the same run as what is compared with it.

namespace peak {

/// This thread's time on a core, in seconds: what others take away does not count, as in Google Benchmark's CPU time.
inline double now() {
  timespec at{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  return static_cast<double>(at.tv_sec) + 1e-9 * static_cast<double>(at.tv_nsec);
}

/// The time that passes, in seconds: for threads that work together.
inline double wall() {
  timespec at{};
  clock_gettime(CLOCK_MONOTONIC, &at);
  return static_cast<double>(at.tv_sec) + 1e-9 * static_cast<double>(at.tv_nsec);
}

/// Calls `work`, which does `flops` operations, for a while; returns the median rate in flop/s. The best one would be a
/// clock's slip: what a core does now and then is nothing to compare with.
template <class F>
double usual_rate(double flops, F work, double seconds = 0.3, double (*clock)() = now) {
  std::vector<double> rates;
  for (double const start = clock(); clock() - start < seconds;) {
    double const once = clock();
    work();
    rates.push_back(flops / (clock() - once));
  }
  auto const middle = rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2);
  std::nth_element(rates.begin(), middle, rates.end());
  return *middle;
}

/// Multiply-adds of T in registers alone, two operations each, in flop/s.
template <class T>
double fma_rate(double (*clock)() = now) {
  using step_of = ringfold::detail::dot_step<T>;
  using V = typename step_of::V;
  using A = ringfold::accumulate_t<T>;
  constexpr int chains = V::registers == 32 ? 24 : 12, steps = 100000, numbers = V::width * step_of::depth;
  alignas(V::bytes) T memory[2 * numbers];
  alignas(V::bytes) A sums[V::width];
  for (int i = 0; i < 2 * numbers; ++i) memory[i] = static_cast<T>(i < numbers ? A(0.5) : A(1e-3));
  auto const add = [&] {
    asm volatile("" : : "r"(memory) : "memory");  // what is read may be anything, what is written is wanted
    auto const a = step_of::load(memory), b = step_of::load(memory + numbers);
    typename V::vector sum[chains], total{};
    ringfold::detail::unroll<chains>([&](auto i)
                                         __attribute__((always_inline)) { sum[i] = V::all(static_cast<A>(int{i})); });
    for (int step = 0; step < steps; ++step) {
      ringfold::detail::unroll<chains>([&](auto i)
                                           __attribute__((always_inline)) { sum[i] = step_of::add(a, b, sum[i]); });
    }
    ringfold::detail::unroll<chains>([&](auto i) __attribute__((always_inline)) { total += sum[i]; });
    V::store(sums, total);
    asm volatile("" : : "r"(sums) : "memory");
  };
  return usual_rate(2.0 * numbers * chains * steps, add, 0.3, clock);
}

/// What so many threads multiply at once, by what they would if none was in another's way; 1 is ideal.
inline double scaling(int threads) {
  double const alone = fma_rate<float>(wall);
  std::vector<double> rates(static_cast<std::size_t>(threads));
  std::vector<std::thread> others;
  for (double& rate : rates) others.emplace_back([&rate] { rate = fma_rate<float>(wall); });
  double sum = 0;
  for (std::size_t i = 0; i < rates.size(); ++i) others[i].join(), sum += rates[i];
  return sum / alone / threads;
}

}  // namespace peak
