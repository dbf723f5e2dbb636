#pragma once

#include <ringfold/core/sizes.hpp>
#include <ringfold/kernel/cpu/tile_of_rows.hpp>

/// \file
/// The heart of the blocked kernel: one tile of queries against one block of keys, by pointers and strides alone, so
/// that its code exists once per number type, whatever the problem.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// Which of a tile's keys its queries see.
enum class hiding : unsigned char { nothing, outside_hull, by_table };

/// One tile of queries, one block of keys. Pointers into lanes are aligned to registers.
///
/// Where `rows` is not 0, so many queries lie in rows: q [rows][dim] and o [rows][value_dim].
/// T is the type that is multiplied, A the one that sums are kept in. Where a step of dot products takes several
/// numbers, those of a lane are adjacent: dims are whole steps, filled up with 0, and so are keys of `v` and weights.
template <class T>
struct tile {
  using A = accumulate_t<T>;
  using integer = typename simd<A>::integer;
  static constexpr int depth = dot_step<T>::depth;

  const T* q;            ///< [dim / depth][lanes][depth]
  A factor;              ///< turns scores into units of log2; of depth 1, queries are scaled instead
  A *o, *maximum, *sum;  ///< [value_dim][lanes], [lanes], [lanes]: carried from block to block
  const T *k, *v;        ///< rows of adjacent numbers; v [keys / depth][value_dim][depth]
  extent k_stride, v_stride;
  extent dim, value_dim, keys;
  int rows = 0;
  rows_ahead next[2];  ///< of keys and values; of tiles in rows
  int before = 0;      ///< hidden keys before the first, in one step with it
  A* scores;           ///< scratch, [keys][lanes]; weights, [keys / depth][lanes][depth], take their place
  hiding hides = hiding::nothing;
  const integer* positions = nullptr;               ///< [lanes]; of outside_hull
  const integer *first = nullptr, *last = nullptr;  ///< [keys]: which positions see a key; of outside_hull
  const integer* seen = nullptr;                    ///< [keys][lanes], 0 or -1; of by_table
  bool guarded = false;  ///< a hidden key may have values that are not finite: 0 times them must not be added

  T* weights() const { return in_place(scores); }

 protected:
  /// Where numbers of T that take the place of those of A begin for the first key.
  T* in_place(A* of_first) const {
    constexpr int lanes = tile_shape<A>::lanes;
    return reinterpret_cast<T*>(of_first - before * lanes) + before * lanes;
  }
};

/// scores[i] = k[i] . q for Rows keys.
template <class T, int Rows>
[[gnu::noinline]] void score(const T* __restrict k, extent stride, const T* __restrict q, extent dim,
                             accumulate_t<T>* __restrict scores, [[maybe_unused]] accumulate_t<T> factor = 1) {
  using A = accumulate_t<T>;
  using V = simd<A>;
  constexpr int registers = tile_shape<A>::registers, lanes = tile_shape<A>::lanes, depth = dot_step<T>::depth;
  typename V::vector sums[Rows][registers];
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<registers>([&](auto j) __attribute__((always_inline)) { sums[i][j] = typename V::vector{}; });
  });
  // Three rows share a pointer: one for each would be more than there are registers for.
  constexpr int shared = 3, pointers = (Rows + shared - 1) / shared;
  const T* rows[pointers];
  unroll<pointers>([&](auto i) __attribute__((always_inline)) {
    rows[i] = k + i * shared * stride;
    asm("" : "+r"(rows[i]));  // that none is computed from another
  });
  for (extent d = 0; d < dim; d += depth) {
    decltype(dot_step<T>::load(q)) lane[registers];
    unroll<registers>([&](auto j) __attribute__((always_inline)) {
      lane[j] = dot_step<T>::load(q + d * lanes + j * V::width * depth);
    });
    unroll<Rows>([&](auto i) __attribute__((always_inline)) {
      auto const key = dot_step<T>::all(rows[i / shared] + i % shared * stride + d);
      unroll<registers>([&](auto j) __attribute__((always_inline)) {
        sums[i][j] = dot_step<T>::add(key, lane[j], sums[i][j]);
      });
    });
  }
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<registers>([&](auto j) __attribute__((always_inline)) {
      if constexpr (depth > 1) sums[i][j] *= factor;
      V::store(scores + i * lanes + j * V::width, sums[i][j]);
    });
  });
}

