#pragma once

#include <cstdint>
#include <type_traits>

#include <ringfold/core/config.hpp>

/// \file
/// Element types: the 16-bit storage formats, the tag that travels with untyped memory, and the type sums are kept in.

namespace ringfold {

/// An element type at run time, laid out as DLPack's DLDataType.
struct dtype {
  std::uint8_t code = 0;  ///< 0 signed, 1 unsigned, 2 IEEE float, 4 bfloat
  std::uint8_t bits = 0;
  std::uint16_t lanes = 1;
  friend constexpr bool operator==(const dtype&, const dtype&) = default;
  constexpr std::int64_t bytes() const { return (std::int64_t{bits} * lanes + 7) / 8; }
};

/// bfloat16 storage: the upper half of a float, rounded to nearest even.
struct bf16 {
  std::uint16_t bits = 0;
  bf16() = default;
  RINGFOLD_HD explicit constexpr bf16(float value) : bits(rounded(__builtin_bit_cast(std::uint32_t, value))) {}
  RINGFOLD_HD constexpr operator float() const { return __builtin_bit_cast(float, std::uint32_t{bits} << 16); }

 private:
  RINGFOLD_HD static constexpr std::uint16_t rounded(std::uint32_t word) {
    bool const not_a_number = (word & 0x7fffffffu) > 0x7f800000u;
    std::uint32_t const up = not_a_number ? 0x00400000u : 0x7fffu + ((word >> 16) & 1u);
    return static_cast<std::uint16_t>((not_a_number ? word | up : word + up) >> 16);
  }
};

/// IEEE half precision storage, rounded to nearest even.
struct f16 {
  std::uint16_t bits = 0;
  f16() = default;
  RINGFOLD_HD explicit constexpr f16(float value) : bits(rounded(__builtin_bit_cast(std::uint32_t, value))) {}
  RINGFOLD_HD constexpr operator float() const {
    std::uint32_t const sign = std::uint32_t{bits & 0x8000u} << 16, magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u) return __builtin_bit_cast(float, sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    if (magnitude >= 0x0400u) return __builtin_bit_cast(float, sign | ((magnitude << 13) + 0x38000000u));
    float const tiny = static_cast<float>(magnitude) * 0x1p-24f;
    return sign ? -tiny : tiny;
  }

 private:
  RINGFOLD_HD static constexpr std::uint16_t rounded(std::uint32_t word) {
    std::uint32_t const sign = word >> 16 & 0x8000u, magnitude = word & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) {
      std::uint32_t const even = magnitude + 0xfffu + (magnitude >> 13 & 1u);
      return static_cast<std::uint16_t>(sign | (even - 0x38000000u) >> 13);
    }
    // Below the smallest normal half, adding 0.5 lines the float's last place up with the half's.
    float const lined_up = __builtin_bit_cast(float, magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (__builtin_bit_cast(std::uint32_t, lined_up) - 0x3f000000u));
  }
};

/// What ringfold must know of an element type. Specialise it to join with a type of your own:
/// `template <> struct ringfold::scalar_traits<my_half> { using accumulate = float; static constexpr dtype type{2, 16}; };`
template <class T>
struct scalar_traits;
template <>
struct scalar_traits<float> {
  using accumulate = float;
  static constexpr dtype type{2, 32};
};
template <>
struct scalar_traits<double> {
  using accumulate = double;
  static constexpr dtype type{2, 64};
};
template <>
struct scalar_traits<bf16> {
  using accumulate = float;
  static constexpr dtype type{4, 16};
};
template <>
struct scalar_traits<f16> {
  using accumulate = float;
  static constexpr dtype type{2, 16};
};

/// The type that sums over elements of T are kept in: float for 32 bits and fewer, double for double.
template <class T>
using accumulate_t = typename scalar_traits<std::remove_const_t<T>>::accumulate;

/// The run-time tag of T.
template <class T>
inline constexpr dtype dtype_of = scalar_traits<std::remove_const_t<T>>::type;

}  // namespace ringfold
