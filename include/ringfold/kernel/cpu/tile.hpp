#pragma once

#include <ringfold/core/sizes.hpp>
#include <ringfold/kernel/cpu/simd.hpp>

/// \file
/// The heart of the blocked kernel: one tile of queries against one block of keys, by pointers and strides alone, so
/// that its code exists once per number type, whatever the problem.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// Queries lie in the lanes of two registers, so that a row's maximum, sum and rescaling are plain vector operations;
/// keys and values are broadcast from rows where they lie.
template <class A>
struct tile_shape {
  static constexpr int registers = 2, lanes = registers * simd<A>::width;
  static constexpr int keys = 96;                                       ///< rows per block of keys
  static constexpr int score_rows = simd<A>::registers == 32 ? 12 : 6;  ///< keys whose scores are in registers at once
  static constexpr int value_rows = simd<A>::registers == 32 ? 13 : 6;  ///< output dims that are
};

/// Which of a tile's keys its queries see.
enum class hiding : unsigned char { nothing, outside_hull, by_table };

/// One tile of queries, one block of keys. Pointers into lanes are aligned to registers.
template <class A>
struct tile {
  using integer = typename simd<A>::integer;

  const A* q;            ///< [dim][lanes], scaled to units of log2
  A *o, *maximum, *sum;  ///< [value_dim][lanes], [lanes], [lanes]: carried from block to block
  const A *k, *v;        ///< rows of adjacent numbers
  extent k_stride, v_stride;
  extent dim, value_dim, keys;
  A* scores;  ///< scratch, [keys][lanes]
  hiding hides = hiding::nothing;
  const integer* positions = nullptr;               ///< [lanes]; of outside_hull
  const integer *first = nullptr, *last = nullptr;  ///< [keys]: which positions see a key; of outside_hull
  const integer* seen = nullptr;                    ///< [keys][lanes], 0 or -1; of by_table
  bool guarded = false;  ///< a hidden key may have values that are not finite: 0 times them must not be added
};

/// scores[i] = k[i] . q for Rows keys.
template <class A, int Rows>
[[gnu::noinline]] void score(const A* __restrict k, extent stride, const A* __restrict q, extent dim,
                             A* __restrict scores) {
  using V = simd<A>;
  constexpr int registers = tile_shape<A>::registers, lanes = tile_shape<A>::lanes;
  typename V::vector sums[Rows][registers];
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<registers>([&](auto j) __attribute__((always_inline)) { sums[i][j] = typename V::vector{}; });
  });
  for (extent d = 0; d < dim; ++d) {
    typename V::vector lane[registers];
    unroll<registers>([&](auto j) __attribute__((always_inline)) { lane[j] = V::load(q + d * lanes + j * V::width); });
    unroll<Rows>([&](auto i) __attribute__((always_inline)) {
      auto const key = V::all(k[i * stride + d]);
      unroll<registers>([&](auto j)
                            __attribute__((always_inline)) { sums[i][j] = V::fused(key, lane[j], sums[i][j]); });
    });
  }
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<registers>([&](auto j)
                          __attribute__((always_inline)) { V::store(scores + i * lanes + j * V::width, sums[i][j]); });
  });
}

/// o[i] = o[i] * keep + sum over keys of weights[key] * v[key][i], for Rows output dims.
template <class A, int Rows>
[[gnu::noinline]] void weigh(const A* __restrict v, extent stride, const A* __restrict weights, extent keys,
                             const A* __restrict keep, A* __restrict o) {
  using V = simd<A>;
  constexpr int registers = tile_shape<A>::registers, lanes = tile_shape<A>::lanes;
  typename V::vector sums[Rows][registers];
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<registers>([&](auto j) __attribute__((always_inline)) {
      sums[i][j] = V::load(o + i * lanes + j * V::width) * V::load(keep + j * V::width);
    });
  });
  for (extent key = 0; key < keys; ++key) {
    typename V::vector lane[registers];
    unroll<registers>([&](auto j)
                          __attribute__((always_inline)) { lane[j] = V::load(weights + key * lanes + j * V::width); });
    unroll<Rows>([&](auto i) __attribute__((always_inline)) {
      auto const value = V::all(v[key * stride + i]);
      unroll<registers>([&](auto j)
                            __attribute__((always_inline)) { sums[i][j] = V::fused(value, lane[j], sums[i][j]); });
    });
  }
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<registers>([&](auto j)
                          __attribute__((always_inline)) { V::store(o + i * lanes + j * V::width, sums[i][j]); });
  });
}

/// As weigh, but a weight of 0 adds nothing, even times infinity.
template <class A>
[[gnu::noinline]] void weigh_guarded(const tile<A>& t, const A* keep) {
  using V = simd<A>;
  constexpr int lanes = tile_shape<A>::lanes;
  for (extent d = 0; d < t.value_dim; ++d) {
    for (int j = 0; j < lanes; j += V::width) {
      auto sum = V::load(t.o + d * lanes + j) * V::load(keep + j);
      for (extent key = 0; key < t.keys; ++key) {
        auto const weight = V::load(t.scores + key * lanes + j);
        sum = weight != 0 ? V::fused(V::all(t.v[key * t.v_stride + d]), weight, sum) : sum;
      }
      V::store(t.o + d * lanes + j, sum);
    }
  }
}

