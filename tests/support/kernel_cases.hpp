#pragma once

#include <cmath>

#include <doctest/doctest.h>

#include "oracle.hpp"
#include "sanitized.hpp"
#include "sharded.hpp"

/// \file
/// What every kernel must get right, checked against the oracle.

namespace kernel_cases {

using namespace ringfold;

/// Bounds on |o - wanted|_2 / |wanted|_2, and on the error of lse by lse_terms. Where weights are rounded to fewer digits
/// than sums have, on the error of each o by o_terms instead: a result that cancels has no fewer roundings in it.
struct bounds {
  double o, lse, weights = 0;
};

/// Inputs are rounded to T before the oracle sees them, so only the accumulation type decides.
template <class T>
inline constexpr bounds bounds_of = std::is_same_v<accumulate_t<T>, double> ? bounds{2e-15, 8e-16} : bounds{1e-6, 4e-7};

/// Whole sequences of inputs.
struct tensors {
  std::vector<double> q, k, v;
};

template <class T, class P>
tensors draw(const P& p, std::uint64_t seed, double bound = 1.7) {
  extent const queries = p.batch * p.queries.tokens() * p.head.query, keys = p.batch * p.keys.tokens() * p.head.key;
  return {oracle::uniform<T>(queries * p.dim, 3 * seed, bound), oracle::uniform<T>(keys * p.dim, 3 * seed + 1, bound),
          oracle::uniform<T>(keys * p.value_dim, 3 * seed + 2, bound)};
}

template <class P>
oracle::result expected(const P& p, const tensors& in) {
  return oracle::attention(
      {p.batch, p.queries.tokens(), p.keys.tokens(), p.head.query, p.head.key, p.dim, p.value_dim, p.score.scale}, in.q,
      in.k, in.v, [&](extent query, extent key) { return p.mask_of.allows(query, key); });
}

/// The largest error of an element by the sizes of its terms.
template <class A>
double worst_by_terms(const std::vector<A>& o, const oracle::result& wanted) {
  double worst = 0;
  for (std::size_t i = 0; i < o.size(); ++i) {
    double const error = std::fabs(static_cast<double>(o[i]) - wanted.o[i]);
    if (!(error <= 0)) worst = std::fmax(worst, std::isfinite(error) ? error / wanted.o_terms[i] : INFINITY);
  }
  return worst;
}

template <class A>
void check_close(const sharded::result<A>& got, const oracle::result& wanted, bounds allowed) {
  if (allowed.weights == 0) CHECK(oracle::compare(got.o, wanted.o).relative <= allowed.o);
  if (allowed.weights > 0) CHECK(worst_by_terms(got.o, wanted) <= allowed.weights);
  double worst = 0;
  REQUIRE(got.lse.size() == wanted.lse.size());
  for (std::size_t i = 0; i < wanted.lse.size(); ++i) {
    auto const a = static_cast<double>(got.lse[i]), b = wanted.lse[i];
    if (a != b)
      worst =
          std::fmax(worst, std::isfinite(a) && std::isfinite(b) ? std::fabs(a - b) / wanted.lse_terms[i] : INFINITY);
    if (b == -INFINITY) CHECK(a == b);
  }
  CHECK(worst <= allowed.lse);
}

template <class Kernel, class P>
void check(Kernel kernel, const P& p, std::uint64_t seed, sharded::cut how,
           bounds allowed = bounds_of<typename P::element>) {
  using T = typename P::element;
  auto const in = draw<T>(p, seed);
  auto const wanted = expected(p, in);
  auto const got = sharded::run(kernel, p, in.q, in.k, in.v, how);
  check_close(got, wanted, allowed);
  for (std::size_t i = 0; i < wanted.lse.size(); ++i) {
    if (wanted.lse[i] != -INFINITY) continue;
    for (extent d = 0; d < p.value_dim; ++d) {
      CHECK(got.o[i * static_cast<std::size_t>(p.value_dim) + static_cast<std::size_t>(d)] == 0);
    }
  }
}

/// A layout of each kind.
inline layout layout_number(std::uint64_t which, extent tokens) {
  extent const third = tokens / 3;
  switch (which % 7) {
    case 0: return contiguous(tokens, 1);
    case 1: return contiguous(tokens, 4);
    case 2: return zigzag(tokens, 3);
    case 3: return striped(tokens, 5);
    case 4: return striped(tokens, 3, 4);
    case 5: return contiguous(tokens, 9);
    default: return uneven(tokens, {0, third, 0, tokens - third});
  }
}

/// Calls check_case(problem, seed, cut) for cases of which the seed alone tells everything.
template <class T, class Check>
void for_random_cases(std::uint64_t first_seed, int count, Check check_case) {
  constexpr extent batches[] = {0, 1, 1, 1, 3};
  constexpr extent lengths[] = {0, 1, 2, 3, 17, 31, 32, 33, 64, 97, 127, 211};
  constexpr extent ratios[][2] = {{1, 1}, {4, 2}, {6, 1}, {6, 3}, {3, 3}};
  constexpr extent dims[][2] = {{1, 1},     {5, 5},   {33, 33}, {64, 64},   {80, 80},
                                {192, 128}, {16, 40}, {7, 2},   {256, 256}, {255, 129}};
  for (std::uint64_t seed = first_seed; seed < first_seed + static_cast<std::uint64_t>(count); ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    auto const pick = [&](const auto& list) -> const auto& { return list[random() % std::size(list)]; };
    extent const n = pick(lengths), batch = pick(batches);
    const auto& ratio = pick(ratios);
    const auto& dim = pick(dims);
    shape const s{batch, ratio[0], ratio[1], dim[0], dim[1]};
    sharded::cut const how{random() % 3, static_cast<extent>(random() % 3), pick(sharded::memory_orders)};
    auto const tokens = layout_number(random(), n);
    extent const left = static_cast<extent>(random() % 40), right = static_cast<extent>(random() % 20);
    switch (random() % 4) {
      case 0: check_case(make_problem<T>(tokens, s, full()), seed, how); break;
      case 1: check_case(make_problem<T>(tokens, s, causal()), seed, how); break;
      case 2: check_case(make_problem<T>(tokens, s, window(left, right)), seed, how); break;
      default: {
        predicate_mask const sparse([left](extent query, extent key) { return (query * 7 + key * 3) % 5 <= left % 5; });
        check_case(make_problem<T>(tokens, s, sparse), seed, how);
      }
    }
  }
}

template <class T, class Kernel>
void check_random(Kernel kernel, std::uint64_t first_seed, int count, bounds allowed = bounds_of<T>) {
  if (sanitized) count = (count + 9) / 10;
  for_random_cases<T>(first_seed, count, [&](const auto& p, std::uint64_t seed, sharded::cut how) {
    check(kernel, p, seed, how, allowed);
  });
}

/// Scores that are whole numbers in units of log2, weights that are powers of two and values that are small whole
/// numbers: every sum is exact, so no order of blocks may change a bit.
template <class T, class Kernel>
void check_dyadic(Kernel kernel) {
  double const ln_2 = 0.693147180559945309417;
  CHECK(static_cast<accumulate_t<T>>(ln_2 * 1.44269504088896340736) == 1);
  for (const layout& tokens :
       {layout_number(1, 61), layout_number(2, 61), layout_number(3, 61), layout_number(6, 61)}) {
    auto const p = make_problem<T>(tokens, shape{1, 4, 2, 3, 5}, causal(), scaled{ln_2});
    std::mt19937_64 random(7);
    auto const draw_whole = [&](extent count, int bound) {
      std::vector<double> made;
      for (extent i = 0; i < count; ++i)
        made.push_back(static_cast<double>(random() % (2 * static_cast<unsigned>(bound) + 1)) - bound);
      return made;
    };
    auto const q = draw_whole(61 * 4 * 3, 1), k = draw_whole(61 * 2 * 3, 1), v = draw_whole(61 * 2 * 5, 3);
    auto const whole = make_problem<T>(contiguous(61, 1), shape{1, 4, 2, 3, 5}, causal(), scaled{ln_2});
    auto const once = sharded::run(kernel, whole, q, k, v);
    for (std::uint64_t const seed : {0u, 1u, 2u, 3u, 4u}) {
      auto const got =
          sharded::run(kernel, p, q, k, v, {seed, static_cast<extent>(seed % 2), sharded::memory_order::bshd});
      CHECK(got == once);
    }
  }
}

/// Scores that lie 1e4 apart, and scores that are all below -5e4.
template <class Kernel>
void check_gaps(Kernel kernel) {
  auto const p = make_problem<float>(contiguous(40, 4), shape{1, 1, 1, 1, 3}, full(), scaled{1});
  tensors in = draw<float>(p, 5);
  in.q.assign(40, 1.0);
  for (std::size_t j = 0; j < 40; ++j) in.k[j] = 1e4 * (static_cast<double>(j % 7) - 3);
  for (std::uint64_t const seed : {0u, 1u, 2u}) {
    check_close(sharded::run(kernel, p, in.q, in.k, in.v, {seed, 0, {}}), expected(p, in), bounds_of<float>);
  }
  // Whole numbers in units of log2, so that rounding a score near -8e4 does not blur the weights.
  auto const low =
      make_problem<float>(contiguous(40, 4), shape{1, 1, 1, 1, 3}, full(), scaled{0.693147180559945309417});
  for (std::size_t j = 0; j < 40; ++j) in.k[j] = -80000 - static_cast<double>(j % 5);
  check_close(sharded::run(kernel, low, in.q, in.k, in.v), expected(low, in), bounds_of<float>);
}

/// A score of -inf hides its key; a row of nothing else saw nothing.
template <class Kernel>
void check_infinite_scores(Kernel kernel) {
  auto const p = make_problem<float>(contiguous(40, 4), shape{1, 1, 1, 1, 3}, causal(), scaled{1});
  tensors in = draw<float>(p, 6);
  in.q.assign(40, 1.0);
  for (std::size_t j = 0; j < 40; ++j) in.k[j] = j < 3 || j % 5 == 0 ? -INFINITY : in.k[j];
  for (std::uint64_t const seed : {0u, 1u, 2u}) {
    auto const got = sharded::run(kernel, p, in.q, in.k, in.v, {seed, 0, {}});
    check_close(got, expected(p, in), bounds_of<float>);
    CHECK(got.lse[2] == -INFINITY);
    CHECK(got.o[2 * 3] == 0);
  }
}

/// Keys that a mask hides do not exist, whatever they hold; what is seen propagates, and nothing hangs.
template <class T, class Kernel>
void check_not_finite(Kernel kernel) {
  extent const n = 70;
  auto const p = make_problem<T>(zigzag(n, 2), shape{1, 2, 1, 9, 11}, causal());
  for (double const bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    for (extent const at : {extent{0}, extent{33}, extent{69}}) {
      tensors in = draw<T>(p, 11);
      auto const clean = sharded::run(kernel, p, in.q, in.k, in.v);
      in.v[static_cast<std::size_t>(at * 11 + 4)] = bad;
      auto const in_v = sharded::run(kernel, p, in.q, in.k, in.v);
      in.k[static_cast<std::size_t>(at * 9 + 2)] = bad;
      auto const in_k = sharded::run(kernel, p, in.q, in.k, in.v);
      int wrong = 0;
      for (extent i = 0; i < n; ++i) {
        for (extent h = 0; h < 2; ++h) {
          auto const lse = static_cast<std::size_t>(i * 2 + h), o = lse * 11 + 4;
          if (i < at) {
            wrong += in_v.o[o] != clean.o[o];
            wrong += in_k.o[o] != clean.o[o];
            wrong += in_k.lse[lse] != clean.lse[lse];
          } else {
            wrong += std::isfinite(static_cast<double>(in_v.o[o])) ? 1 : 0;
            wrong += in_v.lse[lse] != clean.lse[lse];
            wrong += in_v.o[o + 1] != clean.o[o + 1];
          }
        }
      }
      CHECK(wrong == 0);
    }
  }
}

/// What does not fit is refused by name.
template <class Kernel>
void check_refusals(Kernel kernel) {
  auto const p = make_problem<float>(contiguous(8, 2), shape{1, 2, 1, 4, 4});
  sharded::workspace memory(1 << 20);
  auto state = kernel.state(p, memory.arena());
  std::vector<float> numbers(1024);
  view<const float, 4> const q = dense(numbers.data(), 1, 4, 2, 4), kv = dense(numbers.data(), 1, 4, 1, 4);
  host_stream const stream;
  view<const float, 4> const short_q = dense(numbers.data(), 1, 3, 2, 4), wide_v = dense(numbers.data(), 1, 4, 1, 5);
  CHECK_THROWS_WITH_AS(kernel.prepare(state, short_q, stream), "q: extent 3 along the row axis; the problem has 4",
                       shape_error);
  kernel.prepare(state, q, stream);
  CHECK_THROWS_WITH_AS(kernel.accumulate(state, block<float>{kv, wide_v, 0, 0}, stream),
                       "v: extent 5 along the dim axis; the problem has 4", shape_error);
  CHECK_THROWS_WITH_AS(kernel.accumulate(state, block<float>{kv, kv, 2, 0}, stream),
                       "block: owner 2; the keys lie on ranks 0..1", usage_error);
  partial<float> const out{dense(numbers.data(), 1, 4, 2, 4), dense(numbers.data(), 1, 4, 1)};
  CHECK_THROWS_WITH_AS(kernel.close(state, out, stream), "lse: extent 1 along the head axis; the problem has 2",
                       shape_error);
}

/// A base-2 partial is the natural one in another unit.
template <class Kernel>
void check_bases(Kernel kernel) {
  auto const p = make_problem<double>(contiguous(20, 2), shape{1, 2, 2, 8, 8}, causal());
  auto const in = draw<double>(p, 3);
  auto const natural = sharded::run(kernel, p, in.q, in.k, in.v);
  auto const binary = sharded::run<base_2>(kernel, p, in.q, in.k, in.v);
  CHECK(natural.o == binary.o);
  for (std::size_t i = 0; i < natural.lse.size(); ++i) {
    CHECK(natural.lse[i] == doctest::Approx(binary.lse[i] * 0.693147180559945309417).epsilon(1e-15));
  }
}

}  // namespace kernel_cases
