// sanitize: off
#include <ringfold/sequence/documents.hpp>

#include <doctest/doctest.h>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>

#include "support/combinations.hpp"

using namespace ringfold;

namespace {

/// Packed documents through a schedule, against the definition, and against a mask of which nothing is known but its
/// pairs: the same bits, and the same bytes sent.
template <class Kernel>
void check(Kernel kernel, const layout& tokens, schedules::name which, const std::vector<extent>& lengths, band within,
           std::uint64_t seed) {
  documents const parts{span<const extent>(lengths)};
  shape const s{.batch = 2, .heads = 4, .kv_heads = 2, .dim = 5};
  auto const inside = [parts, within](extent q, extent k) {
    return q < parts.tokens() && parts.at(q) == parts.at(k) && within.allows(q, k);
  };
  schedules::experiment<float> e(tokens, s, parts & within, seed), plain(tokens, s, inside, seed);
  auto const exact = e.exact();
  auto const got = schedules::run(e, which, kernel), same = schedules::run(plain, which, kernel);
  CHECK(oracle::compare(got.o, exact.o).relative < 2e-6);
  CHECK(oracle::compare(got.lse, exact.lse).largest < 1e-5);
  CHECK(oracle::compare(same.o, exact.o).relative < 2e-6);
  for (std::size_t rank = 0; rank < got.books.size(); ++rank) {
    CHECK(got.books[rank].total_bytes() == same.books[rank].total_bytes());
    CHECK(got.books[rank].steps == same.books[rank].steps);
  }
}

}  // namespace

TEST_CASE("packed documents of any lengths, over any layout, by every schedule") {
  std::mt19937_64 random(9);
  int const rounds = 40;
  for (int round = 0; round < rounds; ++round) {
    std::vector<extent> lengths;
    for (int i = 0; i < 1 + static_cast<int>(random() % 5); ++i) {
      lengths.push_back(static_cast<extent>(random() % 4 == 0 ? random() % 2 : random() % 20));
    }
    documents const parts{span<const extent>(lengths)};
    extent const n = parts.tokens() + static_cast<extent>(random() % 7);  // padding behind the last
    int const ranks = 1 + static_cast<int>(random() % 5);
    layout const layouts[] = {contiguous(n, ranks), zigzag(n, ranks), striped(n, ranks), zigzag(parts, n, ranks)};
    band const within[] = {full(), causal(), window(4, 1)};
    for (auto const which : schedules::names) {
      if (which == schedules::name::ulysses && ranks > 4) continue;
      CAPTURE(round);
      CAPTURE(ranks);
      CAPTURE(static_cast<int>(which));
      std::size_t const pick = random();
      check(reference_kernel{}, layouts[pick % 4], which, lengths, within[pick / 4 % 3], random());
      check(flash_kernel{}, layouts[pick / 16 % 4], which, lengths, within[pick / 64 % 3], random());
    }
  }
}
