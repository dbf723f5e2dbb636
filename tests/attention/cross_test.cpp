// sanitize: off
#include <ringfold/sequence/shifted.hpp>

#include <doctest/doctest.h>

#include <functional>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/documents.hpp>

#include "support/definition.hpp"

using namespace ringfold;

namespace {

/// A mask of which nothing is known but its pairs; shifted as masks are that do not absorb it.
constexpr shape heads_of_all{.batch = 2, .heads = 5, .kv_heads = 5, .dim = 3, .value_dim = 4};
constexpr shape grouped{.batch = 1, .heads = 6, .kv_heads = 2, .dim = 4, .value_dim = 3};

/// A band, and what it must send by positions alone.
template <class T, class Kernel>
void check_band(const schedules::experiment<T>& e, schedules::name which, Kernel kernel) {
  auto const got = definition::check(e, which, kernel);
  for (int rank = 0; rank < e.tokens.ranks(); ++rank) {
    CAPTURE(rank);
    examples::sent forward, backward;
    if (!schedules::expected(e, which, rank, forward)) continue;
    schedules::expected_backward(e, which, rank, backward);
    CHECK(got.forward.books[static_cast<std::size_t>(rank)].total_bytes() == forward.bytes);
    CHECK(got.books[static_cast<std::size_t>(rank)].total_bytes() == backward.bytes);
  }
}

/// Any mask, and the same pairs as a mask of which nothing else is known: the same bytes must travel.
template <class T, class Kernel>
void check_pairs(const schedules::experiment<T>& e, schedules::name which, Kernel kernel) {
  auto const pairs = [m = e.mask](extent i, extent j) { return m.allows(i, j); };
  schedules::experiment<T> plain(e.tokens, e.keys(), e.shape, pairs, 0);
  plain.q = e.q, plain.k = e.k, plain.v = e.v;
  auto const got = definition::check(e, which, kernel), same = definition::check(plain, which, kernel);
  for (std::size_t rank = 0; rank < got.books.size(); ++rank) {
    CHECK(got.forward.books[rank].total_bytes() == same.forward.books[rank].total_bytes());
    CHECK(got.books[rank].total_bytes() == same.books[rank].total_bytes());
  }
}

struct drawn {
  std::mt19937_64 random;
  std::uint64_t below(std::uint64_t bound) { return random() % bound; }
  template <class List>
  auto of(const List& list) -> decltype(list[0]) {
    return list[below(std::size(list))];
  }
  layout tokens(extent count, int ranks) {
    return combinations::make_layout(static_cast<int>(below(6)), count, ranks, random());
  }
  std::vector<extent> lengths(std::size_t count) {
    std::vector<extent> made(count);
    for (extent& each : made) each = below(3) == 0 ? 0 : static_cast<extent>(below(12));
    return made;
  }
};

constexpr extent counts[] = {0, 1, 3, 4, 9, 17, 30};  // some below the number of ranks
constexpr int rounds = 20;

template <class F>
void for_each_draw(std::uint64_t seed, F f) {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    for (auto const which : schedules::names) {
      for (int round = 0; round < rounds; ++round) {
        drawn from{std::mt19937_64(++seed)};
        CAPTURE(seed);
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(which));
        f(from, ranks, which, round % 2 == 0 ? heads_of_all : grouped);
      }
    }
  }
}

}  // namespace

TEST_CASE("queries and keys of other lengths and layouts: bands aligned top-left, bottom-right, anywhere") {
  band const bands[] = {full(), causal(), window(3), window(2, 4), window(0)};
  for_each_draw(1000, [&](drawn& from, int ranks, schedules::name which, const shape& s) {
    extent const queries = from.of(counts), keys = from.of(counts);
    extent const offset = static_cast<extent>(from.below(80)) - 40;
    band const m = from.of(bands);
    band const placed[] = {m, bottom_right(m, queries, keys), bottom_right(m, queries, keys), shifted(m, offset)};
    auto const seed = from.random();
    layout const of_queries = from.tokens(queries, ranks), of_keys = from.tokens(keys, ranks);
    band const chosen = from.of(placed);
    check_band(schedules::experiment<double>(of_queries, of_keys, s, chosen, seed), which, reference_kernel{});
    check_band(schedules::experiment<float>(of_queries, of_keys, s, chosen, seed), which, flash_kernel{});
  });
}

