#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include <ringfold/algebra/exponential.hpp>
#include <ringfold/core/sizes.hpp>

/// \file
/// Registers of numbers by the compilers' vector extensions: one source for AVX-512, AVX2, NEON and plain machines.

// Code for different registers is different code: translation units compiled for different CPUs may be linked together.
#if defined(__AVX512F__) && defined(__AVX512BF16__)
#define RINGFOLD_SIMD simd_512_bf16
#elif defined(__AVX512F__)
#define RINGFOLD_SIMD simd_512
#elif defined(__AVX__)
#define RINGFOLD_SIMD simd_256
#else
#define RINGFOLD_SIMD simd_128
#endif

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// Calls f with the constants 0 .. Count - 1. Register tiles need it: GCC 12 keeps them in memory when a for loop
/// walks over them below -O3.
template <int Count, class F>
[[gnu::always_inline]] inline void unroll(F f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, I>{}), ...);
  }
  (std::make_integer_sequence<int, Count>{});
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

/// The unsigned integer of so many bytes.
template <int Bytes>
using unsigned_of =
    std::conditional_t<Bytes == 8, std::uint64_t, std::conditional_t<Bytes == 4, std::uint32_t, std::uint16_t>>;

/// The numbers at so many places of both, those of b behind those of a.
template <int... Places, class V>
[[gnu::always_inline]] inline V shuffled(V a, V b) {
#if defined(__NVCC__) && !defined(__clang__)  // its front end expands no pack among the other's arguments
  typedef unsigned_of<sizeof(V) / sizeof...(Places)> places __attribute__((vector_size(sizeof(V))));
  return __builtin_shuffle(a, b, places{Places...});
#else
  return __builtin_shufflevector(a, b, Places...);
#endif
}

/// The widest register of A that this translation unit is compiled for.
template <class A>
struct simd {
  static_assert(std::is_same_v<A, float> || std::is_same_v<A, double>, "[ringfold] simd: float or double");
#if defined(__AVX512F__)
  static constexpr int bytes = 64, registers = 32;
#elif defined(__AVX__)
  static constexpr int bytes = 32, registers = 16;
#elif defined(__aarch64__)
  static constexpr int bytes = 16, registers = 32;
#else
  static constexpr int bytes = 16, registers = 16;
#endif
  static constexpr int width = bytes / static_cast<int>(sizeof(A));

  using integer = std::conditional_t<sizeof(A) == 4, std::int32_t, std::int64_t>;
  using word = std::make_unsigned_t<integer>;
  typedef A vector __attribute__((vector_size(bytes)));
  typedef integer integers __attribute__((vector_size(bytes)));
  typedef word words __attribute__((vector_size(bytes)));

  [[gnu::always_inline]] static vector load(const A* from) {
    vector made;
    __builtin_memcpy(&made, __builtin_assume_aligned(from, bytes), sizeof made);
    return made;
  }
  [[gnu::always_inline]] static integers load_integers(const integer* from) {
    integers made;
    __builtin_memcpy(&made, __builtin_assume_aligned(from, bytes), sizeof made);
    return made;
  }
  [[gnu::always_inline]] static void store(A* to, vector value) {
    __builtin_memcpy(__builtin_assume_aligned(to, bytes), &value, sizeof value);
  }
  [[gnu::always_inline]] static vector all(A value) { return value - vector{}; }  // + would lose the sign of -0
  [[gnu::always_inline]] static vector numbers(integers of) { return __builtin_convertvector(of, vector); }

  /// a * b + c, rounded once wherever the hardware can: left to the compiler, it would depend on the optimisation level.
  [[gnu::always_inline]] static vector fused(vector a, vector b, vector c) {
    constexpr bool is_float = sizeof(A) == 4;
#if __has_builtin(__builtin_elementwise_fma)
    return __builtin_elementwise_fma(a, b, c);
#elif defined(__AVX512F__)
    if constexpr (is_float) return __builtin_ia32_vfmaddps512_mask(a, b, c, every_lane, current_rounding);
    if constexpr (!is_float) return __builtin_ia32_vfmaddpd512_mask(a, b, c, every_lane, current_rounding);
#elif defined(__FMA__)
    if constexpr (is_float) return __builtin_ia32_vfmaddps256(a, b, c);
    if constexpr (!is_float) return __builtin_ia32_vfmaddpd256(a, b, c);
#else
    (void)is_float;
    return a * b + c;
#endif
  }

  /// The sum of all numbers, halves first.
  template <int Half = width / 2>
  [[gnu::always_inline]] static A total(vector of) {
    if constexpr (Half > 0) {
      return total<Half / 2>(of + exchanged<Half>(of, std::make_integer_sequence<int, width>{}));
    } else {
      return of[0];
    }
  }

  /// The larger of each; a where b is not a number.
  [[gnu::always_inline]] static vector larger(vector a, vector b) { return a < b ? b : a; }

