#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <ringfold/sequence/layout.hpp>

using namespace ringfold;

namespace {

using owners = std::vector<std::vector<segment>>;

std::vector<extent> positions(const layout& l, int owner) {
  std::vector<extent> made;
  l.for_each_position(owner, [&](extent row, extent position) {
    CHECK(row == static_cast<extent>(made.size()));
    made.push_back(position);
  });
  return made;
}

// Every token of 0 .. tokens-1 exactly once, and every count in step with the positions.
void check_tiles(const layout& l, extent tokens, int ranks) {
  REQUIRE(l.ranks() == ranks);
  REQUIRE(l.tokens() == tokens);
  std::vector<int> held(static_cast<std::size_t>(tokens));
  extent most = 0;
  for (int owner = 0; owner < ranks; ++owner) {
    auto const own = positions(l, owner);
    REQUIRE(l.rows(owner) == static_cast<extent>(own.size()));
    most = std::max(most, l.rows(owner));
    for (extent const position : own) ++held[static_cast<std::size_t>(position)];
    for (const segment& each : l.segments(owner)) REQUIRE(each.count > 0);
  }
  REQUIRE(l.most_rows() == most);
  REQUIRE(std::all_of(held.begin(), held.end(), [](int count) { return count == 1; }));
}

// Rank by rank, token by token, from the words of the definition.
int owner_in_stripes(extent token, int ranks, extent width) { return static_cast<int>(token / width % ranks); }

std::string refusal(extent tokens, const owners& o) {
  try {
    layout{tokens, o};
  } catch (const shape_error& e) {
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("every layout tiles the sequence, more ranks than tokens too") {
  for (extent const tokens : {0, 1, 2, 3, 7, 16, 31, 64, 97}) {
    for (int const ranks : {1, 2, 3, 4, 5, 7, 8, 9, 16}) {
      CAPTURE(tokens);
      CAPTURE(ranks);
      check_tiles(contiguous(tokens, ranks), tokens, ranks);
      check_tiles(zigzag(tokens, ranks), tokens, ranks);
      for (extent const width : {1, 2, 3, 5, 64, 1000}) check_tiles(striped(tokens, ranks, width), tokens, ranks);
    }
  }
}

TEST_CASE("contiguous shards follow each other and differ by one row at most") {
  for (extent const tokens : {0, 1, 5, 16, 17, 97}) {
    for (int const ranks : {1, 3, 8, 16}) {
      auto const l = contiguous(tokens, ranks);
      extent next = 0;
      for (int owner = 0; owner < ranks; ++owner) {
        CHECK(l.rows(owner) >= tokens / ranks);
        CHECK(l.rows(owner) <= tokens / ranks + 1);
        for (extent const position : positions(l, owner)) CHECK(position == next++);
      }
    }
  }
  CHECK(positions(contiguous(10, 3), 0) == std::vector<extent>{0, 1, 2, 3});
}

TEST_CASE("zigzag pairs an early piece with its late mirror") {
  CHECK(positions(zigzag(16, 4), 0) == std::vector<extent>{0, 1, 14, 15});
  CHECK(positions(zigzag(16, 4), 3) == std::vector<extent>{6, 7, 8, 9});
  CHECK(positions(zigzag(7, 2), 1) == std::vector<extent>{2, 3, 4, 5});
  // That balances a causal mask exactly: the visible pairs of every rank are equally many.
  auto const l = zigzag(48, 6);
  for (int owner = 0; owner < 6; ++owner) {
    extent pairs = 0;
    for (extent const position : positions(l, owner)) pairs += position + 1;
    CHECK(pairs == 48 * 49 / 2 / 6);
  }
}

TEST_CASE("stripes are dealt in turn") {
  for (extent const tokens : {0, 1, 6, 29}) {
    for (int const ranks : {1, 2, 5}) {
      for (extent const width : {1, 2, 4, 29, 30}) {
        auto const l = striped(tokens, ranks, width);
        for (int owner = 0; owner < ranks; ++owner) {
          auto const own = positions(l, owner);
          CHECK(std::is_sorted(own.begin(), own.end()));
          for (extent const position : own) CHECK(owner_in_stripes(position, ranks, width) == owner);
        }
      }
    }
  }
  CHECK(striped(1000, 4).segments(3).size() == 1);  // so that masks answer in constant time
}

TEST_CASE("a stripe may be wider than any sequence") {
  auto const l = striped(10, 4, extent{1} << 62);
  CHECK(l.rows(0) == 10);
  CHECK(l.rows(3) == 0);
  check_tiles(striped(0, 4, extent{1} << 62), 0, 4);
}

TEST_CASE("contiguous and zigzag pieces may be cut between units") {
  for (extent const tokens : {0, 1, 7, 31, 64, 97}) {
    for (int const ranks : {1, 2, 3, 5, 8}) {
      for (extent const unit : {1, 2, 5, 16, 200}) {
        CAPTURE(tokens);
        CAPTURE(ranks);
        CAPTURE(unit);
        auto const near = contiguous(tokens, ranks, unit), mirrored = zigzag(tokens, ranks, unit);
        check_tiles(near, tokens, ranks);
        check_tiles(mirrored, tokens, ranks);
        // Whole units are dealt as tokens would be.
        extent const units = (tokens + unit - 1) / unit;
        auto const check_cuts = [&](const layout& cut, const layout& of_units) {
          for (int rank = 0; rank < ranks; ++rank) {
            std::vector<extent> wanted;
            for (extent const each : positions(of_units, rank)) {
              for (extent i = each * unit; i < std::min(tokens, (each + 1) * unit); ++i) wanted.push_back(i);
            }
            REQUIRE(positions(cut, rank) == wanted);
          }
        };
        check_cuts(near, contiguous(units, ranks));
        check_cuts(mirrored, zigzag(units, ranks));
      }
    }
  }
  CHECK_THROWS_WITH_AS(contiguous(8, 2, 0), "units of 0 tokens; at least 1 is needed", shape_error);
  CHECK_THROWS_WITH_AS(zigzag(8, 2, -1), "units of -1 tokens; at least 1 is needed", shape_error);
}

TEST_CASE("uneven lengths, some of them 0") {
  auto const l = uneven(10, {0, 7, 0, 3});
  check_tiles(l, 10, 4);
  CHECK(l.rows(0) == 0);
  CHECK(l.segments(0).empty());
  CHECK(positions(l, 1) == std::vector<extent>{0, 1, 2, 3, 4, 5, 6});
  CHECK(positions(l, 3) == std::vector<extent>{7, 8, 9});
  check_tiles(uneven(0, {0, 0}), 0, 2);
  std::vector<extent> const lengths = {4, 1};
  CHECK(uneven(5, lengths).rows(0) == 4);
}

TEST_CASE("any segments that tile are a layout, backwards and interleaved ones too") {
  auto const l = layout(9, owners{{{8, -2, 3}, {0, 1, 0}, {2, 1, 1}}, {{0, 1, 1}}, {}, {{1, 2, 4}}});
  check_tiles(l, 9, 4);
  CHECK(positions(l, 0) == std::vector<extent>{8, 6, 4, 2});
  CHECK(l.segments(0).size() == 2);
  CHECK(l.segments(0)[0].last() == 4);
  CHECK(l.rows(2) == 0);
}

TEST_CASE("a layout of nobody") {
  layout const none;
  CHECK(none.ranks() == 0);
  CHECK(none.tokens() == 0);
  CHECK(none.most_rows() == 0);
}

TEST_CASE("segments that do not tile are refused, with the row that is wrong") {
  CHECK(refusal(4, {{{0, 1, 2}}, {{1, 1, 3}}}) ==
        "layout: row 0 of rank 1 is token 1, which is held twice; every token of 0..3 must be held once");
  CHECK(refusal(4, {{{0, 1, 5}}}) ==
        "layout: row 4 of rank 0 is token 4, which is not in the sequence; every token of 0..3 must be held once");
  CHECK(refusal(4, {{{0, 1, 2}}, {{2, -1, 2}}}) ==
        "layout: row 1 of rank 1 is token 1, which is held twice; every token of 0..3 must be held once");
  CHECK(refusal(4, {{{-1, 1, 1}}}) ==
        "layout: row 0 of rank 0 is token -1, which is not in the sequence; every token of 0..3 must be held once");
  CHECK(refusal(4, {{{0, 0, 2}}}) ==
        "layout: row 1 of rank 0 is token 0, which is held twice; every token of 0..3 must be held once");
  CHECK(refusal(4, {{{0, 1, 2}}, {{3, 1, 1}}}) == "layout: the ranks hold 3 rows, but the sequence has 4 tokens");
  CHECK(refusal(1, {}) == "layout: the ranks hold 0 rows, but the sequence has 1 tokens");
  CHECK(refusal(-1, {{}}) == "layout: -1 tokens; at least 0 are needed");
}

TEST_CASE("named layouts refuse what makes no sense") {
  CHECK_THROWS_WITH_AS(contiguous(8, 0), "contiguous: 8 tokens over 0 ranks; at least 0 tokens and 1 rank are needed",
                       shape_error);
  CHECK_THROWS_WITH_AS(zigzag(-8, 2), "zigzag: -8 tokens over 2 ranks; at least 0 tokens and 1 rank are needed",
                       shape_error);
  CHECK_THROWS_WITH_AS(striped(8, -1), "striped: 8 tokens over -1 ranks; at least 0 tokens and 1 rank are needed",
                       shape_error);
  CHECK_THROWS_WITH_AS(striped(8, 2, 0), "striped: width 0; at least 1 is needed", shape_error);
  CHECK_THROWS_WITH_AS(uneven(8, {}), "uneven: 8 tokens over 0 ranks; at least 0 tokens and 1 rank are needed",
                       shape_error);
  CHECK_THROWS_WITH_AS(uneven(8, {9, -1}), "uneven: a length of -1; none may be negative", shape_error);
  CHECK_THROWS_WITH_AS(uneven(8, {4, 5}), "uneven: the lengths add up to 9, but the sequence has 8 tokens",
                       shape_error);
  CHECK_THROWS_AS(uneven(8, {extent{1} << 62, extent{1} << 62}), size_overflow);
}

TEST_CASE("merging along an axis puts shards together, and owners keep their numbers") {
  // 2 x 3 ranks; a row is ranks 3 r .. 3 r + 2, a column is every third.
  auto const l = zigzag(25, 6);
  for (axis const along : {axis{1, 3}, axis{3, 2}, axis{1, 6}, axis{1, 1}, axis{6, 1}}) {
    auto const merged = l.merged(along);
    CHECK(merged.ranks() == 6);
    CHECK(merged.tokens() == 25);
    for (int owner = 0; owner < 6; ++owner) {
      std::vector<extent> expected;
      for (int member = 0; member < 6; ++member) {
        bool const same_line = member / (along.stride * along.count) == owner / (along.stride * along.count) &&
                               member % along.stride == owner % along.stride;
        if (!same_line) continue;
        auto const part = positions(l, member);
        expected.insert(expected.end(), part.begin(), part.end());
      }
      CHECK(positions(merged, owner) == expected);
      CHECK(merged.rows(owner) == static_cast<extent>(expected.size()));
    }
  }
  auto const some = l.merged({3, 2}, [](int holder, int owner) { return holder == owner || owner == 4; });
  for (int owner = 0; owner < 6; ++owner) {
    auto expected = positions(l, owner);
    auto const of_4 = positions(l, 4);
    if (owner == 1) expected.insert(expected.end(), of_4.begin(), of_4.end());
    CHECK(positions(some, owner) == expected);
  }
  auto const twice = l.merged({1, 3}).merged({3, 2});
  for (int owner = 0; owner < 6; ++owner) {
    auto all = positions(twice, owner);
    std::sort(all.begin(), all.end());
    CHECK(all == positions(contiguous(25, 1), 0));
  }
}

TEST_CASE("tokens appended to a prefix lie behind it, in the sequence and in every shard") {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    for (extent const before : {0, 1, 9}) {
      for (extent const more : {0, 2, 11}) {
        layout const prefix = striped(before, ranks, 2), tokens = zigzag(more, ranks), all = appended(prefix, tokens);
        CHECK(all.tokens() == before + more);
        for (int rank = 0; rank < ranks; ++rank) {
          std::vector<extent> wanted, got;
          prefix.for_each_position(rank, [&](extent, extent position) { wanted.push_back(position); });
          tokens.for_each_position(rank, [&](extent, extent position) { wanted.push_back(before + position); });
          all.for_each_position(rank, [&](extent, extent position) { got.push_back(position); });
          CHECK(got == wanted);
        }
      }
    }
  }
  CHECK_THROWS_WITH_AS(appended(contiguous(3, 2), contiguous(3, 3)),
                       "appended: a prefix on 2 ranks, tokens on 3; both need the same number", shape_error);
}

TEST_CASE("some rows of a layout keep their positions and their order") {
  std::mt19937_64 random(6);
  for (int round = 0; round < 300; ++round) {
    CAPTURE(round);
    extent const tokens = static_cast<extent>(random() % 40);
    int const ranks = 1 + static_cast<int>(random() % 5);
    layout const layouts[] = {contiguous(tokens, ranks), zigzag(tokens, ranks), striped(tokens, ranks),
                              striped(tokens, ranks, 2), zigzag(tokens, ranks).merged({1, ranks})};
    layout const& whole = layouts[random() % 5];
    std::vector<std::vector<range>> rows(static_cast<std::size_t>(ranks));
    std::vector<std::vector<extent>> kept(rows.size());
    for (int owner = 0; owner < ranks; ++owner) {
      auto const at = static_cast<std::size_t>(owner);
      auto const own = positions(whole, owner);
      for (extent row = 0; row < whole.rows(owner); ++row) {
        if (random() % 3 == 0) continue;
        bool const goes_on = !rows[at].empty() && rows[at].back().first + rows[at].back().count == row;
        if (!goes_on || random() % 5 == 0) rows[at].push_back({row, 0});
        ++rows[at].back().count;
        kept[at].push_back(own[static_cast<std::size_t>(row)]);
      }
    }
    layout const some =
        whole.selected([&](int owner) { return span<const range>(rows[static_cast<std::size_t>(owner)]); });
    CHECK(some.tokens() == tokens);
    for (int owner = 0; owner < ranks; ++owner) {
      CHECK(positions(some, owner) == kept[static_cast<std::size_t>(owner)]);
      CHECK(some.rows(owner) == static_cast<extent>(kept[static_cast<std::size_t>(owner)].size()));
    }
  }
}