TEST_CASE("packed documents of queries and of keys, other lengths in each, aligned at either end") {
  band const bands[] = {full(), causal(), window(3), window(2, 1)};
  for_each_draw(2000, [&](drawn& from, int ranks, schedules::name which, const shape& s) {
    std::size_t const count = from.below(5);
    documents const queries(from.lengths(count)), keys(from.lengths(count));
    band const m = from.of(bands);
    auto const seed = from.random();
    schedules::experiment<float> const e(from.tokens(queries.tokens() + static_cast<extent>(from.below(3)), ranks),
                                         from.tokens(keys.tokens() + static_cast<extent>(from.below(3)), ranks), s,
                                         seed % 2 == 0 ? top_left(m, queries, keys) : bottom_right(m, queries, keys),
                                         seed);
    check_pairs(e, which, reference_kernel{});
  });
}

TEST_CASE("tokens behind a prefix of keys get the last rows of the whole problem, forward and backward") {
  for_each_draw(3000, [&](drawn& from, int ranks, schedules::name which, const shape& s) {
    extent const cached = from.of(counts), more = from.of(counts), n = cached + more;
    layout const cache = from.tokens(cached, ranks), chunk = from.tokens(more, ranks);
    //! [prefix]
    layout const keys = appended(cache, chunk);
    band const seen = bottom_right(causal(), chunk.tokens(), keys.tokens());
    //! [prefix]
    auto const seed = from.random();
    schedules::experiment<double> const whole(contiguous(n, 1), s, causal(), seed);
    schedules::experiment<double> e(chunk, keys, s, seen, seed);
    e.k = whole.k, e.v = whole.v;
    auto const last_rows = [&](const std::vector<double>& all) {
      std::vector<double> made;
      auto const width = static_cast<std::ptrdiff_t>(n == 0 ? 0 : static_cast<extent>(all.size()) / (s.batch * n));
      for (extent b = 0; b < s.batch; ++b) {
        auto const end = all.begin() + (b + 1) * n * width;
        made.insert(made.end(), end - more * width, end);
      }
      return made;
    };
    e.q = last_rows(whole.q);
    check_band(e, which, reference_kernel{});
    // One rank folds the same keys in the same order: the same bits.
    auto const all = schedules::run(whole, schedules::name::ring, reference_kernel{});
    if (ranks == 1) {
      auto const got = schedules::run(e, which, reference_kernel{});
      CHECK(got.o == last_rows(all.o));
      CHECK(got.lse == last_rows(all.lse));
    }
    CHECK(oracle::compare(e.exact().o, last_rows(all.o)).relative < 1e-14);
  });
}

TEST_CASE("a prefill in chunks, each behind those before it in the cache, is the whole prefill") {
  int const ranks = 3;
  extent const chunks[] = {7, 1, 0, 12, 5};
  schedules::experiment<float> const whole(contiguous(25, 1), heads_of_all, causal(), 1);
  auto const rows = [&](const std::vector<double>& all, extent first, extent count, extent width) {
    std::vector<double> made;
    for (extent b = 0; b < 2; ++b) {
      auto const begin = all.begin() + (b * 25 + first) * width;
      made.insert(made.end(), begin, begin + count * width);
    }
    return made;
  };
  auto const exact = whole.exact();
  for (auto const which : schedules::names) {
    CAPTURE(static_cast<int>(which));
    layout cache = contiguous(0, ranks);
    for (extent const more : chunks) {
      layout const chunk = zigzag(more, ranks), keys = appended(cache, chunk);
      extent const first = cache.tokens(), n = keys.tokens();
      schedules::experiment<float> e(chunk, keys, heads_of_all, bottom_right(causal(), more, n), 1);
      e.q = rows(whole.q, first, more, 15), e.k = rows(whole.k, 0, n, 15), e.v = rows(whole.v, 0, n, 20);
      auto const got = schedules::run(e, which, flash_kernel{});
      CHECK(oracle::compare(got.o, rows(exact.o, first, more, 20)).relative < 1e-6);
      cache = keys;
    }
    CHECK(cache.tokens() == 25);
  }
}
