#pragma once

#include <ringfold/kernel/cpu/rows.hpp>
#include <ringfold/kernel/cpu/tiling.hpp>
#include <ringfold/sequence/alibi.hpp>
#include <ringfold/sequence/bias.hpp>
#include <ringfold/sequence/dropout.hpp>

/// \file
/// What the parts of a score do to a tile. Parts that are asked often have code for registers; any other is called
/// pair by pair.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// Whether a score needs nothing but a scale.
template <class P>
inline constexpr bool is_plain = std::is_same_v<decltype(P::score.parts), unmodified>;

/// The pairs of a tile; lanes that hold no query repeat the last one's.
template <class A>
struct tile_pairs {
  using integer = typename simd<A>::integer;
  static constexpr int lanes = tile_shape<A>::lanes;
  alignas(64) integer queries[lanes];
  integer heads[lanes];
  extent batch = 0;
  const extent* key_positions = nullptr;
  extent keys = 0;

  template <class P>
  tile_pairs(const P& p, extent in_batch, const lanes_of& used, const extent* query_positions, const extent* at,
             extent count)
      : batch(p.first_batch + in_batch), key_positions(at), keys(count) {
    for (int lane = 0; lane < lanes; ++lane) {
      int const held = lane < used.count ? lane : used.count - 1;
      queries[lane] = static_cast<integer>(query_positions[used.row(held)]);
      heads[lane] = static_cast<integer>(p.head.first_query + used.head(held));
    }
  }

  token_pair operator()(extent key, int lane) const { return {batch, heads[lane], queries[lane], key_positions[key]}; }
};

/// Numbers for the pairs of a tile, [keys][lanes].
template <class A>
struct tile_scratch {
  A *slopes = nullptr, *keeps = nullptr;
};

/// Calls f(index, pair).
template <class A, class F>
void for_each_pair(const tile_pairs<A>& at, F f) {
  for (extent key = 0; key < at.keys; ++key) {
    for (int lane = 0; lane < at.lanes; ++lane) f(key * at.lanes + lane, at(key, lane));
  }
}

/// Calls f(pointer offset of a register, its lane, key) for all registers of a tile.
template <class A, class F>
[[gnu::always_inline]] inline void for_each_register(extent keys, F f) {
  for (extent key = 0; key < keys; ++key) {
    for (int lane = 0; lane < tile_shape<A>::lanes; lane += simd<A>::width) {
      f(key * tile_shape<A>::lanes + lane, lane, key);
    }
  }
}

/// Changes scores, in units of log2; where slopes are asked for, multiplies them by those of this part.
template <class Part, class A>
void change_scores(const Part& part, const tile_pairs<A>& at, A* scores, A* slopes) {
  if constexpr (Part::changes) {
    for_each_pair(at, [&](extent pair, const token_pair& where) {
      A const score = scores[pair] * static_cast<A>(1 / log2_of_e);
      if constexpr (Part::bends && Part::differentiable) {
        if (slopes != nullptr) slopes[pair] *= part.slope(score, where);
      }
      scores[pair] = part(score, where) * static_cast<A>(log2_of_e);
    });
  }
}

template <class A>
[[gnu::noinline]] void change_scores(const softcap_part& part, const tile_pairs<A>& at, A* scores, A* slopes) {
  using V = simd<A>;
  A const cap = static_cast<A>(part.cap * log2_of_e), shrink = static_cast<A>(1 / (part.cap * log2_of_e));
  auto const bend = [&](auto tanh) {
    for_each_register<A>(
        at.keys, [&](extent pair, int, extent) __attribute__((always_inline)) {
          auto const bent = tanh(V::load(scores + pair) * shrink);
          V::store(scores + pair, bent * cap);
          if (slopes != nullptr) V::store(slopes + pair, V::load(slopes + pair) * V::fused(-bent, bent, V::all(1)));
        });
  };
  // A cap is far from most scores.
  typename V::vector largest{};
  for_each_register<A>(
      at.keys, [&](extent pair, int, extent) __attribute__((always_inline)) {
        auto const score = V::load(scores + pair);
        largest = V::larger(V::larger(largest, score), -score);
      });
  bool near_0 = true;
  for (int lane = 0; lane < V::width; ++lane) near_0 = near_0 && largest[lane] * shrink < A(tanh_is_near_0);
  if (near_0) {
    bend([](auto x) __attribute__((always_inline)) { return V::tanh_near_0(x); });
  } else {
    bend([](auto x) __attribute__((always_inline)) { return V::tanh(x); });
  }
}

template <class A>
[[gnu::noinline]] void change_scores(const alibi_part& part, const tile_pairs<A>& at, A* scores, A*) {
  using V = simd<A>;
  alignas(64) A falls[tile_shape<A>::lanes];
  for (int lane = 0; lane < at.lanes; ++lane) {
    falls[lane] = static_cast<A>(-part.slope_of(at.heads[lane]) * log2_of_e);
  }
  for_each_register<A>(
      at.keys, [&](extent pair, int lane, extent key) __attribute__((always_inline)) {
        auto const from = static_cast<typename V::integer>(at.key_positions[key] - part.offset());
        auto const ahead = V::numbers(V::load_integers(at.queries + lane) - from);
        V::store(scores + pair, V::fused(V::load(falls + lane), ahead < 0 ? -ahead : ahead, V::load(scores + pair)));
      });
}

