#include <ringfold/sequence/seen.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include <ringfold/sequence/documents.hpp>

#include "support/sanitized.hpp"

using namespace ringfold;

namespace {

// A mask that counts how often it is asked anything.
template <class M>
struct asked {
  M inner;
  std::shared_ptr<long> times = std::make_shared<long>(0);
  bool allows(extent q, extent k) const { return ++*times, inner.allows(q, k); }
  coverage classify(hull q, hull k) const { return ++*times, inner.classify(q, k); }
  bool meets(segment q, segment k) const { return ++*times, inner.meets(q, k); }
};

std::vector<extent> positions(span<const segment> of) {
  std::vector<extent> made;
  for (const segment& each : of) {
    for (extent i = 0; i < each.count; ++i) made.push_back(each.first + i * each.step);
  }
  return made;
}

template <class M>
void check(const M& m, const std::vector<std::vector<segment>>& readers, span<const segment> keys) {
  auto const rows = positions(keys);
  seen_rows found(static_cast<extent>(rows.size()));
  std::vector<bool> wanted(rows.size()), got(rows.size());
  for (const auto& queries : readers) {
    found.add(m, queries, keys);
    for (std::size_t row = 0; row < rows.size(); ++row) {
      for (extent const q : positions(queries)) wanted[row] = wanted[row] || m.allows(q, rows[row]);
    }
  }
  extent end = -1;  // runs ascend, are not empty, and do not touch
  for (range const& run : found.runs()) {
    REQUIRE((run.first > end && run.count > 0));
    end = run.first + run.count;
    for (extent row = run.first; row < end; ++row) got[static_cast<std::size_t>(row)] = true;
  }
  CHECK(got == wanted);
}

std::vector<segment> random_segments(std::mt19937_64& random) {
  std::vector<segment> made;
  for (int i = 0; i < static_cast<int>(random() % 4); ++i) {
    extent const step = static_cast<extent>(random() % 4) - 1;
    made.push_back({static_cast<extent>(4 + random() % 20), step, static_cast<extent>(random() % 5)});
  }
  return made;
}

}  // namespace

TEST_CASE("a window over contiguous rows leaves a halo") {
  //! [seen_rows]
  layout const tokens = contiguous(40, 4);  // ten rows each
  seen_rows rows(tokens.rows(1));
  rows.add(window(3), tokens.segments(2), tokens.segments(1));
  CHECK(rows.runs() == std::vector<range>{{7, 3}});
  //! [seen_rows]
}

TEST_CASE("the rows seen are those of the definition, for any segments and masks") {
  std::mt19937_64 random(3);
  for (int round = 0; round < 3000; ++round) {
    CAPTURE(round);
    std::vector<std::vector<segment>> readers(1 + random() % 2);
    for (auto& each : readers) each = random_segments(random);
    auto const keys = random_segments(random);
    auto const width = [&] { return static_cast<extent>(random() % 8); };
    for (band const mask : {full(), causal(), window(width()), window(width(), width()), band(0, band::unbounded)}) {
      check(mask, readers, keys);
    }
    check(documents{width(), width(), width(), width()} & causal(), readers, keys);
    std::uint64_t const salt = random();
    check(predicate_mask([salt](extent q, extent k) {
            return (static_cast<std::uint64_t>(q * 64 + k + 1) * 0x9e3779b97f4a7c15u ^ salt) % 7 == 0;
          }),
          readers, keys);
  }
}

TEST_CASE("bands and documents take a few steps per row, where each could take thousands: 65536 tokens on 8 ranks" *
          doctest::skip(sanitized)) {
  extent const n = 65536;
  std::vector<extent> const lengths(200, n / 200);
  documents const parts{span<const extent>(lengths)};
  for (const layout& tokens : {contiguous(n, 8), zigzag(n, 8), striped(n, 8), striped(n, 8, 64), zigzag(parts, n, 8)}) {
    CAPTURE(tokens.segments(0).size());
    auto const steps = [&](auto mask) {
      long most = 0;
      for (int reader = 0; reader < 8; ++reader) {
        for (int owner = 0; owner < 8; ++owner) {
          asked<decltype(mask)> const counted{mask};
          seen_rows rows(tokens.rows(owner));
          rows.add(counted, tokens.segments(reader), tokens.segments(owner));
          most = std::max(most, *counted.times);
        }
      }
      return most;
    };
    CHECK(steps(full()) < 10);
    CHECK(steps(causal()) < 200);
    CHECK(steps(window(4096)) < 10 * n / 8);
    CHECK(steps(window(16, 16)) < 10 * n / 8);
    CHECK(steps(parts & causal()) < 10 * n / 8);
  }
}
