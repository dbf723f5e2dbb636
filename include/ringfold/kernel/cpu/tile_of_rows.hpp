#pragma once

#include <ringfold/kernel/cpu/dot_step.hpp>

/// \file
/// The shape of a tile, and its products where there are too few queries to fill lanes: a step of decoding. Queries and
/// outputs lie in rows then, lanes are dims, and keys and values come from memory about as fast as they can.

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

/// Whether queries lie in rows: where they are few, over all ranks and all heads that read a key head, so that no bit
/// depends on who holds which of them, and dims fill registers.
template <class F, class P>
constexpr bool lies_in_rows(const P& p) {
  using A = typename P::accumulate;
  constexpr extent width = simd<A>::width;
  return p.queries.tokens() * p.head.group <= width / 2 && p.dim % (width * dot_step<F>::depth) == 0 &&
         p.value_dim % width == 0;
}

/// Rows that will be read soon, one by one.
struct rows_ahead {
  const char* first = nullptr;
  extent stride = 0, bytes = 0, count = 0;

  [[gnu::always_inline]] void fetch(extent row) const {
    for (extent at = 0; row < count && at < bytes; at += 64) __builtin_prefetch(first + row * stride + at);
  }
};

/// scores[key][row] = k[key] . q[row]; the other lanes become 0. Memory is slower than all this: meanwhile, rows of keys
/// and values are fetched for the next time.
template <class T>
[[gnu::noinline]] void score_rows(const T* k, extent stride, extent keys, const T* q, int rows, extent dim,
                                  accumulate_t<T>* scores, [[maybe_unused]] accumulate_t<T> factor,
                                  const rows_ahead (&next)[2]) {
  using A = accumulate_t<T>;
  using V = simd<A>;
  constexpr int lanes = tile_shape<A>::lanes, numbers = V::width * dot_step<T>::depth;
  for (extent i = 0; i < keys * lanes; i += V::width) V::store(scores + i, typename V::vector{});
  in_pieces<4>(keys, [&](extent first, auto count) {
    for (extent key = first; key < first + count; ++key) next[0].fetch(key), next[1].fetch(key);
    for (int row = 0; row < rows; ++row) {
      typename V::vector sums[count]{};
      for (extent d = 0; d < dim; d += numbers) {
        auto const query = dot_step<T>::load(q + row * dim + d);
        unroll<count>([&](auto i) __attribute__((always_inline)) {
          sums[i] = dot_step<T>::add(dot_step<T>::read(k + (first + i) * stride + d), query, sums[i]);
        });
      }
      unroll<count>([&](auto i) __attribute__((always_inline)) {
        A const sum = V::total(sums[i]);
        scores[(first + i) * lanes + row] = dot_step<T>::depth > 1 ? sum * factor : sum;
      });
    }
  });
}

/// o[row] = o[row] * keep[row] + sum over keys of weights[key][row] * v[key]; guarded, a weight of 0 adds nothing, even
/// times infinity.
template <bool Guarded, class T>
[[gnu::noinline]] void weigh_rows(const T* v, extent stride, const T* weights, extent keys, const accumulate_t<T>* keep,
                                  int rows, extent dim, accumulate_t<T>* o) {
  using A = accumulate_t<T>;
  using V = simd<A>;
  constexpr int lanes = tile_shape<A>::lanes, depth = dot_step<T>::depth;
  in_pieces<8>(dim / V::width, [&](extent first, auto count) {
    for (int row = 0; row < rows; ++row) {
      A* const to = o + row * dim + first * V::width;
      typename V::vector sums[count];
      unroll<count>([&](auto i) __attribute__((always_inline)) { sums[i] = V::load(to + i * V::width) * keep[row]; });
      for (extent key = 0; key < keys; key += depth) {
        auto const weight = dot_step<T>::all(weights + key * lanes + row * depth);
        unroll<count>([&](auto i) __attribute__((always_inline)) {
          auto const value = dot_step<T>::read(v + key * stride + (first + i) * V::width * depth);
          sums[i] = Guarded ? dot_step<T>::add_seen(value, weight, sums[i]) : dot_step<T>::add(value, weight, sums[i]);
        });
      }
      unroll<count>([&](auto i) __attribute__((always_inline)) { V::store(to + i * V::width, sums[i]); });
    }
  });
}

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
