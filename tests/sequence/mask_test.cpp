#include <doctest/doctest.h>

#include <limits>

#include <random>
#include <vector>

#include <ringfold/sequence/mask.hpp>

#include "sanitized.hpp"

using namespace ringfold;

namespace {

auto const odd_sum = [](extent query, extent key) { return (query + key) % 2 != 0; };

static_assert(mask<band> && mask<predicate_mask<bool (*)(extent, extent)>> && mask<predicate_mask<decltype(odd_sum)>>);
struct no_meets {
  bool allows(extent, extent) const;
  coverage classify(hull, hull) const;
};
struct no_classify {
  bool allows(extent, extent) const;
  bool meets(segment, segment) const;
};
struct no_allows {
  coverage classify(hull, hull) const;
  bool meets(segment, segment) const;
};
static_assert(!mask<no_meets> && !mask<no_classify> && !mask<no_allows> && !mask<int>);

static_assert(causal().allows(3, 3) && causal().allows(3, 0) && !causal().allows(3, 4));
static_assert(full().allows(0, extent{1} << 50) && full().allows(extent{1} << 50, 0));
static_assert(window(2).allows(5, 3) && !window(2).allows(5, 2) && !window(2).allows(5, 6));
static_assert(window(0, 1).allows(5, 6) && window(0, 1).allows(5, 5) && !window(0, 1).allows(5, 4));
static_assert((causal() & window(2, 7)) == window(2, 0) && (full() & causal()) == causal() &&
              (full() & full()) == full());
static_assert(causal().meets({0, 1, 4}, {3, 1, 4}) && !causal().meets({0, 1, 4}, {4, 1, 4}));

std::vector<extent> positions(segment s) {
  std::vector<extent> made;
  for (extent i = 0; i < s.count; ++i) made.push_back(s.first + i * s.step);
  return made;
}

template <class M>
bool any_pair(const M& m, segment queries, segment keys) {
  for (extent const q : positions(queries)) {
    for (extent const k : positions(keys)) {
      if (m.allows(q, k)) return true;
    }
  }
  return false;
}

// A mask by its definition, next to the band that should be it.
bool in_window(extent query, extent key, extent left, extent right) {
  return key >= query - left && key <= query + right;
}

std::vector<band> bands() {
  std::vector<band> made = {full(), causal(), band{0, band::unbounded}};
  for (extent left = 0; left <= 4; ++left) {
    for (extent right = 0; right <= 3; ++right) made.push_back(window(left, right));
  }
  for (extent const offset : {-5, -2, 1, 4}) {
    for (const band& m : {causal(), band{0, band::unbounded}, window(0), window(2, 1)})
      made.push_back(m.shifted(offset));
  }
  made.push_back(window(2).shifted(3) & causal());  // nothing
  return made;
}

}  // namespace

TEST_CASE("a band allows what its definition says") {
  for (const band& m : bands()) {
    for (extent q = 0; q < 12; ++q) {
      for (extent k = 0; k < 12; ++k) REQUIRE(m.allows(q, k) == in_window(q, k, m.left(), m.right()));
    }
  }
}