/// Cuts `count` into nearly equal pieces of at most Most and calls f(first, piece), the piece as a constant.
template <int Most, class F>
[[gnu::always_inline]] inline void in_pieces(extent count, F f) {
  extent const pieces = (count + Most - 1) / Most, size = pieces > 0 ? count / pieces : 0,
               larger = count - pieces * size;
  for (extent i = 0, first = 0; i < pieces; ++i) {
    extent const piece = size + (i < larger ? 1 : 0);
    unroll<Most>([&](auto less_one) __attribute__((always_inline)) {
      if (piece == less_one + 1) f(first, std::integral_constant<int, less_one + 1>{});
    });
    first += piece;
  }
}

/// Sets the scores of hidden keys to -inf.
template <class A>
[[gnu::noinline]] void hide(const tile<A>& t) {
  using V = simd<A>;
  constexpr int lanes = tile_shape<A>::lanes;
  auto const none = V::all(-static_cast<A>(__builtin_inf()));
  for (extent key = 0; key < t.keys; ++key) {
    for (int j = 0; j < lanes; j += V::width) {
      A* const at = t.scores + key * lanes + j;
      typename V::integers seen;
      if (t.hides == hiding::outside_hull) {
        auto const position = V::load_integers(t.positions + j);
        seen = (position >= t.first[key]) & (position <= t.last[key]);
      } else {
        seen = V::load_integers(t.seen + key * lanes + j);
      }
      V::store(at, seen != 0 ? V::load(at) : none);
    }
  }
}

/// Turns scores into weights against the new maximum, adds them up, and says by how much older sums shrink.
template <class A>
[[gnu::noinline]] void exponentiate(const tile<A>& t, A* keep) {
  using V = simd<A>;
  constexpr int registers = tile_shape<A>::registers, lanes = tile_shape<A>::lanes;
  auto const none = V::all(-static_cast<A>(__builtin_inf()));
  typename V::vector top[registers], sum[registers];
  unroll<registers>([&](auto j) __attribute__((always_inline)) { top[j] = V::load(t.maximum + j * V::width); });
  for (extent key = 0; key < t.keys; ++key) {
    unroll<registers>([&](auto j) __attribute__((always_inline)) {
      top[j] = V::larger(top[j], V::load(t.scores + key * lanes + j * V::width));
    });
  }
  unroll<registers>([&](auto j) __attribute__((always_inline)) {
    auto const before = V::load(t.maximum + j * V::width);
    V::store(t.maximum + j * V::width, top[j]);
    top[j] = top[j] == none ? typename V::vector{} : top[j];  // -inf less -inf is not a number
    auto const shrink = V::exp2(before - top[j]);
    V::store(keep + j * V::width, shrink);
    sum[j] =
        V::fused(V::load(t.sum + j * V::width), shrink, typename V::vector{});  // a bare product could be contracted
  });
  for (extent key = 0; key < t.keys; ++key) {
    unroll<registers>([&](auto j) __attribute__((always_inline)) {
      A* const at = t.scores + key * lanes + j * V::width;
      auto const weight = V::exp2(V::load(at) - top[j]);
      sum[j] += weight;
      V::store(at, weight);
    });
  }
  unroll<registers>([&](auto j) __attribute__((always_inline)) { V::store(t.sum + j * V::width, sum[j]); });
}

/// The scores of all keys.
template <class A>
[[gnu::noinline]] void score_all(const tile<A>& t) {
  in_pieces<tile_shape<A>::score_rows>(t.keys, [&](extent first, auto rows) {
    score<A, rows>(t.k + first * t.k_stride, t.k_stride, t.q, t.dim, t.scores + first * tile_shape<A>::lanes);
  });
}

/// Adds all values by their weights to outputs that have shrunk.
template <class A>
[[gnu::noinline]] void weigh_all(const tile<A>& t, const A* keep) {
  if (t.guarded) return weigh_guarded(t, keep);
  in_pieces<tile_shape<A>::value_rows>(t.value_dim, [&](extent first, auto rows) {
    weigh<A, rows>(t.v + first, t.v_stride, t.scores, t.keys, keep, t.o + first * tile_shape<A>::lanes);
  });
}

/// Folds a block of keys into a tile of queries: the running softmax of every lane.
///
/// `change()` is called when scores are there, `thin()` when they have become weights and were added up.
template <class A, class Change, class Thin>
void fold(const tile<A>& t, Change change, Thin thin) {
  score_all(t);
  change();
  if (t.hides != hiding::nothing) hide(t);
  alignas(simd<A>::bytes) A keep[tile_shape<A>::lanes];
  exponentiate(t, keep);
  thin();
  weigh_all<A>(t, keep);
}

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
