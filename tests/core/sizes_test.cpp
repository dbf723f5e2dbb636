#include <doctest/doctest.h>

#include <limits>

#include <ringfold/core/sizes.hpp>

using namespace ringfold;

namespace {
constexpr extent two_31 = extent{1} << 31, two_32 = extent{1} << 32, two_62 = extent{1} << 62;
constexpr extent most = std::numeric_limits<extent>::max(), least = std::numeric_limits<extent>::min();

static_assert(sizeof(extent) == 8 && least < 0);
static_assert(checked_multiply(two_31 - 1, two_31 - 1) == 4611686014132420609);
static_assert(checked_multiply(two_31 - 1, 2) == 4294967294);
static_assert(checked_multiply(two_31, two_31) == two_62);
static_assert(checked_multiply(two_32 + 16, two_31 - 16) == 9223372002495037184);
static_assert(checked_multiply(two_62, 1) == two_62 && checked_multiply(two_62, -2) == least);
static_assert(checked_multiply(two_62, 0) == 0 && checked_multiply(-3, 5) == -15);
static_assert(checked_add(two_62, two_62 - 1) == most && checked_add(least, most) == -1);
static_assert(round_up(0, 64) == 0 && round_up(1, 64) == 64 && round_up(64, 64) == 64 && round_up(65, 64) == 128);
static_assert(round_up(two_32 + 16, 64) == two_32 + 64 && round_up(7, 3) == 9 && round_up(5, 1) == 5);
static_assert(round_up(most - 63, 64) == most - 63);
}  // namespace

TEST_CASE("a product that does not fit is refused") {
  CHECK_THROWS_WITH_AS(checked_multiply(two_62, 2), "4611686018427387904 * 2 does not fit 64 bits", size_overflow);
  CHECK_THROWS_AS(checked_multiply(two_32, two_31), size_overflow);
  CHECK_THROWS_AS(checked_multiply(two_32 + 16, two_31), size_overflow);
  CHECK_THROWS_AS(checked_multiply(least, -1), size_overflow);
  CHECK_THROWS_AS(checked_multiply(most, most), size_overflow);
  CHECK_THROWS_AS(checked_multiply(-two_62, 3), size_overflow);
}

TEST_CASE("a sum that does not fit is refused") {
  CHECK_THROWS_WITH_AS(checked_add(most, 1), "9223372036854775807 + 1 does not fit 64 bits", size_overflow);
  CHECK_THROWS_AS(checked_add(two_62, two_62), size_overflow);
  CHECK_THROWS_AS(checked_add(least, -1), size_overflow);
}

TEST_CASE("rounding up does not run over the end") { CHECK_THROWS_AS(round_up(most - 62, 64), size_overflow); }
