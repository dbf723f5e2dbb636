#include <ringfold/core/overlap.hpp>

#include <doctest/doctest.h>

#include <random>
#include <set>

using namespace ringfold;

TEST_CASE("parts of one packed tensor lie side by side") {
  float numbers[2 * 5 * 3 * 4] = {};
  auto const qkv = dense(numbers, 2, 5, 3, 4);
  auto const part = [&](extent first, extent count) { return slice(qkv, head_axis, first, count); };
  CHECK_FALSE(detail::overlap(part(0, 1), part(1, 2)));
  CHECK_FALSE(detail::overlap(slice(part(2, 1), row_axis, 1, 3), part(0, 2)));
  CHECK(detail::overlap(part(0, 2), part(1, 2)));
  view<const float, 4> shifted = part(1, 2);
  shifted.data = reinterpret_cast<float*>(reinterpret_cast<char*>(numbers) + 4 * sizeof(float) - 1);
  CHECK(detail::overlap(part(0, 1), shifted));  // by a byte
  auto const first_batch = [&](extent head) {
    auto made = slice(part(head, 1), 0, 0, 1);
    made.strides[0] = 0;  // of an axis of one element a stride says nothing
    return made;
  };
  CHECK_FALSE(detail::overlap(first_batch(0), first_batch(1)));
  CHECK(detail::overlap(first_batch(1), first_batch(1)));
}

TEST_CASE("views of equal strides overlap when they share an element, told without looking at each") {
  std::mt19937 random(1);
  int apart = 0, both = 0;
  for (int round = 0; round < 20000; ++round) {
    static int numbers[200];
    view<int, 3> a{numbers + 100, {}, {}}, b = a;
    extent stride = 1;
    for (int axis : {2, 0, 1}) {
      a.extents[axis] = 1 + random() % 3, b.extents[axis] = 1 + random() % 3;
      a.strides[axis] = b.strides[axis] = random() % 2 == 0 ? stride : -stride;
      stride = stride * (1 + static_cast<extent>(random() % 4)) + static_cast<extent>(random() % 2);
    }
    extent const moved = static_cast<extent>(random() % 40) - 20;
    auto const elements = [](const view<int, 3>& of, extent from) {
      std::set<extent> all;
      for (extent i = 0; i < of.extents[0]; ++i) {
        for (extent j = 0; j < of.extents[1]; ++j) {
          for (extent k = 0; k < of.extents[2]; ++k) {
            all.insert(from + i * of.strides[0] + j * of.strides[1] + k * of.strides[2]);
          }
        }
      }
      return all;
    };
    b.data += moved;  // looked at, not into
    auto const of_a = elements(a, 0), of_b = elements(b, moved);
    bool shared = false;
    for (extent const each : of_b) shared = shared || of_a.contains(each);
    bool const told = detail::overlap(a, b);
    CHECK(told == shared);
    (shared ? both : apart) += 1;
  }
  CHECK(apart > 2000);
  CHECK(both > 2000);
}

TEST_CASE("views of other strides overlap when bytes between their ends do") {
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
