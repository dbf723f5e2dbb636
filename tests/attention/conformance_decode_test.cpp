// Conformance, decoding: cases that implementations of sequence parallelism have failed.
#include <doctest/doctest.h>

#include <ringfold/kernel/reference.hpp>

#include "support/definition.hpp"

using namespace ringfold;

namespace {

using experiment = schedules::experiment<float>;
using definition::check_all;
constexpr shape heads_of_all{.batch = 2, .heads = 6, .kv_heads = 2, .dim = 3, .value_dim = 4};

}  // namespace

TEST_CASE(
    "28. decoding over an interleaved cache: ranks without keys yet, less context than ranks, several new tokens") {
  std::uint64_t seed = 1;
  for (int const ranks : {1, 2, 3, 5, 8}) {
    for (extent const fresh : {1, 2, 3}) {  // more than one where tokens are predicted ahead
      for (extent const context :
           {fresh, extent{ranks - 1} + fresh, extent{ranks} + fresh, extent{2 * ranks + 1} + fresh}) {
        layout const cache = striped(context, ranks);
        for (int rank = 0; rank < ranks; ++rank) {
          CHECK(cache.rows(rank) == (context - rank + ranks - 1 < 0 ? 0 : (context - rank + ranks - 1) / ranks));
        }
        band const seen = bottom_right(causal(), fresh, context);
        // The queries are with whom the newest token is, dealt like the cache, or all with the last rank.
        check_all(experiment(striped(fresh, ranks), cache, heads_of_all, seen, ++seed));
        check_all(experiment(combinations::make_layout(5, fresh, ranks, 0), cache, heads_of_all, seen, ++seed));
      }
    }
  }
}

TEST_CASE("28. decoding step by step behind a prefill is the whole attention, whatever rank gets the next token") {
  int const ranks = 4;
  extent const n = 14, heads = 6, dim = 3;
  experiment const whole(contiguous(n, 1), {.heads = heads, .dim = dim}, any_mask(causal()), 5);
  auto const exact = whole.exact();
  auto const rows = [&](const std::vector<double>& of, extent first, extent end) {
    return std::vector<double>(of.begin() + first * heads * dim, of.begin() + end * heads * dim);
  };
  for (auto const which : schedules::names) {
    extent tokens = 0;
    for (extent const fresh : {3, 1, 1, 4, 1, 1, 3}) {
      extent const before = tokens;
      tokens += fresh;
      experiment e(striped(fresh, ranks), striped(tokens, ranks), whole.shape,
                   any_mask(bottom_right(causal(), fresh, tokens)), 5);
      e.q = rows(whole.q, before, tokens), e.k = rows(whole.k, 0, tokens), e.v = rows(whole.v, 0, tokens);
      CAPTURE(static_cast<int>(which));
      CAPTURE(tokens);
      CHECK(oracle::compare(schedules::run(e, which, reference_kernel{}).o, rows(exact.o, before, tokens)).relative <
            1e-6);
    }
    CHECK(tokens == n);
  }
}

TEST_CASE("28. keys chosen for each query are chosen by their place in the sequence, not on their rank") {
  std::mt19937_64 random(3);
  for (int const ranks : {2, 3, 5}) {
    extent const fresh = 3, context = 17;
    std::vector<std::vector<bool>> chosen(static_cast<std::size_t>(fresh),
                                          std::vector<bool>(static_cast<std::size_t>(context)));
    for (auto& row : chosen) {
      for (int i = 0; i < 4; ++i) row[random() % row.size()] = true;
    }
    any_mask const best([=](extent query, extent key) {
      return chosen[static_cast<std::size_t>(query)][static_cast<std::size_t>(key)];
    });
    check_all(experiment(striped(fresh, ranks), striped(context, ranks), heads_of_all, best, random()));
  }
}

TEST_CASE("28. what decoding with split keys sends does not grow with the context") {
  for (auto const which : {schedules::name::split_kv, schedules::name::split_kv_by_tree, schedules::name::query_ring}) {
    std::vector<extent> sent;
    for (extent const context : {40, 400}) {
      experiment const e(striped(4, 4), striped(context, 4), heads_of_all, any_mask(full()), 1);
      auto const got = schedules::run(e, which, reference_kernel{});
      extent most = 0;
      for (const auto& book : got.books) most = std::max(most, book.total_bytes());
      sent.push_back(most);
    }
    CHECK(sent[0] > 0);
    CHECK(sent[0] == sent[1]);
  }
}
