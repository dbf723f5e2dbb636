#include <doctest/doctest.h>

#include <span>
#include <type_traits>
#include <vector>

#include <ringfold/core/group.hpp>

using namespace ringfold;

namespace {

struct request {
  request() = default;
  request(request&&) = default;
  request& operator=(request&&) = default;
  void arrived(host_stream) {}
  void reusable(host_stream) {}
  bool test() { return true; }
};

struct lending_request : request {
  piece received(int) { return {}; }
  void release(host_stream) {}
};

// Remembers what was posted on it; sends nothing.
template <class Request>
struct fake {
  using stream = host_stream;
  int rank_, size_;
  std::vector<int>* posted = nullptr;

  int rank() const noexcept { return rank_; }
  int size() const noexcept { return size_; }
  Request post(exchange x, stream) {
    for (const piece& each : x.sends) posted->push_back(each.peer);
    return {};
  }
};
using plain = fake<request>;

static_assert(communicator<plain> && communicator<group<plain>> && communicator<group<group<plain>>>);
static_assert(!lends<plain> && !lends<group<plain>>);
static_assert(lends<fake<lending_request>> && lends<group<fake<lending_request>>>);
static_assert(std::is_same_v<stream_t<group<plain>>, host_stream> && std::is_same_v<space_t<plain>, host_space>);
static_assert(std::is_same_v<request_t<group<plain>>, request>);

template <class C>
std::vector<int> wires(const C& c) {
  std::vector<int> made;
  for (int rank = 0; rank < c.size(); ++rank) made.push_back(wire(c, rank));
  return made;
}

}  // namespace

TEST_CASE("a communicator that is no group is its own axis and its own wire") {
  plain const c{2, 6};
  CHECK(axis_of(c).stride == 1);
  CHECK(axis_of(c).count == 6);
  CHECK(wire(c, 4) == 4);
}

TEST_CASE("rows and columns of every grid") {
  for (int rows = 1; rows <= 5; ++rows) {
    for (int columns = 1; columns <= 5; ++columns) {
      for (int rank = 0; rank < rows * columns; ++rank) {
        auto const g = grid(plain{rank, rows * columns}, rows, columns);
        auto const row = g.row(), col = g.col();
        CHECK(row.size() == columns);
        CHECK(row.rank() == rank % columns);
        CHECK(axis_of(row).stride == 1);
        CHECK(axis_of(row).count == columns);
        CHECK(col.size() == rows);
        CHECK(col.rank() == rank / columns);
        CHECK(axis_of(col).stride == columns);
        CHECK(axis_of(col).count == rows);
        for (int c = 0; c < columns; ++c) CHECK(wire(row, c) == rank / columns * columns + c);
        for (int r = 0; r < rows; ++r) CHECK(wire(col, r) == r * columns + rank % columns);
        CHECK(wire(row, row.rank()) == rank);
        CHECK(wire(col, col.rank()) == rank);
      }
    }
  }
}

TEST_CASE("groups of groups multiply their strides") {
  // 24 ranks as 4 x (3 x 2): rank = 6 a + 2 b + c.
  for (int rank = 0; rank < 24; ++rank) {
    int const a = rank / 6, b = rank / 2 % 3, c = rank % 2;
    auto const outer = grid(plain{rank, 24}, 4, 6);
    auto const inner = grid(outer.row(), 3, 2);
    CHECK(inner.col().rank() == b);
    CHECK(inner.row().rank() == c);
    CHECK(axis_of(inner.col()).stride == 2);
    CHECK(wires(inner.col()) == std::vector{6 * a + c, 6 * a + 2 + c, 6 * a + 4 + c});
    CHECK(wires(inner.row()) == std::vector{6 * a + 2 * b, 6 * a + 2 * b + 1});

    auto const halves = grid(outer.col(), 2, 2);  // of the ranks b, c + 6 * {0, 1, 2, 3}
    CHECK(axis_of(halves.col()).stride == 12);
    CHECK(axis_of(halves.row()).stride == 6);
    CHECK(wires(halves.col()) == std::vector{rank % 12, rank % 12 + 12});
  }
}

TEST_CASE("a group posts on the wire of its communicator") {
  std::vector<int> posted;
  auto row = grid(plain{3, 6, &posted}, 2, 3).row();
  piece to{};
  to.peer = wire(row, 2);
  row.post({std::span(&to, 1), {}}, {});
  CHECK(posted == std::vector{5});
}

TEST_CASE("a group of some ranks") {
  group<plain> const odd{plain{5, 9}, 1, 2, 4};
  CHECK(odd.rank() == 2);
  CHECK(wires(odd) == std::vector{1, 3, 5, 7});
  group<plain> const alone{plain{8, 9}, 8, 1, 1};
  CHECK(alone.size() == 1);
  CHECK(wires(alone) == std::vector{8});
}

TEST_CASE("a group that the caller is not in, or that does not exist, is refused") {
  auto const refuse = [](int rank, int first, int stride, int count) {
    CHECK_THROWS_AS((group<plain>{plain{rank, 9}, first, stride, count}), usage_error);
  };
  refuse(2, 1, 2, 4);  // not a member
  refuse(0, 1, 1, 4);  // before the first
  refuse(5, 1, 1, 4);  // after the last
  refuse(1, 1, 2, 5);  // reaches rank 9 of 9
  refuse(1, 1, 0, 1);  // no stride
  refuse(1, 1, -1, 1);
  refuse(1, 1, 1, 0);        // no ranks
  refuse(1, -1, 2, 2);       // a rank below 0
  refuse(1, 1, 1 << 30, 4);  // beyond what an int counts
  CHECK_THROWS_WITH_AS((group<plain>{plain{2, 9}, 1, 2, 4}),
                       "group: first 1, stride 2, count 4 of 9 ranks does not hold rank 2", usage_error);
}

TEST_CASE("a grid that does not hold all ranks is refused") {
  CHECK_THROWS_WITH_AS(grid(plain{0, 6}, 4, 2), "grid: 4 x 2 ranks asked of a communicator of 6", usage_error);
  CHECK_THROWS_AS(grid(plain{0, 6}, 0, 6), usage_error);
  CHECK_THROWS_AS(grid(plain{0, 6}, -2, -3), usage_error);
  CHECK_THROWS_AS(grid(plain{0, 6}, 1 << 30, 1 << 30), usage_error);
}
