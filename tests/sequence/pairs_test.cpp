#include <ringfold/sequence/pairs.hpp>

#include <doctest/doctest.h>

#include <random>
#include <vector>

#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/shifted.hpp>

using namespace ringfold;

namespace {

template <class M>
extent by_asking(const M& m, span<const segment> queries, span<const segment> keys) {
  extent sum = 0;
  for (const segment& q : queries) {
    for (const segment& k : keys) {
      for (extent i = 0; i < q.count; ++i) {
        for (extent j = 0; j < k.count; ++j) sum += m.allows(q.first + i * q.step, k.first + j * k.step);
      }
    }
  }
  return sum;
}

band random_band(std::mt19937_64& random) {
  auto const width = [&] { return random() % 4 == 0 ? band::unbounded : static_cast<extent>(random() % 30); };
  band const m(width(), width());
  return m.shifted(static_cast<extent>(random() % 80) - 40);
}

}  // namespace

TEST_CASE("a band's pairs are counted without looking at them: random segments of every step") {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20'000; ++round) {
    auto const draw = [&] {
      extent const step = 1 + static_cast<extent>(random() % 9), count = static_cast<extent>(random() % 12);
      segment const ascending{static_cast<extent>(random() % 60), step, count};
      return random() % 4 == 0 && count > 0 ? segment{ascending.last(), -step, count} : ascending;
    };
    segment const queries[] = {draw()}, keys[] = {draw()};
    band const m = random_band(random);
    CAPTURE(round);
    REQUIRE(visible_pairs(m, queries, keys) == by_asking(m, queries, keys));
  }
  segment const some[] = {{0, 1, 9}};
  CHECK(visible_pairs(window(2).shifted(3) & causal(), some, some) == 0);
}

TEST_CASE("pairs of shards: every layout, bands, documents, shifts and masks that are only asked") {
  std::mt19937_64 random(2);
  for (int round = 0; round < 400; ++round) {
    CAPTURE(round);
    int const ranks = 1 + static_cast<int>(random() % 4), count = 1 + static_cast<int>(random() % 5);
    std::vector<extent> lengths, other;
    for (int i = 0; i < count; ++i) lengths.push_back(static_cast<extent>(random() % 15));
    for (int i = 0; i < count; ++i) other.push_back(static_cast<extent>(random() % 15));
    documents const of_queries{span<const extent>(lengths)}, of_keys{span<const extent>(other)};
    auto const tokens = [&](const documents& parts) {
      extent const n = parts.tokens() + static_cast<extent>(random() % 5),
                   width = 1 + static_cast<extent>(random() % 4);
      layout const all[] = {contiguous(n, ranks), zigzag(n, ranks), zigzag(parts, n, ranks), striped(n, ranks, width)};
      return all[random() % 4];
    };
    layout const queries = tokens(of_queries), keys = tokens(of_keys);
    band const m = random_band(random);
    predicate_mask const asked([](extent i, extent j) { return (i + 2 * j) % 3 == 0; });
    auto const rows = queries.segments(static_cast<int>(random() % static_cast<unsigned>(ranks)));
    auto const columns = keys.segments(static_cast<int>(random() % static_cast<unsigned>(ranks)));
    auto const check = [&](const auto& of) {
      REQUIRE(visible_pairs(of, rows, columns) == by_asking(of, rows, columns));
    };
    check(m);
    check(asked);
    check(top_left(m, of_queries, of_keys));
    check(bottom_right(m, of_queries, of_keys));
    check(bottom_right(asked, of_queries, of_keys));
    check(shifted(asked, 5));
    check(shifted(top_left(m, of_queries, of_keys), -7));
  }
}

TEST_CASE("a million tokens in narrow stripes are counted at once") {
  extent const n = extent{1} << 20, half = n / 2;
  layout const stripes = striped(n, 2, 64);
  auto const even = stripes.segments(0), odd = stripes.segments(1);
  CHECK(even.size() == 8192);
  extent const below = (half * half - half * 64) / 2;  // pairs of a stripe and one before it
  CHECK(visible_pairs(causal(), even, even) == below + half * 65 / 2);
  CHECK(visible_pairs(causal(), even, odd) == below);
  CHECK(visible_pairs(causal(), odd, even) == below + half * 64);
  extent const far = extent{1} << 31;
  segment const all[] = {{0, 1, far}};
  CHECK(visible_pairs(causal(), all, all) == far / 2 * (far + 1));
  CHECK(visible_pairs(full(), all, all) == far * far);
}
