#pragma once

#include <cstdint>

#include <ringfold/core/config.hpp>

/// \file
/// Our own 2^x and log2(x): the same bits from every compiler, optimisation level, instruction set and C library.
///
/// Every multiply-add is an explicit fma, so that contraction has nothing left to decide. Without hardware fma the
/// compiler calls the C library's, which is slower and exactly rounded too. The rounding mode is to nearest.

namespace ringfold {

namespace detail {

RINGFOLD_HD inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
RINGFOLD_HD inline double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }

namespace numbers {
// With exp2 and log2, what sums need of a number beyond operators. A user's number brings its own, by name.
RINGFOLD_HD inline float fma(float a, float b, float c) { return fused(a, b, c); }
RINGFOLD_HD inline double fma(double a, double b, double c) { return fused(a, b, c); }
/// The larger; a when b is not a number.
template <class A>
RINGFOLD_HD A max(A a, A b) {
  return a < b ? b : a;
}
}  // namespace numbers

/// last + x * (...): a polynomial in x, constant term first.
template <class T>
RINGFOLD_HD T polynomial(T, T last) {
  return last;
}
template <class T, class... C>
RINGFOLD_HD T polynomial(T x, T first, C... rest) {
  return fused(x, polynomial(x, rest...), first);
}

template <class T>
struct floating;

template <>
struct floating<float> {
  using word = std::uint32_t;
  using integer = std::int32_t;
  static constexpr int mantissa = 23, largest_exponent = 127;
  static constexpr float rounds = 0x1.8p23f;  // adding it rounds to an integer, held in the low bits
  static constexpr float infinity = __builtin_huge_valf(), not_a_number = __builtin_nanf("");
  static constexpr float smallest_normal = 0x1p-126f;
  static constexpr word sqrt_half = 0x3f3504f3u;
  static constexpr float log2_e = 0x1.715476p0f, ln_2 = 0x1.62e43p-1f;
  static constexpr float twice_log2_e_low = 0x1.4ae0cp-25f;

  // (2^f - 1) / f on [-1/2, 1/2], minimax with relative error 2^-28.
  RINGFOLD_HD static float power(float f) {
    return polynomial(f, ln_2, 0x1.ebfbdcp-3f, 0x1.c6af86p-5f, 0x1.3b2e12p-7f, 0x1.5f0556p-10f, 0x1.414d26p-13f);
  }
  // (log2((1 + s) / (1 - s)) - 2 log2(e) s) / s^3 as a function of z = s * s, minimax with relative error 2^-30.
  RINGFOLD_HD static float logarithm(float z) { return polynomial(z, 0x1.ec70d4p-1f, 0x1.274c38p-1f, 0x1.b95206p-2f); }
};

template <>
struct floating<double> {
  using word = std::uint64_t;
  using integer = std::int64_t;
  static constexpr int mantissa = 52, largest_exponent = 1023;
  static constexpr double rounds = 0x1.8p52;
  static constexpr double infinity = __builtin_huge_val(), not_a_number = __builtin_nan("");
  static constexpr double smallest_normal = 0x1p-1022;
  static constexpr word sqrt_half = 0x3fe6a09e667f3bcdu;
  static constexpr double log2_e = 0x1.71547652b82fep0, ln_2 = 0x1.62e42fefa39efp-1;
  static constexpr double twice_log2_e_low = 0x1.777d0ffda0d24p-55;