/// o[i] = o[i] * keep + sum over keys of weights[key] * v[key][i], for Rows output dims.
template <class T, int Rows>
[[gnu::noinline]] void weigh(const T* __restrict v, extent stride, const T* __restrict weights, extent keys,
                             const accumulate_t<T>* __restrict keep, accumulate_t<T>* __restrict o) {
  using A = accumulate_t<T>;
  using V = simd<A>;
  constexpr int registers = tile_shape<A>::registers, lanes = tile_shape<A>::lanes, depth = dot_step<T>::depth;
  typename V::vector sums[Rows][registers];
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<registers>([&](auto j) __attribute__((always_inline)) {
      sums[i][j] = V::load(o + i * lanes + j * V::width) * V::load(keep + j * V::width);
    });
  });
  for (extent key = 0; key < keys; key += depth) {
    decltype(dot_step<T>::load(weights)) lane[registers];
    unroll<registers>([&](auto j) __attribute__((always_inline)) {
      lane[j] = dot_step<T>::load(weights + key * lanes + j * V::width * depth);
    });
    unroll<Rows>([&](auto i) __attribute__((always_inline)) {
      auto const value = dot_step<T>::all(v + key * stride + i * depth);
      unroll<registers>([&](auto j) __attribute__((always_inline)) {
        sums[i][j] = dot_step<T>::add(value, lane[j], sums[i][j]);
      });
    });
  }
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<registers>([&](auto j)
                          __attribute__((always_inline)) { V::store(o + i * lanes + j * V::width, sums[i][j]); });
  });
}

/// As weigh, but a weight of 0 adds nothing, even times infinity.
template <class T>
[[gnu::noinline]] void weigh_guarded(const tile<T>& t, const accumulate_t<T>* keep) {
  using V = simd<accumulate_t<T>>;
  constexpr int lanes = tile_shape<accumulate_t<T>>::lanes, depth = dot_step<T>::depth;
  for (extent d = 0; d < t.value_dim; ++d) {
    for (int j = 0; j < lanes; j += V::width) {
      auto sum = V::load(t.o + d * lanes + j) * V::load(keep + j);
      for (extent key = 0; key < t.keys; key += depth) {
        auto const weight = dot_step<T>::load(t.weights() + key * lanes + j * depth);
        sum = dot_step<T>::add_seen(dot_step<T>::all(t.v + key * t.v_stride + d * depth), weight, sum);
      }
      V::store(t.o + d * lanes + j, sum);
    }
  }
}

/// Sets the scores of hidden keys to -inf.
template <class T>
[[gnu::noinline]] void hide(const tile<T>& t) {
  using A = accumulate_t<T>;
  using V = simd<A>;
  constexpr int lanes = tile_shape<A>::lanes;
  auto const none = V::all(-static_cast<A>(__builtin_inf()));
  bool const by_table = t.hides == hiding::by_table;
  typename tile<T>::integer low = 0, high = 0;
  if (!by_table) {
    low = high = t.positions[0];
    for (int lane = 1; lane < lanes; ++lane) {
      low = t.positions[lane] < low ? t.positions[lane] : low;
      high = t.positions[lane] > high ? t.positions[lane] : high;
    }
  }
  for (extent key = 0; key < t.keys; ++key) {
    if (!by_table && t.first[key] <= low && t.last[key] >= high) continue;  // all see it
    for (int j = 0; j < lanes; j += V::width) {
      A* const at = t.scores + key * lanes + j;
      typename V::integers seen;
      if (by_table) {
        seen = V::load_integers(t.seen + key * lanes + j);
      } else {
        auto const position = V::load_integers(t.positions + j);
        seen = (position >= t.first[key]) & (position <= t.last[key]);
      }
      V::store(at, seen != 0 ? V::load(at) : none);
    }
  }
}