  /// 2^x of numbers that are not above 0, within 2 ulp: integers are exact, from half a step below the normal numbers on
  /// lies 0, and what is not a number stays so.
  ///
  /// Step by step for several at once: a chain of steps for each would wait in the scheduler for most of its time.
  template <int Count>
  [[gnu::always_inline]] static void exp2(vector (&x)[Count]) {
    constexpr bool is_float = sizeof(A) == 4;
    constexpr int mantissa = is_float ? 23 : 52, bias = is_float ? 127 : 1023;
    vector part[Count], whole[Count];
#if defined(__AVX512F__)
    (void)mantissa;
    integers small[Count];
    unroll<Count>([&](auto i) __attribute__((always_inline)) { whole[i] = nearest(x[i]); });
    unroll<Count>([&](auto i) __attribute__((always_inline)) {
      small[i] = x[i] < all(1 - bias);
      part[i] = small[i] ? vector{} : x[i] - whole[i];  // -inf less itself would be invalid
    });
    power(part);
    unroll<Count>([&](auto i) __attribute__((always_inline)) {
      x[i] = small[i] ? vector{} : times_power_of_2(part[i], whole[i]);
    });
#else
    // Adding `shift` rounds x to an integer n and leaves n + bias in the low bits; from there it becomes the exponent
    // of 2^n, which is 0 for n = -bias.
    constexpr A shift = A{3} * static_cast<A>(word{1} << (mantissa - 1)) + bias;
    unroll<Count>([&](auto i) __attribute__((always_inline)) {
      x[i] = x[i] < all(-bias) ? all(-bias) : x[i];
      whole[i] = x[i] + shift;
      part[i] = x[i] - (whole[i] - shift);
    });
    power(part);
    unroll<Count>([&](auto i) __attribute__((always_inline)) {
      words const bits = __builtin_bit_cast(words, whole[i]) << mantissa;
      x[i] = part[i] * __builtin_bit_cast(vector, bits);
    });
#endif
  }
  [[gnu::always_inline]] static vector exp2(vector x) {
    vector one[1] = {x};
    exp2(one);
    return one[0];
  }

  /// tanh, within 2 ulp of 1.
  [[gnu::always_inline]] static vector tanh(vector x) { return hyperbolic_tangent<simd, A, vector>(x); }
  /// The same of numbers smaller than tanh_is_near_0.
  [[gnu::always_inline]] static vector tanh_near_0(vector x) { return hyperbolic_tangent_near_0<simd, A, vector>(x); }

 private:
  /// Each number where that one was whose place differs in one bit.
  template <int Bit, int... I>
  [[gnu::always_inline]] static vector exchanged(vector of, std::integer_sequence<int, I...>) {
    return shuffled<(I ^ Bit)...>(of, of);
  }
#if defined(__AVX512F__)
  static constexpr int current_rounding = 4;
  static constexpr auto every_lane = static_cast<std::conditional_t<sizeof(A) == 4, unsigned short, unsigned char>>(-1);

  /// Rounded to whole numbers.
  [[gnu::always_inline]] static vector nearest(vector x) {
    if constexpr (sizeof(A) == 4) return __builtin_ia32_rndscaleps_mask(x, 0, x, every_lane, current_rounding);
    if constexpr (sizeof(A) == 8) return __builtin_ia32_rndscalepd_mask(x, 0, x, every_lane, current_rounding);
  }
  /// x * 2^whole.
  [[gnu::always_inline]] static vector times_power_of_2(vector x, vector whole) {
    if constexpr (sizeof(A) == 4) return __builtin_ia32_scalefps512_mask(x, whole, x, every_lane, current_rounding);
    if constexpr (sizeof(A) == 8) return __builtin_ia32_scalefpd512_mask(x, whole, x, every_lane, current_rounding);
  }
#endif
  /// 2^f for f in [-1/2, 1/2]: minimax polynomials with relative errors 2^-28 and 2^-58; 2^0 is exactly 1.
  template <int Count>
  [[gnu::always_inline]] static void power(vector (&f)[Count]) {
    if constexpr (sizeof(A) == 4) {
      horner(f, 0x1.414d26p-13f, 0x1.5f0556p-10f, 0x1.3b2e12p-7f, 0x1.c6af86p-5f, 0x1.ebfbdcp-3f, 0x1.62e43p-1f, 1.0f);
    } else {
      horner(f, 0x1.e7c5d3146d867p-32, 0x1.e618fb191a74dp-28, 0x1.b5265507a22aep-24, 0x1.62bfc945e56f3p-20,
             0x1.ffcbfbc615391p-17, 0x1.4309130e0524ep-13, 0x1.5d87fe78c3e89p-10, 0x1.3b2ab6fba0678p-7,
             0x1.c6b08d704a043p-5, 0x1.ebfbdff82c5a1p-3, 0x1.62e42fefa39efp-1, 1.0);
    }
  }
  /// A polynomial, highest coefficient first.
  template <int Count, class... C>
  [[gnu::always_inline]] static void horner(vector (&x)[Count], A first, C... rest) {
    vector sum[Count];
    unroll<Count>([&](auto i) __attribute__((always_inline)) { sum[i] = all(first); });
    auto const next = [&](A coefficient) __attribute__((always_inline)) {
      unroll<Count>([&](auto i) __attribute__((always_inline)) { sum[i] = fused(sum[i], x[i], all(coefficient)); });
    };
    (next(rest), ...);
    unroll<Count>([&](auto i) __attribute__((always_inline)) { x[i] = sum[i]; });
  }
};

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