/// Row by row, as a bias lies in memory, and then turned: a column of it may have all its lines in one set of a cache.
template <class T, class A>
[[gnu::noinline]] void change_scores(const bias_part<T>& part, const tile_pairs<A>& at, A* scores, A*) {
  using V = simd<A>;
  constexpr int lanes = tile_shape<A>::lanes, keys = tile_shape<A>::keys;
  alignas(64) A rows[lanes * keys], turned[keys * lanes];
  bool const held = part.numbers.extents[3] == 1;  // one number holds for all keys
  bool adjacent = !held && part.numbers.strides[3] == 1;
  for (extent key = 1; key < at.keys; ++key) {
    adjacent = adjacent && at.key_positions[key] == at.key_positions[key - 1] + 1;
  }
  bool const alike = part.numbers.extents[1] == 1 && part.numbers.extents[2] == 1;  // for all lanes
  for (int lane = 0; lane < (alike ? 1 : lanes); ++lane) {
    const T* const from = &element_for(part.numbers, at(0, lane));
    A* const to = rows + lane * keys;
    if (adjacent) {
      for (extent key = 0; key < at.keys; ++key) to[key] = static_cast<A>(widen(from[key]));
    } else {
      extent const step = held ? 0 : part.numbers.strides[3];
      for (extent key = 0; key < at.keys; ++key) {
        to[key] = static_cast<A>(widen(from[(at.key_positions[key] - at.key_positions[0]) * step]));
      }
    }
  }
  auto const add = [&](auto number_of) __attribute__((always_inline)) {
    for_each_register<A>(
        at.keys, [&](extent pair, int, extent key) __attribute__((always_inline)) {
          auto const to_log2 = V::all(static_cast<A>(log2_of_e));
          V::store(scores + pair, V::fused(number_of(pair, key), to_log2, V::load(scores + pair)));
        });
  };
  if (alike) {
    add([&](extent, extent key) __attribute__((always_inline)) { return V::all(rows[key]); });
  } else {
    turn(rows, keys, lanes, at.keys, turned, lanes);
    add([&](extent pair, extent) __attribute__((always_inline)) { return V::load(turned + pair); });
  }
}
template <class T, class Sum, class A>
void change_scores(const learned_bias_part<T, Sum>& part, const tile_pairs<A>& at, A* scores, A* slopes) {
  change_scores(static_cast<const bias_part<T>&>(part), at, scores, slopes);
}

template <class Part, class A>
void change_scores(const optional_part<Part>& part, const tile_pairs<A>& at, A* scores, A* slopes) {
  if (part.present) change_scores(part.part, at, scores, slopes);
}

template <class First, class Then, class A>
void change_scores(const score_chain<First, Then>& part, const tile_pairs<A>& at, A* scores, A* slopes) {
  change_scores(part.first, at, scores, slopes);
  change_scores(part.then, at, scores, slopes);
}

/// Multiplies weights by what dropout leaves of them.
template <class Part, class A>
void keep_weights(const Part& part, const tile_pairs<A>& at, A* weights) {
  if constexpr (Part::drops) {
    for_each_pair(at, [&](extent pair, const token_pair& where) { weights[pair] *= part.template keep<A>(where); });
  }
}

template <class A>
[[gnu::noinline]] void keep_weights(const dropout_part& part, const tile_pairs<A>& at, A* weights) {
  constexpr int lanes = tile_shape<A>::lanes;
  alignas(64) std::uint32_t words[4][lanes];
  extent drawn = -1;  // the group of 4 keys that `words` are for
  for (extent key = 0; key < at.keys; ++key) {
    extent const group = at.key_positions[key] >> 2;
    if (group != drawn) {
      drawn = group;
      for (int lane = 0; lane < lanes; ++lane) {
        words[0][lane] = static_cast<std::uint32_t>(group);
        words[1][lane] = static_cast<std::uint32_t>(at.queries[lane]);
        words[2][lane] = static_cast<std::uint32_t>(at.heads[lane]);
        words[3][lane] = static_cast<std::uint32_t>(at.batch);
      }
      std::uint64_t state = part.seed();
      for (int round = 0; round < 10; ++round, state = philox::next(state)) {
        for (int lane = 0; lane < lanes; ++lane) {
          philox::turn(words[0][lane], words[1][lane], words[2][lane], words[3][lane],
                       static_cast<std::uint32_t>(state), static_cast<std::uint32_t>(state >> 32));
        }
      }
    }
    const std::uint32_t* const row = words[at.key_positions[key] & 3];
    for (int lane = 0; lane < lanes; ++lane) weights[key * lanes + lane] *= part.template factor<A>(row[lane]);
  }
}

template <class Part, class A>
void keep_weights(const optional_part<Part>& part, const tile_pairs<A>& at, A* weights) {
  if (part.present) keep_weights(part.part, at, weights);
}

template <class First, class Then, class A>
void keep_weights(const score_chain<First, Then>& part, const tile_pairs<A>& at, A* weights) {
  keep_weights(part.first, at, weights);
  keep_weights(part.then, at, weights);
}

/// values[i] *= factors[i], where a value that is 0 stays so, whatever the factor: nobody sees such a pair.
template <class A>
[[gnu::noinline]] void multiply_pairs(extent keys, const A* factors, A* values) {
  using V = simd<A>;
  for_each_register<A>(
      keys, [&](extent pair, int, extent) __attribute__((always_inline)) {
        auto const value = V::load(values + pair);
        V::store(values + pair, value != 0 ? value * V::load(factors + pair) : value);
      });
}

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
