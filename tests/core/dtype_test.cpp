#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>

#include <ringfold/core/dtype.hpp>

using namespace ringfold;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

static_assert(sizeof(bf16) == 2 && sizeof(f16) == 2 && sizeof(dtype) == 4);
static_assert(std::is_trivially_copyable_v<bf16>);
static_assert(std::is_trivially_copyable_v<f16>);
static_assert(!std::is_convertible_v<float, bf16> && !std::is_convertible_v<float, f16>);
static_assert(f16(1.f).bits == 0x3c00 && bf16(1.f).bits == 0x3f80 && float(f16(0.5f)) == 0.5f);  // at compile time too
static_assert(dtype_of<float> == dtype{2, 32} && dtype_of<const double> == dtype{2, 64});
static_assert(dtype_of<f16> == dtype{2, 16} && dtype_of<bf16> == dtype{4, 16} && dtype_of<f16> != dtype_of<bf16>);
static_assert(dtype{2, 32}.bytes() == 4 && dtype{2, 16, 3}.bytes() == 6 && dtype{1, 4, 2}.bytes() == 1 &&
              dtype{1, 1, 9}.bytes() == 2);
static_assert(std::is_same_v<accumulate_t<const bf16>, float> && std::is_same_v<accumulate_t<f16>, float>);
static_assert(std::is_same_v<accumulate_t<float>, float> && std::is_same_v<accumulate_t<double>, double>);

template <class Half>
Half from_bits(unsigned bits) {
  Half made{};
  made.bits = static_cast<std::uint16_t>(bits);
  return made;
}

// The value that sign, exponent and mantissa mean, worked out by arithmetic.
double meaning(unsigned bits, int mantissa_bits, int exponent_bits) {
  int const bias = (1 << (exponent_bits - 1)) - 1;
  int const exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  int const mantissa = static_cast<int>(bits) & ((1 << mantissa_bits) - 1);
  double const sign = bits & 0x8000u ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return mantissa ? std::nan("") : sign * double(infinity);
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

// Rounds to nearest even over the values of a format, by distance: the two neighbours are found by bisection.
template <class Half>
unsigned nearest(float value, unsigned infinity_bits) {
  unsigned low = 0, high = infinity_bits;
  double const size = std::fabs(double(value));
  auto const worth = [&](unsigned bits) {
    // Overflow starts halfway to the number that would follow the largest one.
    if (bits == infinity_bits)
      return 2 * double(float(from_bits<Half>(bits - 1))) - double(float(from_bits<Half>(bits - 2)));
    return double(float(from_bits<Half>(bits)));
  };
  if (size >= worth(high)) return infinity_bits;
  while (high - low > 1) {
    unsigned const middle = (low + high) / 2;
    (worth(middle) <= size ? low : high) = middle;
  }
  double const below = size - worth(low), above = worth(high) - size;
  return below < above || (below == above && low % 2 == 0) ? low : high;
}

template <class Half>
void check_rounding(float value, unsigned infinity_bits) {
  CAPTURE(value);
  unsigned const sign = std::signbit(value) ? 0x8000u : 0u;
  REQUIRE(Half(value).bits == (nearest<Half>(value, infinity_bits) | sign));
}

// Every value, every midpoint between two, and the floats on both sides of each.
template <class Half>
void check_every_boundary(unsigned infinity_bits) {
  for (unsigned bits = 0; bits < infinity_bits; ++bits) {
    float const here = from_bits<Half>(bits);
    float const next = bits + 1 < infinity_bits ? float(from_bits<Half>(bits + 1)) : here;
    for (float const at : {here, here / 2 + next / 2}) {
      for (float const value : {at, std::nextafter(at, infinity), std::nextafter(at, -infinity)}) {
        check_rounding<Half>(value, infinity_bits);
        check_rounding<Half>(-value, infinity_bits);
      }
    }
  }
}

}  // namespace

