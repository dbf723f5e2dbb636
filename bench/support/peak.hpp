#pragma once

#include <time.h>

#include <ringfold/kernel/cpu/simd.hpp>

/// \file
/// What this core can do at best, measured in the same run as what is compared with it.

namespace peak {

/// This thread's time on a core, in seconds: what others take away does not count, as in Google Benchmark's CPU time.
inline double now() {
  timespec at{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  return static_cast<double>(at.tv_sec) + 1e-9 * static_cast<double>(at.tv_nsec);
}

/// Calls `work`, which does `flops` operations, for a while; returns the best rate in flop/s.
template <class F>
double best_rate(double flops, F work, double seconds = 0.3) {
  double best = 0;
  for (double const start = now(); now() - start < seconds;) {
    double const once = now();
    work();
    double const rate = flops / (now() - once);
    best = rate > best ? rate : best;
  }
  return best;
}

/// Multiply-adds in registers alone, two operations each, in flop/s.
template <class A>
double fma_rate() {
  using V = ringfold::detail::simd<A>;
  constexpr int chains = V::registers == 32 ? 24 : 12, steps = 100000;
  alignas(V::bytes) A memory[2 * V::width];
  for (int i = 0; i < 2 * V::width; ++i) memory[i] = static_cast<A>(i < V::width ? 0.5 : 1e-3);
  return best_rate(2.0 * V::width * chains * steps, [&] {
    asm volatile("" : : "r"(memory) : "memory");  // what is read may be anything, what is written is wanted
    typename V::vector sum[chains], total{};
    auto const a = V::load(memory), b = V::load(memory + V::width);
    ringfold::detail::unroll<chains>([&](auto i)
                                         __attribute__((always_inline)) { sum[i] = b * static_cast<A>(int{i}); });
    for (int step = 0; step < steps; ++step) {
      ringfold::detail::unroll<chains>([&](auto i) __attribute__((always_inline)) { sum[i] = sum[i] * a + b; });
    }
    ringfold::detail::unroll<chains>([&](auto i) __attribute__((always_inline)) { total += sum[i]; });
    V::store(memory + V::width, total * A(0) + b);
    asm volatile("" : : "r"(memory) : "memory");
  });
}

}  // namespace peak
