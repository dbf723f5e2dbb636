#pragma once

#include <ringfold/kernel/cpu/tile.hpp>

/// \file
/// The heart of the blocked backward pass: one tile of queries against one block of keys, five products of matrices.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// Sums over queries have keys in their rows and dims in registers; so queries are turned into rows for them.
template <class A>
struct backward_shape : tile_shape<A> {
  static constexpr int row_unit = tile_shape<A>::score_rows / 3;   ///< keys come in whole units there
  static constexpr int key_rows = tile_shape<A>::keys + row_unit;  ///< rows of scratch for their gradients
  static constexpr extent padded(extent dim) { return round_up(dim, simd<A>::width); }
};

/// One tile of queries, one block of keys; `o` is the queries' gradient. All scratch is aligned to registers.
template <class A>
struct backward_tile : tile<A> {
  const A* dout;                 ///< [value_dim][lanes]
  const A *lse, *delta;          ///< [lanes], lse in units of log2; -inf where a lane saw nothing
  A *q_rows, *dout_rows;         ///< scratch, [lanes][padded dim], [lanes][padded value_dim]
  A* gains;                      ///< scratch, [keys][lanes]
  A *dk, *dv;                    ///< [key_rows][padded dim], [key_rows][padded value_dim]
  bool guarded_queries = false;  ///< a query hidden from a key may not be finite
};

/// Turns scores into weights and gains into the gradients of scores; hidden pairs get exactly 0 for both, and so do
/// the keys that fill up the last unit.
template <class A>
[[gnu::noinline]] void weigh_gains(const backward_tile<A>& t) {
  using V = simd<A>;
  constexpr int registers = tile_shape<A>::registers, lanes = tile_shape<A>::lanes;
  auto const none = V::all(-static_cast<A>(__builtin_inf()));
  typename V::vector lse[registers], delta[registers];
  typename V::integers alive[registers];
  unroll<registers>([&](auto j) __attribute__((always_inline)) {
    lse[j] = V::load(t.lse + j * V::width), delta[j] = V::load(t.delta + j * V::width);
    alive[j] = lse[j] != none;
  });
  for (extent key = 0; key < t.keys; ++key) {
    unroll<registers>([&](auto j) __attribute__((always_inline)) {
      A *const score = t.scores + key * lanes + j * V::width, *const gain = t.gains + key * lanes + j * V::width;
      auto const at = V::load(score);
      auto const weight = V::exp2(at - lse[j]), slope = weight * (V::load(gain) - delta[j]);
      auto const seen = (at != none) & alive[j];
      V::store(score, seen != 0 ? weight : typename V::vector{});
      V::store(gain, seen != 0 ? slope : typename V::vector{});
    });
  }
  extent const filled = round_up(t.keys, backward_shape<A>::row_unit);
  for (extent i = t.keys * lanes; i < filled * lanes; i += V::width) {
    V::store(t.scores + i, typename V::vector{});
    V::store(t.gains + i, typename V::vector{});
  }
}

/// sums[i] += sum over lanes of weights[i][lane] * rows[lane], for Rows keys and some registers of dims.
template <class A, int Rows, int Registers>
[[gnu::noinline]] void spread(const A* __restrict weights, const A* __restrict rows, extent stride,
                              A* __restrict sums_at) {
  using V = simd<A>;
  constexpr int lanes = tile_shape<A>::lanes;
  typename V::vector sums[Rows][Registers];
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<Registers>([&](auto j) __attribute__((always_inline)) {
      sums[i][j] = V::load(sums_at + i * stride + j * V::width);
    });
  });
  for (int lane = 0; lane < lanes; ++lane) {
    typename V::vector row[Registers];
    unroll<Registers>([&](auto j)
                          __attribute__((always_inline)) { row[j] = V::load(rows + lane * stride + j * V::width); });
    unroll<Rows>([&](auto i) __attribute__((always_inline)) {
      auto const weight = V::all(weights[i * lanes + lane]);
      unroll<Registers>([&](auto j)
                            __attribute__((always_inline)) { sums[i][j] = V::fused(weight, row[j], sums[i][j]); });
    });
  }
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<Registers>([&](auto j) __attribute__((always_inline)) {
      V::store(sums_at + i * stride + j * V::width, sums[i][j]);
    });
  });
}

/// As spread, for all keys and dims.
template <class A>
void spread_all(const A* weights, extent keys, const A* rows, extent stride, A* sums) {
  using shape_of = backward_shape<A>;
  constexpr int unit = shape_of::row_unit, width = simd<A>::width;
  auto const panel = [&](extent column, auto registers) {
    in_pieces<shape_of::score_rows / unit>((keys + unit - 1) / unit, [&](extent first, auto units) {
      spread<A, units * unit, registers>(weights + first * unit * shape_of::lanes, rows + column, stride,
                                         sums + first * unit * stride + column);
    });
  };
  extent column = 0;
  for (; column + 2 * width <= stride; column += 2 * width) panel(column, std::integral_constant<int, 2>{});
  if (column < stride) panel(column, std::integral_constant<int, 1>{});
}

/// As spread_all, but a weight of 0 adds nothing, even times infinity.
template <class A>
[[gnu::noinline]] void spread_guarded(const A* weights, extent keys, const A* rows, extent stride, A* sums) {
  using V = simd<A>;
  constexpr int lanes = tile_shape<A>::lanes;
  for (extent key = 0; key < keys; ++key) {
    for (int lane = 0; lane < lanes; ++lane) {
      A const weight = weights[key * lanes + lane];
      if (weight == 0) continue;
      for (extent d = 0; d < stride; d += V::width) {
        A* const sum = sums + key * stride + d;
        V::store(sum, V::fused(V::all(weight), V::load(rows + lane * stride + d), V::load(sum)));
      }
    }
  }
}

/// The scores, and the gains that dout finds in the values.
template <class A>
void score_both(const backward_tile<A>& t) {
  score_all<A>(t);
  tile<A> turned = t;
  turned.k = t.v, turned.k_stride = t.v_stride, turned.dim = t.value_dim, turned.q = t.dout, turned.scores = t.gains;
  score_all(turned);
}

/// Adds to all three gradients by weights and the gradients of scores.
template <class A>
[[gnu::noinline]] void add_gradients(const backward_tile<A>& t) {
  using shape_of = backward_shape<A>;
  alignas(simd<A>::bytes) A keep[shape_of::lanes];
  for (A& each : keep) each = 1;
  tile<A> turned = t;
  turned.v = t.k, turned.v_stride = t.k_stride, turned.value_dim = t.dim, turned.scores = t.gains;
  weigh_all(turned, keep);
  auto const spread_rows = t.guarded_queries ? spread_guarded<A> : spread_all<A>;
  spread_rows(t.scores, t.keys, t.dout_rows, shape_of::padded(t.value_dim), t.dv);
  spread_rows(t.gains, t.keys, t.q_rows, shape_of::padded(t.dim), t.dk);
}

/// Adds what a tile of queries and a block of keys owe each other's gradients.
///
/// `change()` is called when scores and gains are there, `bend()` when they have become weights and gradients of scores.
template <class A, class Change, class Bend>
void fold_back(const backward_tile<A>& t, Change change, Bend bend) {
  score_both(t);
  change();
  if (t.hides != hiding::nothing) hide<A>(t);
  weigh_gains(t);
  bend();
  add_gradients(t);
}

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
