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
  static constexpr int pairs = tile_shape<A>::keys * tile_shape<A>::lanes;  ///< of a tile and a block
};

/// Tiles whose queries are summed over in one go: where a step takes several, those of one are too few to load and store
/// sums for.
template <class T>
inline constexpr int tiles_at_once = dot_step<T>::depth > 1 ? 4 : 1;

/// One tile of queries, one block of keys. As a tile it is that of the queries' gradient: `o` is that gradient, `v` are
/// the keys once more, in steps, and `value_dim` is how many dims they have. All scratch is aligned to registers.
template <class T>
struct backward_tile : tile<T> {
  using A = accumulate_t<T>;

  const T* dout;    ///< [gain_dim / depth][lanes][depth]
  const T* values;  ///< rows of adjacent numbers
  extent values_stride, gain_dim;
  const A *lse, *delta;          ///< [lanes], lse in units of log2; -inf where a lane saw nothing
  const T *q_rows, *dout_rows;   ///< [lanes / depth][stride][depth], filled up with 0
  extent q_stride, dout_stride;  ///< whole registers of dims
  A* gains;                      ///< scratch, [keys][lanes]; gradients of scores, [keys][lanes], take their place
  T* slopes;                     ///< scratch, [keys / depth][lanes][depth]: these again, in steps; of depth 1, there
  A *dk, *dv;                    ///< [key_rows][q_stride], [key_rows][dout_stride]
  bool guarded_queries = false;  ///< a query hidden from a key may not be finite

  static constexpr int to_next = backward_shape<A>::pairs * static_cast<int>(sizeof(A) / sizeof(T));  ///< tile's rows

  T* slope_rows() const { return this->in_place(gains); }
};

/// Writes weights and gradients of scores of some whole steps, key by key and register by register, as they are
/// multiplied.
template <class T, class V, int Count>
[[gnu::always_inline]] inline void store_gains(const backward_tile<T>& t, extent key, const V (&weights)[Count],
                                               const V (&slopes)[Count]) {
  constexpr int lanes = tile_shape<accumulate_t<T>>::lanes;
  store_rows(t.weights() + key * lanes, weights);
  store_rows(t.slope_rows() + key * lanes, slopes);
  if constexpr (dot_step<T>::depth > 1) store_weights(t.slopes + key * lanes, slopes);
}

/// Turns scores into weights and gains into the gradients of scores; hidden pairs get exactly 0 for both.
template <bool Rounds, class T>
[[gnu::noinline]] void weigh_gains(const backward_tile<T>& t) {
  using A = accumulate_t<T>;
  using V = simd<A>;
  constexpr int registers = tile_shape<A>::registers, lanes = tile_shape<A>::lanes, depth = dot_step<T>::depth;
  auto const none = V::all(-static_cast<A>(__builtin_inf()));
  typename V::vector lse[registers], delta[registers];
  typename V::integers alive[registers];
  unroll<registers>([&](auto j) __attribute__((always_inline)) {
    lse[j] = V::load(t.lse + j * V::width), delta[j] = V::load(t.delta + j * V::width);
    alive[j] = lse[j] != none;
  });
  auto const step = [&](extent key, auto count) __attribute__((always_inline)) {
    A *const scores = t.scores + key * lanes, *const gains = t.gains + key * lanes;
    typename V::vector weights[registers * count], slopes[registers * count];
    unroll<registers * count>([&](auto i) __attribute__((always_inline)) {
      weights[i] = V::load(scores + i * V::width) - lse[i % registers];
    });
    V::exp2(weights);
    unroll<registers * count>([&](auto i) __attribute__((always_inline)) {
      auto const seen = (V::load(scores + i * V::width) != none) & alive[i % registers];
      auto const slope = weights[i] * (V::load(gains + i * V::width) - delta[i % registers]);
      weights[i] = seen != 0 ? weights[i] : typename V::vector{};
      slopes[i] = seen != 0 ? slope : typename V::vector{};
      if constexpr (!Rounds) V::store(scores + i * V::width, weights[i]), V::store(gains + i * V::width, slopes[i]);
    });
    if constexpr (Rounds) store_gains(t, key, weights, slopes);
  };
  constexpr int together = keys_at_once<T>;
  extent key = 0;
  for (; key + together <= t.keys; key += together) step(key, std::integral_constant<int, together>{});
  for (; key < t.keys; key += depth) step(key, std::integral_constant<int, depth>{});
}

/// Rounds weights and gradients of scores to what is multiplied.
template <class T>
[[gnu::noinline]] void round_gains(const backward_tile<T>& t) {
  using V = simd<accumulate_t<T>>;
  constexpr int registers = tile_shape<accumulate_t<T>>::registers, lanes = registers * V::width,
                depth = dot_step<T>::depth;
  for (extent key = 0; key < t.keys; key += depth) {
    typename V::vector weights[registers * depth], slopes[registers * depth];
    unroll<registers * depth>([&](auto i) __attribute__((always_inline)) {
      weights[i] = V::load(t.scores + key * lanes + i * V::width);
      slopes[i] = V::load(t.gains + key * lanes + i * V::width);
    });
    store_gains(t, key, weights, slopes);
  }
}

