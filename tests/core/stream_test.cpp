#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <vector>

#include <ringfold/core/stream.hpp>

using namespace ringfold;

namespace {

static_assert(stream<host_stream> && stream<phantom_stream>);
struct no_space {
  void copy(const piece&, const piece&) const;
};
struct no_copy {
  using space = host_space;
};
struct not_copyable : host_stream {
  not_copyable(not_copyable&&) = default;
};
static_assert(!stream<no_space> && !stream<no_copy> && !stream<not_copyable> && !stream<int>);

// A view of the given extents whose axes lie in memory in random order, with random gaps, some of them backwards.
struct scattered {
  std::vector<std::uint16_t> memory;
  view<std::uint16_t, 4> seen;

  scattered(const extent (&extents)[4], std::mt19937& random) {
    int order[4] = {0, 1, 2, 3};
    for (int i = 3; i > 0; --i) std::swap(order[i], order[random() % static_cast<unsigned>(i + 1)]);
    if (random() % 3 == 0) {
      for (int i = 0; i < 4; ++i) order[i] = 3 - i;  // dense order, so that folding happens too
    }
    extent stride = 1, first = 0;
    for (int const axis : order) {
      bool const backwards = random() % 8 == 0;
      seen.extents[axis] = extents[axis];
      seen.strides[axis] = backwards ? -stride : stride;
      if (backwards && extents[axis] > 0) first += (extents[axis] - 1) * stride;
      stride = stride * extents[axis] + (random() % 3 == 0 ? static_cast<extent>(random() % 3) : 0);
    }
    memory.resize(static_cast<std::size_t>(stride) + 1);
    for (auto& each : memory) each = static_cast<std::uint16_t>(random());
    seen.data = memory.data() + first;
  }
};

piece bits_of(const view<std::uint16_t, 4>& v) {
  view<f16, 4> same{reinterpret_cast<f16*>(v.data), {}, {}};
  for (int axis = 0; axis < 4; ++axis) same.extents[axis] = v.extents[axis], same.strides[axis] = v.strides[axis];
  return piece_of(same, role::other);
}

template <class F>
void for_each_index(const extent (&extents)[4], F f) {
  for (extent i = 0; i < extents[0]; ++i) {
    for (extent j = 0; j < extents[1]; ++j) {
      for (extent k = 0; k < extents[2]; ++k) {
        for (extent l = 0; l < extents[3]; ++l) f(i, j, k, l);
      }
    }
  }
}

}  // namespace

TEST_CASE("a copy between any two strided pieces, against an element loop") {
  for (unsigned seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    extent extents[4];
    for (extent& each : extents) each = static_cast<extent>(random() % 5 + (seed % 10 != 0));
    scattered const from(extents, random);
    scattered to(extents, random);
    auto expected = to.memory;
    for_each_index(extents, [&](extent i, extent j, extent k, extent l) {
      expected[static_cast<std::size_t>(&to.seen(i, j, k, l) - to.memory.data())] = from.seen(i, j, k, l);
    });
    host_stream{}.copy(bits_of(to.seen), bits_of(from.seen));
    REQUIRE(to.memory == expected);
  }
}

TEST_CASE("a copy of nothing touches nothing") {
  auto const none = piece_of(dense(reinterpret_cast<float*>(std::uintptr_t{64}), 3, 0, 5), role::other);
  host_stream{}.copy(none, none);
}

TEST_CASE("elementwise takes views of rank 1 to 4, together and in any strides") {
  std::vector<int> a(120), b(120), c(120);
  for (int i = 0; i < 120; ++i) a[static_cast<std::size_t>(i)] = i, b[static_cast<std::size_t>(i)] = 1000 * i;
  auto const sum = [](int& to, const int& x, int y) { to += x + y; };
  host_stream const stream;

  stream.elementwise(sum, dense(c.data(), 120), dense(a.data(), 120), view<int, 1>{b.data() + 119, {120}, {-1}});
  for (int i = 0; i < 120; ++i) REQUIRE(c[static_cast<std::size_t>(i)] == i + 1000 * (119 - i));

  c.assign(120, 0);
  stream.elementwise(sum, dense(c.data(), 10, 12), transposed(dense(a.data(), 12, 10), 0, 1), dense(b.data(), 10, 12));
  for (int i = 0; i < 10; ++i) {
    for (int j = 0; j < 12; ++j) REQUIRE(c[static_cast<std::size_t>(12 * i + j)] == 10 * j + i + 1000 * (12 * i + j));
  }

  c.assign(120, 0);
  view<const int, 3> const read = dense(a.data(), 4, 5, 6);
  stream.elementwise([](int& to, const int& x) { to = x; }, transposed(dense(c.data(), 6, 5, 4), 0, 2), read);
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 5; ++j) {
      for (int k = 0; k < 6; ++k) REQUIRE(c[static_cast<std::size_t>(k * 20 + j * 4 + i)] == i * 30 + j * 6 + k);
    }
  }

  c.assign(120, 0);
  stream.elementwise([](int& x) { ++x; }, slice(slice(dense(c.data(), 2, 3, 4, 5), 3, 1, 3), 1, 2, 1));
  for (int at = 0; at < 120; ++at) {
    REQUIRE(c[static_cast<std::size_t>(at)] == (at % 5 >= 1 && at % 5 <= 3 && at / 20 % 3 == 2));
  }
}

TEST_CASE("elementwise reads a broadcast axis again and again, and visits nothing of an empty view") {
  int row[3] = {1, 2, 3}, total[3] = {}, visits = 0;
  auto const add = [](int& to, int x) { to += x; };
  host_stream{}.elementwise(add, view<int, 2>{total, {4, 3}, {0, 1}}, view<int, 2>{row, {4, 3}, {0, 1}});
  CHECK(total[2] == 12);
  host_stream{}.elementwise([&](int) { ++visits; }, view<int, 3>{row, {3, 0, 2}, {1, 1, 1}});
  CHECK(visits == 0);
}

TEST_CASE("a phantom stream touches no data") {
  auto const nowhere = [](std::uintptr_t address) { return reinterpret_cast<float*>(address); };
  auto const v = dense<phantom_space>(nowhere(64), 2, 3, 4, 5);
  int visits = 0;
  phantom_stream{}.elementwise([&](float&, float) { ++visits; }, v, v);
  phantom_stream{}.copy(piece_of(v, role::key), piece_of(dense<phantom_space>(nowhere(0), 120), role::key));
  CHECK(visits == 0);
}