TEST_CASE("meets is exact: every pair of small segments, of every step and count") {
  // First positions are differences only, so queries may start at one place.
  for (const band& m : bands()) {
    for (extent query_step : {-3, -1, 0, 1, 2, 3, 5}) {
      for (extent query_count = 0; query_count <= 4; ++query_count) {
        for (extent key_step : {-2, -1, 0, 1, 2, 3, 7}) {
          for (extent key_count = 0; key_count <= 4; ++key_count) {
            for (extent key_first = -14; key_first <= 14; key_first += sanitized ? 5 : 1) {
              segment const queries{0, query_step, query_count}, keys{key_first, key_step, key_count};
              if (m.meets(queries, keys) != any_pair(m, queries, keys)) {
                FAIL("band " << m.left() << "," << m.right() << " queries step " << query_step << " count "
                             << query_count << " keys first " << key_first << " step " << key_step << " count "
                             << key_count);
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE("meets is exact: random segments") {
  for (unsigned seed = 0; seed < 20'000; ++seed) {
    std::mt19937 random(seed);
    auto const below = [&](unsigned bound) { return static_cast<extent>(random() % bound); };
    band const m = window(below(20), below(20));
    extent const step = 1 + below(9);
    segment const queries{below(100), step, below(12)}, keys{below(100), seed % 2 ? step : 1 + below(9), below(12)};
    CAPTURE(seed);
    REQUIRE(m.meets(queries, keys) == any_pair(m, queries, keys));
  }
}

TEST_CASE("meets far away from 0, in constant time for equal steps") {
  extent const far = extent{1} << 40, many = extent{1} << 30;
  CHECK(window(5, 5).meets({far, 64, many}, {far + 5, 64, many}));
  CHECK_FALSE(window(5, 5).meets({far, 64, many}, {far + 6, 64, many}));
  CHECK_FALSE(causal().meets({0, 1, many}, {many, 1, many}));
  CHECK(causal().meets({0, 1, many + 1}, {many, 1, many}));
  CHECK(full().meets({0, 1, 1}, {far, 1, 1}));
}

TEST_CASE("classify is sound: skip and full hold for every pair, and say no less than they can") {
  for (const band& m : bands()) {
    for (extent q_low = 0; q_low < 6; ++q_low) {
      for (extent q_high = q_low; q_high < 8; ++q_high) {
        for (extent k_low = 0; k_low < 9; ++k_low) {
          for (extent k_high = k_low; k_high < 11; ++k_high) {
            bool any = false, all = true;
            for (extent q = q_low; q <= q_high; ++q) {
              for (extent k = k_low; k <= k_high; ++k) any |= m.allows(q, k), all &= m.allows(q, k);
            }
            coverage const exact = all ? coverage::full : any ? coverage::partial : coverage::skip;
            REQUIRE(m.classify({q_low, q_high}, {k_low, k_high}) == exact);
          }
        }
      }
    }
  }
}

TEST_CASE("both masks at once is a band again, and allows what both do") {
  for (const band& a : bands()) {
    for (const band& b : bands()) {
      band const both = a & b;
      for (extent q = 0; q < 8; ++q) {
        for (extent k = 0; k < 8; ++k) REQUIRE(both.allows(q, k) == (a.allows(q, k) && b.allows(q, k)));
      }
    }
  }
}

TEST_CASE("a mask given by a function") {
  predicate_mask const odd(odd_sum);
  CHECK(odd.allows(1, 2));
  CHECK_FALSE(odd.allows(2, 2));
  CHECK(odd.classify({0, 0}, {1, 1}) == coverage::partial);
  for (extent step = 1; step <= 3; ++step) {
    for (extent count = 0; count <= 3; ++count) {
      for (extent first = 0; first <= 3; ++first) {
        segment const queries{0, 2, 3}, keys{first, step, count};
        CHECK(odd.meets(queries, keys) == any_pair(odd, queries, keys));
      }
    }
  }
  CHECK_FALSE(odd.meets({0, 1, 0}, {0, 1, 5}));

  auto const odd_and_causal = odd & causal();
  static_assert(mask<decltype(odd_and_causal)>);
  CHECK(odd_and_causal.allows(3, 2));
  CHECK_FALSE(odd_and_causal.allows(2, 3));
  CHECK_FALSE(odd_and_causal.allows(3, 1));
  CHECK((causal() & odd & window(1)).allows(3, 2));
  CHECK_FALSE((causal() & odd & window(1)).allows(3, 0));
}

TEST_CASE("visible is exact over all segments of two shards, in every layout") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    extent const tokens = static_cast<extent>(random() % 40);
    int const ranks = 1 + static_cast<int>(random() % 6);
    extent const width = 1 + static_cast<extent>(random() % 5);
    layout const layouts[] = {contiguous(tokens, ranks), zigzag(tokens, ranks), striped(tokens, ranks),
                              striped(tokens, ranks, width)};
    layout const &queries = layouts[random() % 4], &keys = layouts[random() % 4];
    auto const all = bands();
    band const m = all[random() % all.size()];
    for (int a = 0; a < ranks; ++a) {
      for (int b = 0; b < ranks; ++b) {
        bool any = false;
        queries.for_each_position(a, [&](extent, extent q) {
          keys.for_each_position(b, [&](extent, extent k) { any |= in_window(q, k, m.left(), m.right()); });
        });
        REQUIRE(visible(m, queries.segments(a), keys.segments(b)) == any);
      }
    }
  }
}

TEST_CASE("visible does not look at stripes one by one that are far from each other") {
  struct counted_band {
    band inner;
    long* times;
    bool allows(extent q, extent k) const { return inner.allows(q, k); }
    coverage classify(hull q, hull k) const { return ++*times, inner.classify(q, k); }
    bool meets(segment q, segment k) const { return ++*times, inner.meets(q, k); }
  };
  layout const tokens = striped(65536, 64, 2);  // 512 stripes each, 126 apart
  long times = 0;
  counted_band const mask{window(16), &times};
  CHECK_FALSE(visible(mask, tokens.segments(40), tokens.segments(20)));
  CHECK(times < 20 * 512);
  CHECK(visible(mask, tokens.segments(40), tokens.segments(39)));
}

TEST_CASE("a negative width is refused") {
  CHECK_THROWS_WITH_AS(window(-1, 2), "window: widths -1, 2; none may be negative", usage_error);
  CHECK_THROWS_WITH_AS(window(3, -4), "window: widths 3, -4; none may be negative", usage_error);
}

TEST_CASE("a window wider than any sequence is as wide as there is") {
  extent const most = std::numeric_limits<extent>::max();
  CHECK(window(most, most) == full());
  CHECK(window(most, 0) == causal());
  CHECK(window(1, most).meets({0, 1, 4}, {100, 1, 4}));
  CHECK(window(most, most).classify({0, 3}, {100, 103}) == coverage::full);
}
