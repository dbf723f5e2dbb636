#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include <ringfold/core/workspace.hpp>

using namespace ringfold;

namespace {

template <class Space>
extent take_some(arena<Space>& memory) {
  memory.template take<char>(1);
  memory.template take<double>(9);
  memory.template take<float>(0);
  memory.template take_view<float>(3, 4, 5);
  memory.template take<char>(64);
  return memory.used();
}

struct block {
  explicit block(extent bytes) : memory(std::aligned_alloc(64, static_cast<std::size_t>(bytes))) {}
  ~block() { std::free(memory); }
  block(const block&) = delete;
  void* memory;
};

}  // namespace

TEST_CASE("everything is aligned to 64 bytes and nothing overlaps") {
  block const memory(1024);
  arena<> a(memory.memory, 1024);
  auto const address = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
  char* const first = a.take<char>(65);
  double* const second = a.take<double>(3);
  auto const third = a.take_view<float>(2, 3);
  CHECK(first == memory.memory);
  CHECK(address(second) - address(first) == 128);
  CHECK(address(third.data) - address(second) == 64);
  CHECK(third.extents[0] == 2);
  CHECK(third.strides[0] == 3);
  CHECK(a.used() == 256);
  CHECK_FALSE(a.measuring());
}

TEST_CASE("an arena that measures tells what a real one needs, to the byte") {
  arena<> measure;
  CHECK(measure.measuring());
  extent const bytes = take_some(measure);
  CHECK(bytes == 64 + 128 + 0 + 256 + 64);

  block const memory(bytes);
  arena<> enough(memory.memory, bytes), too_small(memory.memory, bytes - 1);
  CHECK(take_some(enough) == bytes);
  CHECK_THROWS_WITH_AS(take_some(too_small),
                       "workspace: 511 bytes given, more than that needed; ask workspace_bytes() first", usage_error);
  arena<> none(nullptr, 0);
  CHECK_THROWS_AS(none.take<char>(1), usage_error);
  arena<> still_none(nullptr, 0);
  still_none.take<char>(0);
}

TEST_CASE("what is used in turn takes the same memory, and counts as much as the largest") {
  auto const take = [](arena<>& from) {
    from.take<char>(10);
    char* first[4] = {};
    from.take_in_turn(4, [&](int turn) {
      first[turn] = from.take<char>(64 * (turn * 5 % 4));
      from.take<char>(64);
    });
    char* const behind = from.take<char>(1);
    CHECK((first[0] == first[1] && first[1] == first[2] && first[2] == first[3]));
    CHECK(behind - first[0] == 4 * 64);
    from.take_in_turn(0, [](int) {});
    return from.used();
  };
  arena<> measure;
  CHECK(take(measure) == 64 + 4 * 64 + 64);
  block const memory(6 * 64);
  arena<> enough(memory.memory, 6 * 64), too_small(memory.memory, 5 * 64 - 1);
  CHECK(take(enough) == 6 * 64);
  CHECK_THROWS_AS(take(too_small), usage_error);
}

TEST_CASE("a measuring arena hands out addresses that are distinct, never null, and of another space too") {
  arena<phantom_space> measure;
  auto const a = measure.take_view<float>(4), b = measure.take_view<float>(4);
  static_assert(std::is_same_v<decltype(a), const view<float, 1, phantom_space>>);
  CHECK(a.data != nullptr);
  CHECK(a.data != b.data);
}

TEST_CASE("more than there is room to count is refused") {
  arena<> measure;
  CHECK_THROWS_AS(measure.take<double>(extent{1} << 61), size_overflow);
  CHECK_THROWS_AS(measure.take_view<float>(extent{1} << 40, extent{1} << 40), size_overflow);
  arena<> large;
  large.take<char>((extent{1} << 32) + 16);
  CHECK(large.used() == (extent{1} << 32) + 64);
}

TEST_CASE("memory that is not aligned is refused") {
  CHECK_THROWS_WITH_AS(arena<>(reinterpret_cast<void*>(0x1048), 64),  // looked at, not into
                       "workspace: memory at 0x1048, 8 bytes behind a multiple of 64; begin at a multiple",
                       usage_error);
}
