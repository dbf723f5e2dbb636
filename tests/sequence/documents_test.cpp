#include <ringfold/sequence/documents.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include <ringfold/sequence/problem.hpp>
#include <ringfold/sequence/shifted.hpp>

using namespace ringfold;

static_assert(mask<packed<band>>);

namespace {

std::vector<extent> random_lengths(std::mt19937_64& random, int count) {
  std::vector<extent> lengths;
  for (int i = 0; i < count; ++i) lengths.push_back(static_cast<extent>(random() % 3 == 0 ? 0 : random() % 7));
  return lengths;
}

// By definition: the document that a position lies in, or -1.
int document_of(const std::vector<extent>& lengths, extent position) {
  extent end = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    end += lengths[i];
    if (position < end) return static_cast<int>(i);
  }
  return -1;
}

// A mask against its definition, over random segments, all pairs and the rectangles of the segments.
template <class M, class Allows>
void check(const M& m, Allows allowed, std::mt19937_64& random) {
  extent const n = 34;
  for (extent q = 0; q < n; ++q) {
    for (extent k = 0; k < n; ++k) REQUIRE(m.allows(q, k) == allowed(q, k));
  }
  for (int part = 0; part < 60; ++part) {
    auto const draw = [&] {
      extent const step = static_cast<extent>(random() % 5) - 1, count = static_cast<extent>(random() % 7);
      extent first = static_cast<extent>(random() % static_cast<unsigned>(n - 24));
      if (step < 0) first += 10;
      return segment{first, step, count};
    };
    segment const a = draw(), b = draw();
    bool any = false, all = true;
    hull qs{n, -1}, ks{n, -1};
    for (extent i = 0; i < a.count; ++i) {
      for (extent j = 0; j < b.count; ++j) {
        extent const q = a.first + i * a.step, k = b.first + j * b.step;
        any = any || allowed(q, k);
        qs = {std::min(qs.low, q), std::max(qs.high, q)}, ks = {std::min(ks.low, k), std::max(ks.high, k)};
      }
    }
    REQUIRE(m.meets(a, b) == any);
    if (qs.high < 0) continue;
    bool some = false;
    for (extent q = qs.low; q <= qs.high; ++q) {
      for (extent k = ks.low; k <= ks.high; ++k) some = some || allowed(q, k), all = all && allowed(q, k);
    }
    // Of bands it is exact: what is all seen lies in one document.
    REQUIRE(m.classify(qs, ks) == (all ? coverage::full : some ? coverage::partial : coverage::skip));
  }
}

}  // namespace

TEST_CASE("documents know where they lie, empty ones and padding too") {
  documents const some{3, 0, 1, 4};
  CHECK(some.count() == 4);
  CHECK(some.tokens() == 8);
  for (extent p = 0; p < 12; ++p) {
    int const expected = p < 3 ? 0 : p < 4 ? 2 : p < 8 ? 3 : 4;
    CHECK(some.at(p) == expected);
  }
  CHECK(some.at(-1) == -1);
  CHECK((some.has(0) && some.has(3) && !some.has(-1) && !some.has(4)));
  CHECK((some.length(1) == 0 && some.length(3) == 4));
  std::vector<extent> const boundaries = {0, 3, 3, 4, 8};
  documents const same = documents::between(boundaries);
  for (int d = 0; d < 4; ++d) CHECK((same.first(d) == some.first(d) && same.end(d) == some.end(d)));
  CHECK(documents{}.tokens() == 0);
  CHECK(documents{}.at(0) == 0);
}

TEST_CASE("lengths and boundaries that make no sense are refused") {
  CHECK_THROWS_WITH_AS(documents({3, -1}), "documents: a length of -1; none may be negative", shape_error);
  CHECK_THROWS_WITH_AS(documents::between(std::vector<extent>{0, 5, 4}),
                       "documents: boundary 2 is 4 behind 5; they begin with 0 and never descend", shape_error);
  CHECK_THROWS_WITH_AS(documents::between(std::vector<extent>{1, 5}),
                       "documents: boundary 0 is 1 behind 0; they begin with 0 and never descend", shape_error);
  CHECK_THROWS_WITH_AS(zigzag(documents{5, 4}, 8, 2), "zigzag: documents of 9 tokens in a sequence of 8", shape_error);
  auto const eight = contiguous(8, 2);
  CHECK_THROWS_WITH_AS(make_problem<float>(eight, {}, documents{5, 4} & causal()),
                       "queries: documents of 9 tokens in a sequence of 8", shape_error);
  CHECK_THROWS_WITH_AS(make_problem<float>(eight, contiguous(3, 2), {}, top_left(causal(), documents{8}, documents{4})),
                       "keys: documents of 4 tokens in a sequence of 3", shape_error);
}