/// Keys whose weights are made together: whole steps, and exponentials enough to keep a core busy.
template <class T>
inline constexpr int keys_at_once = simd<accumulate_t<T>>::registers == 32 || dot_step<T>::depth == 2 ? 2 : 1;

/// Writes the weights of some whole steps, given key by key and register by register.
template <class T, class V, int Count>
[[gnu::always_inline]] inline void store_weights(T* to, const V (&weights)[Count]) {
  using A = accumulate_t<T>;
  constexpr int registers = tile_shape<A>::registers, depth = dot_step<T>::depth;
  unroll<Count / depth>([&](auto each) __attribute__((always_inline)) {
    V of_step[depth];
    unroll<depth>([&](auto i) __attribute__((always_inline)) {
      of_step[i] = weights[(each / registers * depth + i) * registers + each % registers];
    });
    dot_step<T>::store(to + each * simd<A>::width * depth, of_step);
  });
}

/// As store_weights, but key by key.
template <class T, class V, int Count>
[[gnu::always_inline]] inline void store_rows(T* to, const V (&weights)[Count]) {
  constexpr int depth = dot_step<T>::depth, width = simd<accumulate_t<T>>::width;
  unroll<Count / depth>([&](auto i) __attribute__((always_inline)) {
    T* const at = to + i * width * depth;
    if constexpr (depth == 1) dot_step<T>::store(at, {weights[i]});
    if constexpr (depth == 2) dot_step<T>::store_adjacent(at, weights[2 * i], weights[2 * i + 1]);
  });
}

