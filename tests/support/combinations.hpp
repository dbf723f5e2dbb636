#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "schedules.hpp"

/// \file
/// Combinations of everything that a schedule must not care about.

namespace combinations {

using ringfold::band;
using ringfold::extent;
using ringfold::layout;

enum factor : std::size_t { ranks, schedule, arrangement, mask, dtype, ratio, tokens, batch, order };
inline constexpr std::array<int, 9> levels = {9, static_cast<int>(std::size(schedules::names)),      6, 5, 4, 5, 6,
                                              3, static_cast<int>(std::size(sharded::memory_orders))};
using combination = std::array<int, levels.size()>;

inline constexpr int rank_counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 16};
inline constexpr extent token_counts[] = {0, 1, 17, 31, 32, 45};
struct head_counts {
  extent heads, kv_heads;
};
inline constexpr head_counts ratios[] = {{4, 4}, {4, 2}, {3, 1}, {6, 3}, {16, 4}};
inline const band masks[] = {ringfold::full(), ringfold::causal(), ringfold::window(3), ringfold::window(2, 4),
                             ringfold::window(0, 0)};

inline layout make_layout(int kind, extent count, int size, std::uint64_t seed) {
  switch (kind) {
    case 0: return ringfold::contiguous(count, size);
    case 1: return ringfold::zigzag(count, size);
    case 2: return ringfold::striped(count, size);
    case 3: return ringfold::striped(count, size, 3);
    case 4: {  // any lengths, empty ranks among them
      std::mt19937_64 random(seed);
      std::vector<extent> lengths(static_cast<std::size_t>(size), 0);
      for (extent i = 0; i < count; ++i) ++lengths[random() % lengths.size() / 2 * 2 % lengths.size()];
      return ringfold::uneven(count, lengths);
    }
    default: {  // all on the last rank
      std::vector<extent> lengths(static_cast<std::size_t>(size), 0);
      lengths.back() = count;
      return ringfold::uneven(count, lengths);
    }
  }
}

inline int size_of(const combination& c) { return rank_counts[c[ranks]]; }
inline schedules::name schedule_of(const combination& c) { return schedules::names[c[schedule]]; }

inline bool refused(const combination& c) {
  return schedules::refused(schedule_of(c), size_of(c), ratios[c[ratio]].heads);
}

template <class T>
schedules::experiment<T> make_experiment(const combination& c, std::uint64_t seed) {
  auto const [heads, kv_heads] = ratios[c[ratio]];
  schedules::experiment<T> made(make_layout(c[arrangement], token_counts[c[tokens]], size_of(c), seed),
                                {.batch = c[batch], .heads = heads, .kv_heads = kv_heads, .dim = 5, .value_dim = 7},
                                masks[c[mask]], seed);
  made.order = sharded::memory_orders[c[order]];
  return made;
}

inline std::string text_of(const combination& c, std::uint64_t seed) {
  return fmt::format("P={} schedule={} layout={} mask={} dtype={} heads={}:{} tokens={} batch={} order={} seed={}",
                     size_of(c), c[schedule], c[arrangement], c[mask], c[dtype], ratios[c[ratio]].heads,
                     ratios[c[ratio]].kv_heads, token_counts[c[tokens]], c[batch], c[order], seed);
}

/// Calls f(T{}) with the combination's element type.
template <class F>
void with_element(const combination& c, F f) {
  switch (c[dtype]) {
    case 0: return f(float{});
    case 1: return f(double{});
    case 2: return f(ringfold::bf16{});
    default: return f(ringfold::f16{});
  }
}

inline combination random_combination(std::mt19937_64& random) {
  combination c{};
  for (std::size_t f = 0; f < c.size(); ++f) c[f] = static_cast<int>(random() % static_cast<unsigned>(levels[f]));
  return c;
}

/// Combinations in which every pair of levels of two factors occurs.
inline std::vector<combination> all_pairs(std::mt19937_64& random) {
  constexpr std::size_t factors = levels.size(), most = *std::max_element(levels.begin(), levels.end());
  std::vector<bool> covered(factors * factors * most * most, false);
  int open = 0;
  for (std::size_t a = 0; a < factors; ++a) {
    for (std::size_t b = a + 1; b < factors; ++b) open += levels[a] * levels[b];
  }
  auto const visit = [&](const combination& c, bool mark) {
    int fresh = 0;
    for (std::size_t a = 0; a < factors; ++a) {
      for (std::size_t b = a + 1; b < factors; ++b) {
        std::size_t const pair =
            ((a * factors + b) * most + static_cast<std::size_t>(c[a])) * most + static_cast<std::size_t>(c[b]);
        fresh += !covered[pair];
        if (mark) covered[pair] = true;
      }
    }
    return fresh;
  };
  std::vector<combination> chosen;
  while (open > 0) {
    combination best{};
    int most_fresh = 0;
    for (int attempt = 0; attempt < 200; ++attempt) {
      auto const c = random_combination(random);
      if (int const fresh = visit(c, false); fresh > most_fresh) best = c, most_fresh = fresh;
    }
    if (most_fresh == 0) continue;
    open -= visit(best, true);
    chosen.push_back(best);
  }
  return chosen;
}

/// Half the distance between 1 and the next number.
template <class T>
inline constexpr double roundoff = 0;
template <>
inline constexpr double roundoff<double> = 0x1p-53;
template <>
inline constexpr double roundoff<float> = 0x1p-24;
template <>
inline constexpr double roundoff<ringfold::bf16> = 0x1p-8;
template <>
inline constexpr double roundoff<ringfold::f16> = 0x1p-11;

template <class T>
bool bitwise(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace combinations
