#include <ringfold/sequence/documents.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

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

}  // namespace

TEST_CASE("documents know where they lie, empty ones and padding too") {
  documents const some{3, 0, 1, 4};
  CHECK(some.count() == 4);
  CHECK(some.tokens() == 8);
  for (extent p = 0; p < 12; ++p) {
    int const expected = p < 3 ? 0 : p < 4 ? 2 : p < 8 ? 3 : 4;
    CHECK(some.at(p) == expected);
  }
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
}

TEST_CASE("a packed mask allows, classifies and meets by its definition") {
  std::mt19937_64 random(4);
  for (int round = 0; round < 300; ++round) {
    auto const lengths = random_lengths(random, 1 + static_cast<int>(random() % 6));
    band const inner = round % 3 == 0 ? full() : round % 3 == 1 ? causal() : window(2, 1);
    auto const packed_mask = documents(span<const extent>(lengths)) & inner;
    auto const allowed = [&](extent q, extent k) {
      int const d = document_of(lengths, q);
      return d >= 0 && d == document_of(lengths, k) && inner.allows(q, k);
    };
    extent const n = 34;
    for (extent q = 0; q < n; ++q) {
      for (extent k = 0; k < n; ++k) REQUIRE(packed_mask.allows(q, k) == allowed(q, k));
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
      REQUIRE(packed_mask.meets(a, b) == any);
      if (qs.high < 0) continue;
      bool some = false;
      for (extent q = qs.low; q <= qs.high; ++q) {
        for (extent k = ks.low; k <= ks.high; ++k) some = some || allowed(q, k), all = all && allowed(q, k);
      }
      auto const covered = packed_mask.classify(qs, ks);
      if (covered == coverage::skip) REQUIRE(!some);
      if (covered == coverage::full) REQUIRE(all);
    }
  }
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