  // As above, with relative errors 2^-58 and 2^-59.
  RINGFOLD_HD static double power(double f) {
    return polynomial(f, ln_2, 0x1.ebfbdff82c5a1p-3, 0x1.c6b08d704a043p-5, 0x1.3b2ab6fba0678p-7, 0x1.5d87fe78c3e89p-10,
                      0x1.4309130e0524ep-13, 0x1.ffcbfbc615391p-17, 0x1.62bfc945e56f3p-20, 0x1.b5265507a22aep-24,
                      0x1.e618fb191a74dp-28, 0x1.e7c5d3146d867p-32);
  }
  RINGFOLD_HD static double logarithm(double z) {
    return polynomial(z, 0x1.ec709dc3a0456p-1, 0x1.2776c50ee711cp-1, 0x1.a61762d243854p-2, 0x1.484afcdac1119p-2,
                      0x1.0ca1244a0f3a0p-2, 0x1.c47881c645ac7p-3, 0x1.b5363edc18b94p-3);
  }
};

/// 2^x, where `rounded` holds x rounded to an integer in its low bits and `rest` is what rounding left of x.
/// Whatever an x out of range, or NaN, puts into the unsigned words is replaced at the end: no branches, so it vectorises.
template <class T>
RINGFOLD_HD T power_of_2(T x, T rounded, T rest) {
  using format = floating<T>;
  using word = typename format::word;
  word const exponent = __builtin_bit_cast(word, rounded) - __builtin_bit_cast(word, format::rounds);
  T const fraction = fused(rest, format::power(rest), T{1});
  T result = __builtin_bit_cast(T, __builtin_bit_cast(word, fraction) + (exponent << format::mantissa));
  result = x < T{1 - format::largest_exponent} ? T{0} : result;
  result = x >= T{format::largest_exponent + 1} ? format::infinity : result;
  return x != x ? x : result;
}

/// Up to this size, tanh is its part next to 0.
inline constexpr double tanh_is_near_0 = 0.625;

/// tanh of a number or of a register of them that are smaller than that, by Op's all and fused.
template <class Op, class T, class X>
RINGFOLD_HD X hyperbolic_tangent_near_0(X x) {
  X const square = x * x;
  auto const horner = [&](T first, auto... rest) {
    X sum = Op::all(first);
    ((sum = Op::fused(sum, square, Op::all(rest))), ...);
    return sum;
  };
  X slope;
  if constexpr (sizeof(T) == 4) {
    slope = horner(-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f, -3.33332819422e-1f);
  } else {
    slope = horner(-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3) /
            horner(1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3);
  }
  return Op::fused(x * square, slope, x);
}

/// As above, of any size; Op's exp2 need serve nothing above 0.
/// Source: Cephes (Moshier), for the part next to 0, where 1 - 2^x would cancel.
template <class Op, class T, class X>
RINGFOLD_HD X hyperbolic_tangent(X x) {
  X const size = x < T{0} ? -x : x, near = hyperbolic_tangent_near_0<Op, T, X>(x);
  X const shrunk = Op::exp2(Op::fused(size, Op::all(-2 * floating<T>::log2_e), Op::all(0)));
  X const far = (T{1} - shrunk) / (T{1} + shrunk);
  return size < T{tanh_is_near_0} ? near : (x < T{0} ? -far : far);
}

}  // namespace detail

/// Not in ringfold itself: whoever uses that namespace whole keeps the exp2 and log2 of the standard library.
namespace exponential {

/// 2^x for float and double, within 1 ulp; integers are exact, -inf gives 0, +inf and overflow give +inf, NaN gives NaN.
///
/// Results below the smallest normal number are 0: so they neither cost an assist nor depend on a thread's flush mode.
/// Pass a product as exp2(x, factor): a compiler may fuse a product of yours with the first addition in here.
template <class T>
RINGFOLD_HD T exp2(T x) {
  T const rounded = x + detail::floating<T>::rounds;
  return detail::power_of_2(x, rounded, x - (rounded - detail::floating<T>::rounds));
}

/// 2^(x * factor), with the product not rounded.
template <class T>
RINGFOLD_HD T exp2(T x, T factor) {
  T const rounded = detail::fused(x, factor, detail::floating<T>::rounds);
  T const rest = detail::fused(x, factor, -(rounded - detail::floating<T>::rounds));
  return detail::power_of_2(x * factor, rounded, rest);
}

/// log2(x) for float and double, within 1 ulp, near 1 too; powers of two are exact (subnormal ones as well), 0 gives
/// -inf, +inf gives +inf, negative numbers and NaN give NaN.
template <class T>
RINGFOLD_HD T log2(T x) {
  using format = detail::floating<T>;
  using word = typename format::word;
  if (!(x > 0)) return x == 0 ? -format::infinity : format::not_a_number;
  if (x == format::infinity) return x;

  // x = 2^exponent * m with m in [sqrt(1/2), sqrt(2)).
  bool const subnormal = x < format::smallest_normal;
  word const bits = __builtin_bit_cast(word, subnormal ? x * T(word{1} << format::mantissa) : x);
  auto const exponent = static_cast<typename format::integer>(bits - format::sqrt_half) >> format::mantissa;
  T const m = __builtin_bit_cast(T, bits - (static_cast<word>(exponent) << format::mantissa));

  // log2(m) = 2 log2(e) atanh(s) with s = (m - 1) / (m + 1), of which s + s_low is more than one number can hold.
  T const numerator = m - 1, denominator = m + 1, denominator_low = numerator - (denominator - 2);
  T const s = numerator / denominator;
  T const s_low = detail::fused(-s, denominator_low, detail::fused(-s, denominator, numerator)) / denominator;
  T const twice_log2_e = 2 * format::log2_e;
  T const first_low = detail::fused(s, format::twice_log2_e_low, s_low * twice_log2_e);
  T const z = s * s;
  T const log2_m = detail::fused(s, twice_log2_e, detail::fused(s * z, format::logarithm(z), first_low));
  return log2_m + static_cast<T>(subnormal ? exponent - format::mantissa : exponent);
}

/// tanh(x) for float and double, within 2 ulp of 1; -inf and +inf give -1 and +1, NaN gives NaN.
template <class T>
RINGFOLD_HD T tanh(T x) {
  struct plain {
    RINGFOLD_HD static T all(T value) { return value; }
    RINGFOLD_HD static T fused(T a, T b, T c) { return detail::fused(a, b, c); }
    RINGFOLD_HD static T exp2(T of) { return exponential::exp2(of); }
  };
  return detail::hyperbolic_tangent<plain, T>(x);
}

}  // namespace exponential

}  // namespace ringfold
