#pragma once

#include <cstdint>
#include <type_traits>

#include <ringfold/core/dtype.hpp>
#include <ringfold/kernel/cpu/simd.hpp>

/// \file
/// What registers multiply: numbers of the type that sums are kept in, or pairs of bf16.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// Whether this translation unit is compiled for a machine that multiplies pairs of bf16.
#if defined(__AVX512F__) && defined(__AVX512BF16__)
inline constexpr bool has_bf16_products = true;
#else
inline constexpr bool has_bf16_products = false;
#endif

/// One step of a dot product in every lane: `depth` adjacent numbers times as many others, added to the lane's sum.
///
/// A step of several is a chain of as many fused multiply-adds, in an order of its own.
template <class T>
struct dot_step {
  using V = simd<T>;
  static constexpr int depth = 1;

  [[gnu::always_inline]] static typename V::vector load(const T* from) { return V::load(from); }
  /// As load, from anywhere.
  [[gnu::always_inline]] static typename V::vector read(const T* from) {
    typename V::vector made;
    __builtin_memcpy(&made, from, sizeof made);
    return made;
  }
  [[gnu::always_inline]] static typename V::vector all(const T* from) { return V::all(*from); }
  [[gnu::always_inline]] static typename V::vector add(typename V::vector a, typename V::vector b,
                                                       typename V::vector sum) {
    return V::fused(a, b, sum);
  }
  /// As add, but a weight of 0 adds nothing, even times infinity.
  [[gnu::always_inline]] static typename V::vector add_seen(typename V::vector value, typename V::vector weight,
                                                            typename V::vector sum) {
    return weight != 0 ? add(value, weight, sum) : sum;
  }
  [[gnu::always_inline]] static void store(T* to, const typename V::vector (&weights)[depth]) {
    V::store(to, weights[0]);
  }
};

#if defined(__AVX512F__) && defined(__AVX512BF16__)
/// The second number's product is added first. Products are exact, sums are float, rounded to nearest even whatever
/// the mode; numbers and sums below the normal ones count as 0.
///
/// In assembly, for its intrinsics have other types in each compiler, and want <immintrin.h>.
template <>
struct dot_step<bf16> {
  using V = simd<float>;
  using vector = V::vector;
  using words = V::words;
  typedef std::uint16_t halves __attribute__((vector_size(V::bytes)));
  static constexpr int depth = 2;

  [[gnu::always_inline]] static words load(const bf16* from) {
    words made;
    __builtin_memcpy(&made, __builtin_assume_aligned(from, V::bytes), sizeof made);
    return made;
  }
  [[gnu::always_inline]] static words read(const bf16* from) {
    words made;
    __builtin_memcpy(&made, from, sizeof made);
    return made;
  }
  [[gnu::always_inline]] static words all(const bf16* from) {
    std::uint32_t pair;
    __builtin_memcpy(&pair, from, sizeof pair);
    return words{} + pair;
  }
  [[gnu::always_inline]] static vector add(words a, words b, vector sum) {
    asm("vdpbf16ps {%2, %1, %0|%0, %1, %2}" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
  }
  [[gnu::always_inline]] static vector add_seen(words values, words weights, vector sum) {
    auto const seen = (reinterpret_cast<halves>(weights) << 1) != 0;
    return add(values & reinterpret_cast<words>(seen), weights, sum);
  }
  /// Rounds each lane's two weights to bf16.
  [[gnu::always_inline]] static void store(bf16* to, const vector (&weights)[depth]) {
    auto const pairs = lane_by_lane(rounded(weights[0], weights[1]), std::make_integer_sequence<int, 2 * V::width>{});
    __builtin_memcpy(__builtin_assume_aligned(to, V::bytes), &pairs, sizeof pairs);
  }
  /// Rounds two registers to bf16, one after the other.
  [[gnu::always_inline]] static void store_adjacent(bf16* to, vector first, vector second) {
    auto const both = rounded(first, second);
    __builtin_memcpy(__builtin_assume_aligned(to, V::bytes), &both, sizeof both);
  }

 private:
  [[gnu::always_inline]] static halves rounded(vector first, vector second) {
    halves made;
    asm("vcvtne2ps2bf16 {%2, %1, %0|%0, %1, %2}" : "=v"(made) : "v"(second), "v"(first));
    return made;
  }
  template <int... I>
  [[gnu::always_inline]] static halves lane_by_lane(halves from, std::integer_sequence<int, I...>) {
    return shuffled<(I / 2 + I % 2 * V::width)...>(from, from);
  }
};
#endif

/// The type that elements are multiplied in.
template <class T, bool Widens>
using multiplied_t = std::conditional_t<std::is_same_v<T, bf16> && has_bf16_products && !Widens, T, accumulate_t<T>>;

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
