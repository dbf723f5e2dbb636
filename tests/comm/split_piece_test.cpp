#include <doctest/doctest.h>

#include <cstdint>

#include <cstddef>
#include <cstring>
#include <vector>

#include <ringfold/comm/split_piece.hpp>

using namespace ringfold;

namespace {

piece made(char* data, std::vector<extent> extents, std::vector<extent> strides, dtype type) {
  piece p;
  p.data = data;
  for (std::size_t axis = 0; axis < 4; ++axis) p.extents[axis] = extents[axis], p.strides[axis] = strides[axis];
  p.type = type;
  p.what = role::value;
  p.peer = 3;
  return p;
}

std::vector<char> read(const piece& p) {
  std::vector<char> bytes;
  extent const size = p.type.bytes();
  auto const* const data = static_cast<const char*>(p.data);
  for (extent a = 0; a < p.extents[0]; ++a) {
    for (extent b = 0; b < p.extents[1]; ++b) {
      for (extent c = 0; c < p.extents[2]; ++c) {
        for (extent d = 0; d < p.extents[3]; ++d) {
          char const* const element = data + a * p.strides[0] + b * p.strides[1] + c * p.strides[2] + d * p.strides[3];
          bytes.insert(bytes.end(), element, element + size);
        }
      }
    }
  }
  return bytes;
}

std::vector<piece> parts_of(const piece& p, extent limit) {
  std::vector<piece> parts;
  split_piece(p, limit, [&](const piece& part) { parts.push_back(part); });
  return parts;
}

}  // namespace

TEST_CASE("the parts of a piece are its bytes in order, none larger than the limit") {
  std::vector<char> memory(20000);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<char>(i * 31 + i / 251);
  piece const pieces[] = {
      made(memory.data(), {2, 3, 5, 4}, {480, 160, 32, 8}, {2, 64}),
      made(memory.data(), {2, 3, 5, 4}, {2048, 16, 100, 4}, {2, 32}),  // transposed, with gaps
      made(memory.data() + 9999, {3, 1, 7, 2}, {-1000, 0, -20, 2}, {4, 16}),
      made(memory.data(), {1, 1, 1, 1}, {0, 0, 0, 0}, {2, 64}),
  };
  for (piece const& whole : pieces) {
    for (extent limit = 1; limit < whole.bytes() + 2; ++limit) {
      CAPTURE(limit);
      std::vector<char> joined;
      for (piece const& part : parts_of(whole, limit)) {
        REQUIRE(part.bytes() <= limit);
        REQUIRE(part.bytes() > 0);
        REQUIRE(part.peer == whole.peer);
        REQUIRE(part.what == whole.what);
        std::vector<char> const bytes = read(part);
        joined.insert(joined.end(), bytes.begin(), bytes.end());
      }
      REQUIRE(joined == read(whole));
    }
  }
}

TEST_CASE("cuts do not depend on strides") {
  std::vector<char> memory(4096);
  piece const tight = made(memory.data(), {2, 3, 4, 5}, {240, 80, 20, 4}, {2, 32});
  piece const loose = made(memory.data(), {2, 3, 4, 5}, {4, 900, 200, 8}, {2, 32});
  for (extent limit = 1; limit < 500; ++limit) {
    std::vector<piece> const a = parts_of(tight, limit), b = parts_of(loose, limit);
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) REQUIRE(a[i].bytes() == b[i].bytes());
  }
}

TEST_CASE("no more parts than axes force") {
  std::vector<char> memory(1024);
  piece const whole = made(memory.data(), {1, 10, 4, 2}, {320, 32, 8, 4}, {2, 32});  // 10 rows of 32 bytes
  CHECK(parts_of(whole, 320).size() == 1);
  CHECK(parts_of(whole, 319).size() == 2);
  CHECK(parts_of(whole, 96).size() == 4);
  CHECK(parts_of(whole, 31).size() == 20);  // each row 24 + 8
  CHECK(parts_of(whole, 4).size() == 80);
  CHECK(parts_of(whole, 3).size() == 160);  // each element 3 + 1
}

TEST_CASE("an empty piece is one empty part") {
  piece const none = made(nullptr, {2, 0, 4, 2}, {320, 32, 8, 4}, {2, 32});
  std::vector<piece> const parts = parts_of(none, 1);
  REQUIRE(parts.size() == 1);
  CHECK(parts[0].bytes() == 0);
}

TEST_CASE("the first part of a piece beyond 2^31 bytes is the largest that fits") {
  // Nothing is read, so the memory need not be there.
  // Only addresses are made; nothing is read there.
  piece const huge = made(reinterpret_cast<char*>(std::uintptr_t{1} << 40), {1, extent{1} << 22, 1, 1024},
                          {0, 4096, 4096, 4}, {2, 32});  // 16 GiB
  extent const limit = 2147483647 / 4096 * 4096;
  extent total = 0, count = 0;
  split_piece(huge, limit, [&](const piece& part) {
    CHECK(part.bytes() <= limit);
    total += part.bytes(), ++count;
  });
  CHECK(total == extent{1} << 34);
  CHECK(count == 9);
}

TEST_CASE("a limit below one byte is refused") {
  piece const one = made(nullptr, {1, 1, 1, 0}, {0, 0, 0, 4}, {2, 32});
  CHECK_THROWS_AS(parts_of(one, 0), usage_error);
  CHECK_THROWS_AS(parts_of(one, -7), usage_error);
}
