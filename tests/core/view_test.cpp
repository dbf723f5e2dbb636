#include <doctest/doctest.h>

#include <numeric>
#include <type_traits>
#include <vector>

#include <ringfold/core/view.hpp>

namespace mine {
struct with_member {
  std::vector<float> values = std::vector<float>(6);
  ringfold::view<float, 2> ringfold_view() { return ringfold::dense(values.data(), 2, 3); }
  ringfold::view<const float, 2> ringfold_view() const { return ringfold::dense(values.data(), 2, 3); }
};
struct foreign {
  double* first;
  long rows, columns, leading;
};
struct nothing {};
struct device {};
}  // namespace mine

template <>
struct ringfold::tensor_traits<mine::foreign> {
  static view<double, 2> as_view(const mine::foreign& t) { return {t.first, {t.rows, t.columns}, {t.leading, 1}}; }
};

using namespace ringfold;

namespace {

constexpr extent two_32 = extent{1} << 32;

static_assert(tensor<view<float, 4>> && tensor<const view<float, 4>&> && tensor<view<float, 2, mine::device>>);
static_assert(tensor<mine::with_member> && tensor<const mine::with_member&> && tensor<mine::foreign&>);
static_assert(!tensor<mine::nothing> && !tensor<float*> && !tensor<int>);
static_assert(std::is_same_v<decltype(as_view(std::declval<mine::with_member&>())), view<float, 2>>);
static_assert(std::is_same_v<decltype(as_view(std::declval<const mine::with_member&>())), view<const float, 2>>);

static_assert(std::is_convertible_v<view<float, 4>, view<const float, 4>>);
static_assert(!std::is_convertible_v<view<const float, 4>, view<float, 4>>);
static_assert(!std::is_convertible_v<view<float, 4, mine::device>, view<const float, 4>>);
static_assert(std::is_trivially_copyable_v<view<float, 4>> && std::is_aggregate_v<view<float, 4>>);
static_assert(view<float, 2>{nullptr, {3, 0}, {}}.size() == 0 &&
              view<float, 2>{nullptr, {two_32 + 16, 2}, {}}.size() == 2 * two_32 + 32);

static_assert(range{2, 4}.within({0, 9}) == range{2, 4} && range{2, 4}.within({3, 9}) == range{3, 3});
static_assert(range{2, 4}.within({0, 3}) == range{2, 1} && range{2, 4}.within({7, 2}) == range{6, 0} &&
              range{2, 4}.within({0, 1}) == range{2, 0});

std::vector<int> counted(std::size_t size) {
  std::vector<int> made(size);
  std::iota(made.begin(), made.end(), 0);
  return made;
}

}  // namespace

TEST_CASE("a dense view counts like a C array") {
  int memory[2][3][4] = {};
  auto const v = dense(&memory[0][0][0], 2, 3, 4);
  static_assert(std::is_same_v<decltype(dense(&memory[0][0][0], 2, 3, 4)), view<int, 3>>);
  static_assert(std::is_same_v<decltype(dense<mine::device>(&memory[0][0][0], 2)), view<int, 1, mine::device>>);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 4; ++k) CHECK(&v(i, j, k) == &memory[i][j][k]);
    }
  }
  CHECK(v.size() == 24);
  v(1, 2, 3) = 5;
  CHECK(memory[1][2][3] == 5);
}

TEST_CASE("extents beyond 32 bits") {
  auto const v = dense(static_cast<char*>(nullptr), 2, two_32 + 16, 8);
  CHECK(v.strides[0] == (two_32 + 16) * 8);
  CHECK(v.size() == (two_32 + 16) * 16);
  auto const far = view<char, 2>{nullptr, {two_32, two_32}, {}};
  CHECK_THROWS_AS(far.size(), size_overflow);
  CHECK_THROWS_AS(dense(static_cast<char*>(nullptr), two_32, two_32, 4), size_overflow);
}

TEST_CASE("a slice is the middle of an axis") {
  auto memory = counted(60);
  auto const whole = dense(memory.data(), 3, 4, 5);
  auto const part = slice(whole, 1, 1, 2);
  CHECK(part.extents[0] == 3);
  CHECK(part.extents[1] == 2);
  CHECK(part.extents[2] == 5);
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 2; ++j) {
      for (int k = 0; k < 5; ++k) CHECK(&part(i, j, k) == &whole(i, j + 1, k));
    }
  }
  CHECK(slice(slice(whole, 0, 1, 2), 0, 1, 1)(0, 0, 0) == 40);
}

TEST_CASE("an empty slice does not move a pointer beyond its memory") {
  CHECK(slice(view<int, 1>{nullptr, {0}, {1}}, 0, 1000, 0).data == nullptr);
  auto memory = counted(4);
  auto const none = slice(dense(memory.data(), 4), 0, 4, 0);
  CHECK(none.size() == 0);
  CHECK(none.data == memory.data());
}

TEST_CASE("a slice of no memory has none") {
  CHECK(slice(dense(static_cast<int*>(nullptr), 4, 5), 0, 2, 1).data == nullptr);
}

TEST_CASE("transposed views are the same elements") {
  auto memory = counted(24);
  auto const v = dense(memory.data(), 2, 3, 4);
  auto const t = transposed(v, 0, 2);
  CHECK(t.extents[0] == 4);
  CHECK(t.extents[2] == 2);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 4; ++k) CHECK(&t(k, j, i) == &v(i, j, k));
    }
  }
  auto const same = transposed(v, 1, 1);
  CHECK(&same(1, 2, 3) == &v(1, 2, 3));
}

TEST_CASE("a stride may be negative or 0") {
  auto memory = counted(5);
  view<int, 1> const backwards{memory.data() + 4, {5}, {-1}}, repeated{memory.data() + 2, {5}, {0}};
  for (int i = 0; i < 5; ++i) {
    CHECK(backwards(i) == 4 - i);
    CHECK(repeated(i) == 2);
  }
}

TEST_CASE("a view of const elements from one that may write") {
  auto memory = counted(6);
  view<const int, 2> const read = transposed(dense(memory.data(), 2, 3), 0, 1);
  CHECK(read.data == memory.data());
  CHECK(read.extents[0] == 3);
  CHECK(read.strides[0] == 1);
  CHECK(read.strides[1] == 3);
}

TEST_CASE("a tensor joins by a member or by traits") {
  mine::with_member owner;
  as_view(owner)(1, 2) = 3;
  const mine::with_member& read = owner;
  CHECK(as_view(read)(1, 2) == 3);

  double memory[12] = {};
  memory[5] = 7;
  mine::foreign const t{memory, 3, 2, 4};
  CHECK(as_view(t)(1, 1) == 7);
  CHECK(as_view(mine::foreign{memory, 3, 2, 4}).strides[0] == 4);
  CHECK(as_view(as_view(t)).data == memory);
}