TEST_CASE("a packed mask allows, classifies and meets by its definition") {
  std::mt19937_64 random(4);
  for (int round = 0; round < 300; ++round) {
    auto const lengths = random_lengths(random, 1 + static_cast<int>(random() % 6));
    band const inner = round % 3 == 0 ? full() : round % 3 == 1 ? causal() : window(2, 1);
    check(
        documents(span<const extent>(lengths)) & inner,
        [&](extent q, extent k) {
          int const d = document_of(lengths, q);
          return d >= 0 && d == document_of(lengths, k) && inner.allows(q, k);
        },
        random);
  }
}

TEST_CASE("packed documents of queries and of keys: other lengths, none, aligned at either end") {
  std::mt19937_64 random(14);
  for (int round = 0; round < 300; ++round) {
    int const count = 1 + static_cast<int>(random() % 6);
    auto const of_queries = random_lengths(random, count), of_keys = random_lengths(random, count);
    documents const queries{span<const extent>(of_queries)}, keys{span<const extent>(of_keys)};
    band const inner = round % 4 == 0 ? full() : round % 4 == 1 ? causal() : window(2, round % 4 == 2 ? 1 : 0);
    for (bool const at_end : {false, true}) {
      auto const allowed = [&](extent q, extent k) {
        int const d = document_of(of_queries, q);
        if (d < 0 || d != document_of(of_keys, k)) return false;
        auto const i = static_cast<std::size_t>(d);
        extent query = q, key = k;
        for (std::size_t before = 0; before < i; ++before) query -= of_queries[before], key -= of_keys[before];
        if (at_end) query += of_keys[i] - of_queries[i];
        return key >= query - inner.left() && key <= query + inner.right();
      };
      check(at_end ? bottom_right(inner, queries, keys) : top_left(inner, queries, keys), allowed, random);
    }
  }
}

TEST_CASE("a mask in documents is asked by positions in the document") {
  predicate_mask const even_keys([](extent, extent key) { return key % 2 == 0; });
  auto const within = documents{3, 4} & even_keys;
  CHECK(within.allows(2, 0));
  CHECK_FALSE(within.allows(2, 1));
  CHECK(within.allows(4, 3));
  CHECK_FALSE(within.allows(3, 4));
  CHECK(within.meets({3, 1, 1}, {3, 1, 1}));
  CHECK_FALSE(within.meets({3, 1, 4}, {4, 2, 2}));
  auto const turned = even_keys & documents{3, 4};
  CHECK(turned.allows(4, 3));
  CHECK_FALSE(turned.allows(2, 4));
}

TEST_CASE("one document of queries and one of keys is the mask itself, and other numbers of them are refused") {
  std::mt19937_64 random(15);
  for (extent queries : {0, 3, 8, 20}) {
    for (extent keys : {0, 3, 8, 20}) {
      band const whole = bottom_right(window(4, 1), queries, keys);
      check(
          bottom_right(window(4, 1), documents{queries}, documents{keys}),
          [&](extent q, extent k) { return q < queries && k < keys && whole.allows(q, k); }, random);
    }
  }
  CHECK_THROWS_WITH_AS(bottom_right(causal(), documents{1, 2, 3}, documents{4, 2}),
                       "packed: 3 documents of queries, 2 of keys; both need the same number", shape_error);
}

TEST_CASE("zigzag by document gives every rank its share of each") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 100; ++round) {
    auto const lengths = random_lengths(random, 5);
    documents const parts{span<const extent>(lengths)};
    int const ranks = 1 + static_cast<int>(random() % 6);
    layout const made = zigzag(parts, parts.tokens() + 5, ranks);
    // The constructor has checked the tiling. A causal mask's work differs between ranks by less than a few rows' worth.
    for (int d = 0; d < parts.count(); ++d) {
      extent const length = lengths[static_cast<std::size_t>(d)];
      for (int rank = 0; rank < ranks; ++rank) {
        extent rows = 0;
        made.for_each_position(rank, [&](extent, extent p) { rows += p >= parts.first(d) && p < parts.end(d); });
        CHECK(rows >= length / (2 * ranks) * 2);
        CHECK(rows <= length / (2 * ranks) * 2 + 2);
      }
    }
  }
}
