#include <ringfold/core/overlap.hpp>

#include <doctest/doctest.h>

using namespace ringfold;

TEST_CASE("views overlap when bytes between their ends do") {
  float numbers[24] = {};
  auto const whole = dense(numbers, 4, 6);
  CHECK(detail::overlap(whole, slice(whole, 0, 1, 1)));
  CHECK(detail::overlap(slice(whole, 0, 0, 2), slice(whole, 0, 1, 2)));
  CHECK_FALSE(detail::overlap(slice(whole, 0, 0, 2), slice(whole, 0, 2, 2)));
  view<float, 1> const backwards{numbers + 5, {6}, {-1}};
  CHECK(detail::overlap(backwards, slice(whole, 0, 0, 1)));
  CHECK_FALSE(detail::overlap(backwards, slice(whole, 0, 1, 1)));
}

TEST_CASE("an empty view overlaps nothing, even where it points into another") {
  float numbers[24] = {};
  auto const whole = dense(numbers, 4, 6);
  auto const empty = dense(numbers + 7, 0, 6);
  CHECK_FALSE(detail::overlap(whole, empty));
  CHECK_FALSE(detail::overlap(empty, whole));
  CHECK_FALSE(detail::overlap(empty, empty));
}
