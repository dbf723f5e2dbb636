#include <doctest/doctest.h>

#include <type_traits>
#include <vector>

#include <ringfold/core/exchange.hpp>

using namespace ringfold;

namespace {
static_assert(static_cast<int>(role::state) + 1 == role_count);
static_assert(std::is_trivially_copyable_v<piece>);
static_assert(piece{}.elements() == 1 && piece{}.bytes() == 0);
}  // namespace

TEST_CASE("a piece counts its strides in bytes and puts missing axes in front") {
  std::vector<f16> memory(2 * 3 * 8);
  auto const v = slice(dense(memory.data(), 2, 3, 8), 2, 1, 5);
  piece const p = piece_of(v, role::key, 3);
  CHECK(p.data == memory.data() + 1);
  CHECK(p.type == dtype_of<f16>);
  CHECK(p.what == role::key);
  CHECK(p.peer == 3);
  CHECK(p.lease == nullptr);
  extent const extents[] = {1, 2, 3, 5}, strides[] = {0, 48, 16, 2};
  for (int axis = 0; axis < 4; ++axis) {
    CHECK(p.extents[axis] == extents[axis]);
    CHECK(p.strides[axis] == strides[axis]);
  }
  CHECK(p.elements() == 30);
  CHECK(p.bytes() == 60);
}

TEST_CASE("const elements and no peer") {
  double const memory[4] = {};
  piece const p = piece_of(dense(memory, 4), role::other);
  CHECK(p.data == memory);
  CHECK(p.peer == -1);
  CHECK(p.bytes() == 32);
}

TEST_CASE("a piece beyond 4 GiB, and one of nothing") {
  extent const rows = (extent{1} << 32) + 16;
  CHECK(piece_of(dense(static_cast<float*>(nullptr), rows, 3), role::value).bytes() == rows * 12);
  CHECK(piece_of(dense(static_cast<float*>(nullptr), 0, 3), role::value).bytes() == 0);
}

TEST_CASE("a view of a piece is the view it was made of") {
  std::vector<float> memory(2 * 3 * 4 * 5);
  auto const v = transposed(slice(dense(memory.data(), 2, 3, 4, 5), 3, 2, 3), 1, 2);
  auto const back = view_of<float, 4>(piece_of(v, role::query));
  CHECK(back.data == v.data);
  for (int axis = 0; axis < 4; ++axis) {
    CHECK(back.extents[axis] == v.extents[axis]);
    CHECK(back.strides[axis] == v.strides[axis]);
  }
  auto const row = view_of<const float, 1>(piece_of(view<float, 1>{memory.data(), {7}, {-4}}, role::lse));
  CHECK(row.extents[0] == 7);
  CHECK(row.strides[0] == -4);
}
