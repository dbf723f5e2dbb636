#include <ringfold/kernel/cpu/tile.hpp>

#include <cfenv>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

using namespace ringfold;

namespace {

template <class A>
A exp2_of(A x) {
  using V = detail::simd<A>;
  alignas(V::bytes) A lanes[V::width];
  V::store(lanes, V::exp2(V::all(x)));
  return lanes[V::width - 1];
}

/// The distance from a finer result in units of the last place of A.
template <class A, class Finer>
double ulps(A got, Finer wanted) {
  int exponent = 0;
  (void)std::frexp(wanted, &exponent);
  auto const last_place = std::ldexp(Finer{1}, exponent - std::numeric_limits<A>::digits);
  return static_cast<double>(std::fabs(static_cast<Finer>(got) - wanted) / last_place);
}

template <class A, class Finer>
void check_exp2(A lowest, int steps) {
  double worst = 0;
  for (int i = 0; i <= steps; ++i) {
    A const x = lowest * (static_cast<A>(i) / static_cast<A>(steps));
    worst = std::fmax(worst, ulps(exp2_of(x), std::exp2(static_cast<Finer>(x))));
  }
  CHECK(worst <= 2);
  int inexact = 0;
  for (A x = lowest; x <= 0; x += 1) inexact += exp2_of(x) != std::exp2(x);
  CHECK(inexact == 0);

  A const infinity = std::numeric_limits<A>::infinity();
  CHECK(exp2_of(A(-0.0)) == 1);
  CHECK(exp2_of(lowest - 1) == 0);
  CHECK(exp2_of(lowest * 1000) == 0);
  CHECK(exp2_of(std::numeric_limits<A>::lowest()) == 0);
  CHECK(exp2_of(-infinity) == 0);
  CHECK(std::isnan(exp2_of(std::numeric_limits<A>::quiet_NaN())));
}

}  // namespace

TEST_CASE("2^x is within 2 ulp, exact for whole numbers, 0 far below, and not a number where x is not") {
  check_exp2<float, double>(-126, 300000);
  check_exp2<double, long double>(-1022, 100000);
  // A payload whose low bits would reach the exponent.
  CHECK(std::isnan(exp2_of(__builtin_bit_cast(float, 0x7fc001ffu))));
}

TEST_CASE("2^x of what is hidden raises no exception") {
  std::feclearexcept(FE_ALL_EXCEPT);
  for (float const low : {-std::numeric_limits<float>::infinity(), -1e30F, -130.0F}) {
    asm volatile("" : : : "memory");
    CHECK(exp2_of(low) == 0);
  }
  CHECK(std::fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW) == 0);
}

TEST_CASE("the larger of a number and what is none is the number") {
  using V = detail::simd<float>;
  alignas(V::bytes) float lanes[V::width];
  V::store(lanes, V::larger(V::all(2), V::all(NAN)));
  CHECK(lanes[0] == 2);
  V::store(lanes, V::larger(V::all(-INFINITY), V::all(-3)));
  CHECK(lanes[V::width - 1] == -3);
}

#if defined(__FMA__)
TEST_CASE("a dot product is a chain of fused multiply-adds at every optimisation level") {
  constexpr int lanes = detail::tile_shape<float>::lanes;
  alignas(64) float q[2 * lanes], scores[lanes];
  float const once = 1 + 0x1p-12f, k[2] = {1, once};
  for (int lane = 0; lane < lanes; ++lane) {
    q[lane] = -(1 + 0x1p-11f);
    q[lanes + lane] = once;
  }
  detail::score<float, 1>(k, 2, q, 2, scores);
  for (float const each : scores) CHECK(each == 0x1p-24f);  // once * once = 1 + 2^-11 + 2^-24, unrounded
}
#endif