TEST_CASE("every f16 and every bf16 means what its bits say") {
  for (unsigned bits = 0; bits < 0x10000u; ++bits) {
    double const half = meaning(bits, 10, 5), brain = meaning(bits, 7, 8);
    float const f = from_bits<f16>(bits), b = from_bits<bf16>(bits);
    CAPTURE(bits);
    REQUIRE((std::isnan(half) ? std::isnan(f) : double(f) == half));
    REQUIRE((std::isnan(brain) ? std::isnan(b) : double(b) == brain));
    REQUIRE(std::signbit(f) == (bits >= 0x8000u));
    REQUIRE(std::signbit(b) == (bits >= 0x8000u));
  }
}

TEST_CASE("every f16 and every bf16 survives the way through float") {
  for (unsigned bits = 0; bits < 0x10000u; ++bits) {
    f16 const f = from_bits<f16>(bits);
    bf16 const b = from_bits<bf16>(bits);
    CAPTURE(bits);
    // A signalling NaN comes back quiet, with the rest of its payload.
    REQUIRE(f16(float(f)).bits == (std::isnan(float(f)) ? bits | 0x0200u : bits));
    REQUIRE(bf16(float(b)).bits == (std::isnan(float(b)) ? bits | 0x0040u : bits));
  }
}

TEST_CASE("rounding to nearest even, at every boundary") {
  check_every_boundary<f16>(0x7c00);
  check_every_boundary<bf16>(0x7f80);
}

TEST_CASE("the edges of f16") {
  CHECK(f16(65504.f).bits == 0x7bff);
  CHECK(f16(std::nextafter(65520.f, 0.f)).bits == 0x7bff);
  CHECK(f16(65520.f).bits == 0x7c00);
  CHECK(f16(-1e30f).bits == 0xfc00);
  CHECK(f16(infinity).bits == 0x7c00);
  CHECK(f16(-infinity).bits == 0xfc00);
  CHECK(f16(0x1p-24f).bits == 1);
  CHECK(f16(0x1p-25f).bits == 0);
  CHECK(f16(std::nextafter(0x1p-25f, 1.f)).bits == 1);
  CHECK(f16(-0x1p-149f).bits == 0x8000);
  CHECK(f16(-0.f).bits == 0x8000);
}

TEST_CASE("the edges of bf16") {
  float const most = std::numeric_limits<float>::max();
  CHECK(bf16(most).bits == 0x7f80);
  CHECK(bf16(-most).bits == 0xff80);
  CHECK(bf16(infinity).bits == 0x7f80);
  CHECK(bf16(-infinity).bits == 0xff80);
  CHECK(bf16(0x1p-149f).bits == 0);
  CHECK(bf16(-0.f).bits == 0x8000);
}

TEST_CASE("a NaN stays one, however small its payload") {
  for (std::uint32_t const word : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    float const nan = std::bit_cast<float>(word);
    CHECK(std::isnan(float(bf16(nan))));
    CHECK(std::isnan(float(f16(nan))));
    CHECK(std::signbit(float(bf16(nan))) == (word >= 0x80000000u));
    CHECK(std::signbit(float(f16(nan))) == (word >= 0x80000000u));
  }
}

#if defined(__FLT16_MAX__) && !defined(__clang__) && defined(__SSE2__)
TEST_CASE("f16 agrees with the compiler's own half precision") {
  std::mt19937 random(1);
  for (int i = 0; i < 1'000'000; ++i) {
    auto const word = static_cast<std::uint32_t>(random());
    float const any = std::bit_cast<float>(word);
    float const near = std::bit_cast<float>((word & 0x87ffffffu) + 0x33000000u);  // subnormal halves and small ones
    for (float const value : {any, near}) {
      if (std::isnan(value)) continue;
      CAPTURE(value);
      REQUIRE(f16(value).bits == std::bit_cast<std::uint16_t>(static_cast<_Float16>(value)));
    }
  }
}
#endif
