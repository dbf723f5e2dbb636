#include <ringfold/kernel/cpu/tiling.hpp>

#include <numeric>
#include <vector>

#include <doctest/doctest.h>

using namespace ringfold;

TEST_CASE("heads that share a key head share its tiles, also where a slice of the heads cuts a group") {
  heads const h{3, 7, 1, 3, 3};  // query heads 3..9 of groups 3..5, 6..8, 9..11
  detail::tiling const tiles{h, 10, 16};
  CHECK(tiles.first_key() == 1);
  CHECK(tiles.key_heads() == 3);
  CHECK(tiles.queries_of(0).first == 0);
  CHECK(tiles.queries_of(2).first == 6);
  CHECK(tiles.queries_of(2).count == 1);
  CHECK(tiles.tiles_of(1) == 2);  // 30 queries
  CHECK(tiles.before(3) == 5);

  heads const cut{4, 3, 1, 2, 3};  // 4, 5 | 6
  CHECK(detail::tiling{cut, 1, 16}.queries_of(0).count == 2);
  CHECK(detail::tiling{cut, 1, 16}.queries_of(1).first == 2);
  CHECK(detail::tiling{cut, 0, 16}.before(2) == 0);
}

TEST_CASE("a block is trimmed to the keys that some query sees") {
  std::vector<extent> keys(96);
  std::iota(keys.begin(), keys.end(), 100);
  auto const trim = [&](auto mask_of, hull queries) {
    return detail::trim(mask_of, queries, keys.data(), 96, detail::hull_of(keys.data(), 96));
  };
  CHECK(trim(causal(), {10, 99}).left == coverage::skip);
  CHECK(trim(causal(), {195, 200}).left == coverage::full);
  auto const diagonal = trim(causal(), {120, 151});
  CHECK(diagonal.left == coverage::partial);
  CHECK(diagonal.first == 0);
  CHECK(diagonal.count == 52);
  auto const one = trim(causal(), {120, 120});
  CHECK(one.left == coverage::full);  // what is left after trimming is seen by all
  CHECK(one.count == 21);
  auto const middle = trim(window(10, 5), {130, 131});
  CHECK(middle.first == 20);
  CHECK(middle.count == 17);
  CHECK(middle.left == coverage::partial);
  CHECK(trim(predicate_mask([](extent, extent) { return false; }), {0, 1}).count == 96);
}

TEST_CASE("a band drawn for a tile hides what it hides, however far it was shifted") {
  extent const far = 0x7ffffffe;  // the last position that a tile can hold
  std::vector<extent> const keys = {0, 1, 5, 6, far - 1, far};
  std::vector<extent> const queries = {0, 1, 4, 7, far - 3, far};
  for (extent const offset : {-far, -(far / 2), extent{-3}, extent{-1}, extent{0}, extent{2}, far, 4 * far, -4 * far}) {
    for (const band& m : {full(), causal(), window(0), window(3, 2), band{2, band::unbounded}}) {
      band const shifted_band = m.shifted(offset);
      detail::curtain<float> made;
      detail::tile<float> t{};
      t.keys = static_cast<extent>(keys.size());
      detail::draw(shifted_band, keys.data(), made, nullptr, t);
      CHECK(t.hides == detail::hiding::outside_hull);
      for (std::size_t key = 0; key < keys.size(); ++key) {
        for (extent const query : queries) {
          CHECK((query >= t.first[key] && query <= t.last[key]) == shifted_band.allows(query, keys[key]));
        }
      }
    }
  }
}
