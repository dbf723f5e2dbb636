#include <ringfold/sequence/shifted.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include <ringfold/sequence/documents.hpp>

using namespace ringfold;

namespace {

auto const odd_and_near = [](extent query, extent key) { return (query + key) % 2 != 0 && key <= query; };
constexpr extent most = std::numeric_limits<extent>::max(), least = std::numeric_limits<extent>::min();

static_assert(mask<shifted_mask<band>> && mask<shifted_mask<packed<band>>>);
static_assert(std::is_same_v<decltype(shifted(causal(), 1)), band>);
static_assert(bottom_right(causal(), 3, 5) == band{band::unbounded, 2} && bottom_right(full(), 3, 5) == full());
static_assert(bottom_right(causal(), 4, 4) == causal());
static_assert(!bottom_right(causal(), 5, 3).allows(1, 0) && bottom_right(causal(), 5, 3).allows(2, 0));
static_assert(window(3).shifted(5).shifted(-5) == window(3));

// Every rectangle and pair of segments in a small square, by the definition: query i is asked as i + offset.
template <class M, class Allows>
void check(const M& m, Allows allowed) {
  extent const n = 9;
  for (extent q = 0; q < n; ++q) {
    for (extent k = 0; k < n; ++k) REQUIRE(m.allows(q, k) == allowed(q, k));
  }
  for (extent step : {-2, 1, 2, 3}) {
    for (extent first = 0; first < n; ++first) {
      segment const queries{first, step, step < 0 ? first / 2 + 1 : (n - 1 - first) / step + 1};
      for (extent key = 0; key < n; ++key) {
        for (extent count = 0; key + count <= n; ++count) {
          segment const keys{key, 1, count};
          bool any = false;
          for (extent i = 0; i < queries.count; ++i) {
            for (extent j = 0; j < count; ++j) any = any || allowed(queries.first + i * step, key + j);
          }
          REQUIRE(m.meets(queries, keys) == any);
          if (step != 1 || count == 0) continue;
          bool all = true;
          for (extent i = first; i <= queries.last(); ++i) {
            for (extent j = key; j < key + count; ++j) all = all && allowed(i, j);
          }
          auto const covered = m.classify({first, queries.last()}, {key, key + count - 1});
          if (covered == coverage::skip) REQUIRE(!any);
          if (covered == coverage::full) REQUIRE(all);
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("a shifted mask is the mask asked for query i + offset, before the first key and behind the last too") {
  predicate_mask const by_pairs(odd_and_near);
  auto const parts = documents{3, 0, 4} & causal();
  for (extent offset = -12; offset <= 12; ++offset) {
    CAPTURE(offset);
    for (const band& m : {full(), causal(), window(2), window(0, 1)}) {
      auto const allowed = [&](extent q, extent k) {
        return k >= q + offset - m.left() && k <= q + offset + m.right();
      };
      check(shifted(m, offset), allowed);
      check(shifted_mask<band>(m, offset), allowed);
    }
    check(shifted(by_pairs, offset), [&](extent q, extent k) { return odd_and_near(q + offset, k); });
    check(shifted(shifted(by_pairs, 3), offset - 3), [&](extent q, extent k) { return odd_and_near(q + offset, k); });
    check(shifted(parts, offset), [&](extent q, extent k) {
      extent const i = q + offset;
      return i >= 0 && i < 7 && (i < 3) == (k < 3) && k <= i && k < 7;
    });
  }
}

TEST_CASE("far shifts do not overflow, and what is unbounded stays so") {
  extent const far = extent{1} << 60, long_ago = -far;
  CHECK(full().shifted(far) == full());
  CHECK(full().shifted(long_ago) == full());
  CHECK(causal().shifted(far).allows(0, far - 1));
  CHECK_FALSE(causal().shifted(long_ago).allows(far - 1, 0));
  CHECK(causal().shifted(long_ago).classify({0, far - 1}, {0, far - 1}) == coverage::skip);
  CHECK_FALSE(causal().shifted(long_ago).meets({0, 1, far}, {0, 1, far}));
  CHECK(window(5, 5).shifted(far - 3).meets({0, 64, 100}, {far - 8, 64, 1}));
  CHECK_FALSE(window(5, 5).shifted(far - 3).meets({0, 64, 100}, {far - 9, 64, 1}));
  CHECK_THROWS_WITH_AS(shifted(causal(), most), "shifted: an offset of 9223372036854775807; at most 2^60 either way",
                       usage_error);
  CHECK_THROWS_AS(shifted(causal(), least), usage_error);
  CHECK_THROWS_AS(shifted(predicate_mask(odd_and_near), least), usage_error);
  CHECK_THROWS_WITH_AS(bottom_right(causal(), -1, 3), "bottom_right: -1 queries, 3 keys; none may be negative",
                       shape_error);
}