/// Turns scores into weights against the new maximum, adds them up, and says by how much older sums shrink.
template <bool Rounds, class T>
[[gnu::noinline]] void exponentiate(const tile<T>& t, accumulate_t<T>* keep) {
  using A = accumulate_t<T>;
  using V = simd<A>;
  constexpr int registers = tile_shape<A>::registers, lanes = tile_shape<A>::lanes, depth = dot_step<T>::depth;
  auto const none = V::all(-static_cast<A>(__builtin_inf()));
  A* const scores = t.scores;
  extent const keys = t.keys;
  typename V::vector top[registers], sum[registers];
  unroll<registers>([&](auto j) __attribute__((always_inline)) { top[j] = V::load(t.maximum + j * V::width); });
  for (extent key = 0; key < keys; ++key) {
    unroll<registers>([&](auto j) __attribute__((always_inline)) {
      top[j] = V::larger(top[j], V::load(scores + key * lanes + j * V::width));
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
  auto const step = [&](extent key, auto count) __attribute__((always_inline)) {
    typename V::vector weights[registers * count];  // [key][register]
    unroll<registers * count>([&](auto i) __attribute__((always_inline)) {
      weights[i] = V::load(scores + key * lanes + i * V::width) - top[i % registers];
    });
    V::exp2(weights);
    unroll<registers * count>([&](auto i) __attribute__((always_inline)) {
      sum[i % registers] += weights[i];
      if constexpr (!Rounds) V::store(scores + key * lanes + i * V::width, weights[i]);
    });
    if constexpr (Rounds) store_weights(t.weights() + key * lanes, weights);
  };
  constexpr int together = keys_at_once<T>;
  extent key = 0;
  for (; key + together <= keys; key += together) step(key, std::integral_constant<int, together>{});
  for (; key < keys; key += depth) step(key, std::integral_constant<int, depth>{});
  unroll<registers>([&](auto j) __attribute__((always_inline)) { V::store(t.sum + j * V::width, sum[j]); });
}

/// Rounds weights to what is multiplied, those of a step beside each other.
template <class T>
[[gnu::noinline]] void round_weights(const tile<T>& t) {
  using V = simd<accumulate_t<T>>;
  constexpr int registers = tile_shape<accumulate_t<T>>::registers, lanes = registers * V::width,
                depth = dot_step<T>::depth;
  for (extent key = 0; key < t.keys; key += depth) {
    typename V::vector weights[registers * depth];
    unroll<registers * depth>([&](auto i) __attribute__((always_inline)) {
      weights[i] = V::load(t.scores + key * lanes + i * V::width);
    });
    store_weights(t.weights() + key * lanes, weights);
  }
}

/// The scores of all keys.
template <class T>
[[gnu::noinline]] void score_all(const tile<T>& t) {
  using A = accumulate_t<T>;
  if (t.rows > 0) return score_rows(t.k, t.k_stride, t.keys, t.q, t.rows, t.dim, t.scores, t.factor, t.next);
  in_pieces<tile_shape<A>::score_rows>(t.keys, [&](extent first, auto rows) {
    score<T, rows>(t.k + first * t.k_stride, t.k_stride, t.q, t.dim, t.scores + first * tile_shape<A>::lanes, t.factor);
  });
}

/// Adds all values by their weights to outputs that have shrunk.
template <class T>
[[gnu::noinline]] void weigh_all(const tile<T>& t, const accumulate_t<T>* keep) {
  using A = accumulate_t<T>;
  if (t.rows > 0) {
    auto const weigh_rows_of = t.guarded ? weigh_rows<true, T> : weigh_rows<false, T>;
    return weigh_rows_of(t.v, t.v_stride, t.weights(), t.keys, keep, t.rows, t.value_dim, t.o);
  }
  if (t.guarded) return weigh_guarded(t, keep);
  in_pieces<tile_shape<A>::value_rows>(t.value_dim, [&](extent first, auto rows) {
    weigh<T, rows>(t.v + first * dot_step<T>::depth, t.v_stride, t.weights(), t.keys, keep,
                   t.o + first * tile_shape<A>::lanes);
  });
}

/// The tile with the keys that complete its first step and its last; they are hidden.
template <class Tile>
Tile in_steps(const Tile& t) {
  using A = typename Tile::A;
  constexpr int lanes = tile_shape<A>::lanes, depth = Tile::depth;
  Tile whole = t;
  whole.scores -= t.before * lanes;
  whole.v -= t.before * t.v_stride;
  whole.keys = round_up(t.before + t.keys, depth);
  auto const hide_rows = [&](extent first, extent last) {
    for (extent i = first * lanes; i < last * lanes; ++i) whole.scores[i] = -static_cast<A>(__builtin_inf());
  };
  hide_rows(0, t.before);
  hide_rows(t.before + t.keys, whole.keys);
  whole.before = 0;
  return whole;
}

/// What is done to the scores or weights of a tile where there is nothing to do.
struct unchanged {
  void operator()() const {}
};

/// Folds a block of keys into a tile of queries: the running softmax of every lane.
///
/// `change()` is called when scores are there, `thin()` when they have become weights and were added up.
template <class T, class Change, class Thin>
void fold(const tile<T>& t, Change change, Thin thin) {
  using A = accumulate_t<T>;
  score_all(t);
  change();
  if (t.hides != hiding::nothing) hide(t);
  alignas(simd<A>::bytes) A keep[tile_shape<A>::lanes];
  auto const whole = in_steps(t);
  if constexpr (std::is_same_v<Thin, unchanged> || dot_step<T>::depth == 1) {
    exponentiate<true>(whole, keep);
    thin();
  } else {
    exponentiate<false>(whole, keep);
    thin();
    round_weights(whole);
  }
  weigh_all(whole, keep);
}

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