/// sums[i] += sum over lanes of weights[i][lane] * rows[lane], for Rows keys and some registers of dims, of some tiles.
template <class T, int Rows, int Registers>
[[gnu::noinline]] void spread(const T* __restrict weights, int tiles, const T* __restrict rows, extent stride,
                              accumulate_t<T>* __restrict sums_at) {
  using A = accumulate_t<T>;
  using V = simd<A>;
  constexpr int lanes = tile_shape<A>::lanes, depth = dot_step<T>::depth;
  typename V::vector sums[Rows][Registers];
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<Registers>([&](auto j) __attribute__((always_inline)) {
      sums[i][j] = V::load(sums_at + i * stride + j * V::width);
    });
  });
  if (tiles_at_once<T> == 1) tiles = 1;  // for the compiler to know
  for (int tile = 0; tile < tiles; ++tile, weights += backward_tile<T>::to_next) {
    for (int lane = 0; lane < lanes; lane += depth, rows += depth * stride) {
      decltype(dot_step<T>::load(rows)) row[Registers];
      unroll<Registers>([&](auto j) __attribute__((always_inline)) {
        row[j] = dot_step<T>::load(rows + j * V::width * depth);
      });
      unroll<Rows>([&](auto i) __attribute__((always_inline)) {
        auto const weight = dot_step<T>::all(weights + i * lanes + lane);
        unroll<Registers>([&](auto j) __attribute__((always_inline)) {
          sums[i][j] = dot_step<T>::add(weight, row[j], sums[i][j]);
        });
      });
    }
  }
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<Registers>([&](auto j) __attribute__((always_inline)) {
      V::store(sums_at + i * stride + j * V::width, sums[i][j]);
    });
  });
}

/// As spread, for all keys and dims; weights have room for whole units of keys.
template <class T>
void spread_all(T* weights, int tiles, extent keys, const T* rows, extent stride, accumulate_t<T>* sums) {
  using A = accumulate_t<T>;
  using shape_of = backward_shape<A>;
  constexpr int unit = shape_of::row_unit, lanes = shape_of::lanes, width = simd<A>::width, depth = dot_step<T>::depth;
  for (int tile = 0; tile < tiles; ++tile) {
    T* const of_tile = weights + tile * backward_tile<T>::to_next;
    for (extent i = keys * lanes; i < round_up(keys, unit) * lanes; ++i) of_tile[i] = T{};
  }
  auto const panel = [&](extent column, auto registers) {
    in_pieces<shape_of::score_rows / unit>((keys + unit - 1) / unit, [&](extent first, auto units) {
      spread<T, units * unit, registers>(weights + first * unit * lanes, tiles, rows + column * depth, stride,
                                         sums + first * unit * stride + column);
    });
  };
  extent column = 0;
  for (; column + 2 * width <= stride; column += 2 * width) panel(column, std::integral_constant<int, 2>{});
  if (column < stride) panel(column, std::integral_constant<int, 1>{});
}

/// As spread_all, but a weight of 0 adds nothing, even times infinity.
template <class T>
[[gnu::noinline]] void spread_guarded(T* weights, int tiles, extent keys, const T* rows, extent stride,
                                      accumulate_t<T>* sums) {
  using V = simd<accumulate_t<T>>;
  constexpr int lanes = tile_shape<accumulate_t<T>>::lanes, depth = dot_step<T>::depth;
  for (int tile = 0; tile < tiles; ++tile, weights += backward_tile<T>::to_next, rows += lanes * stride) {
    for (extent key = 0; key < keys; ++key) {
      for (int lane = 0; lane < lanes; lane += depth) {
        auto const weight = dot_step<T>::all(weights + key * lanes + lane);
        for (extent d = 0; d < stride; d += V::width) {
          accumulate_t<T>* const sum = sums + key * stride + d;
          auto const row = dot_step<T>::load(rows + lane * stride + d * depth);
          V::store(sum, dot_step<T>::add_seen(row, weight, V::load(sum)));
        }
      }
    }
  }
}

/// The scores, and the gains that dout finds in the values.
template <class T>
void score_both(const backward_tile<T>& t) {
  score_all<T>(t);
  tile<T> turned = t;
  turned.k = t.values, turned.k_stride = t.values_stride, turned.dim = t.gain_dim;
  turned.q = t.dout, turned.factor = 1, turned.scores = t.gains;
  score_all(turned);
}

/// Adds to the queries' gradient by the gradients of scores.
template <class T>
[[gnu::noinline]] void add_to_queries(const backward_tile<T>& whole) {
  using A = accumulate_t<T>;
  alignas(simd<A>::bytes) A keep[tile_shape<A>::lanes];
  for (A& each : keep) each = 1;
  tile<T> turned = whole;
  turned.scores = reinterpret_cast<A*>(whole.slopes);
  weigh_all(turned, keep);
}

/// Folds a block of keys into the gradient of a tile's queries, and leaves weights and gradients of scores in the place
/// of scores and gains.
///
/// `change()` is called when scores and gains are there, `bend()` when they have become weights and gradients of scores.
template <class T, class Change, class Bend>
void fold_back(const backward_tile<T>& t, Change change, Bend bend) {
  score_both(t);
  change();
  if (t.hides != hiding::nothing) hide<T>(t);
  auto whole = in_steps(t);
  whole.gains -= t.before * tile_shape<accumulate_t<T>>::lanes;
  if constexpr (std::is_same_v<Bend, unchanged> || dot_step<T>::depth == 1) {
    weigh_gains<true>(whole);
    bend();
  } else {
    weigh_gains<false>(whole);
    bend();
    round_gains(whole);
  }
  add_to_queries(whole);
}

/// Adds to the gradients of keys and values what some tiles that see the same keys have left; t is the first of them.
template <class T>
[[gnu::noinline]] void add_to_keys(const backward_tile<T>& t, int tiles) {
  auto const spread_rows = t.guarded_queries ? spread_guarded<T> : spread_all<T>;
  spread_rows(t.weights(), tiles, t.keys, t.dout_rows, t.dout_stride, t.dv);
  spread_rows(t.slope_rows(), tiles, t.keys, t.q_rows, t.q_stride, t.dk);
}

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
