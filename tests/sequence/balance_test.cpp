#include <ringfold/sequence/balance.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <string>
#include <vector>

using namespace ringfold;

namespace {

constexpr extent n = 4096;
documents const whole{n}, six{1000, 700, 300, 1500, 96, 500};

template <class M>
comparison compared(const M& m, const documents& parts, int ranks) {
  auto const among = placements(parts, n, ranks);
  return compare(m, span<const placement>(among));
}

/// A row of the table in the README; the best placement is in bold.
template <class M>
std::string row(const char* name, const M& m, const documents& parts, int ranks) {
  auto const all = compared(m, parts, ranks);
  std::string text = fmt::format("| {} | {} |", name, ranks);
  for (std::size_t i = 0; i < all.balances.size(); ++i) {
    const char* const bold = i == all.best ? "**" : "";
    text += fmt::format(" {}{:.2f} ({}){} |", bold, all.balances[i].critical_path, all.balances[i].remote, bold);
  }
  return text;
}

}  // namespace

TEST_CASE("work, remote blocks and the critical path by their definitions") {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    int const ranks = 1 + static_cast<int>(random() % 5);
    extent const queries = static_cast<extent>(random() % 30), keys = static_cast<extent>(random() % 30);
    layout const q = random() % 2 == 0 ? zigzag(queries, ranks) : contiguous(queries, ranks);
    layout const k = random() % 2 == 0 ? striped(keys, ranks, 2) : contiguous(keys, ranks);
    band const m = window(static_cast<extent>(random() % 12), static_cast<extent>(random() % 3));
    std::vector<std::vector<extent>> work(static_cast<std::size_t>(ranks));
    std::vector<extent> pairs;
    extent remote = 0, total = 0;
    for (int a = 0; a < ranks; ++a) {
      extent sum = 0;
      for (int b = 0; b < ranks; ++b) {
        extent seen = 0;
        q.for_each_position(
            a, [&](extent, extent i) { k.for_each_position(b, [&](extent, extent j) { seen += m.allows(i, j); }); });
        work[static_cast<std::size_t>(a)].push_back(seen);
        sum += seen, remote += a != b && seen > 0;
      }
      pairs.push_back(sum), total += sum;
    }
    extent path = 0;
    for (int step = 0; step < ranks; ++step) {
      extent most = 0;
      for (int a = 0; a < ranks; ++a) {
        most = std::max(most, work[static_cast<std::size_t>(a)][static_cast<std::size_t>((a + ranks - step) % ranks)]);
      }
      path += most;
    }
    auto const got = balance(m, q, k);
    CHECK(got.pairs == pairs);
    CHECK(got.remote == remote);
    double const ideal = static_cast<double>(total) / ranks;
    CHECK(got.critical_path == doctest::Approx(total == 0 ? 1 : static_cast<double>(path) / ideal));
  }
}

TEST_CASE("4096 tokens: what was measured elsewhere by counting every pair") {
  struct measured {
    const char* mask;
    int ranks;
    const char* contiguous;
    const char* zigzag;
    const char* stripes_of_64;
    const char* stripes_of_1;
    extent pairs[4];
  };
  measured const table[] = {{"causal", 4, "1.75", "1.00", "1.05", "1.00", {6, 12, 12, 12}},
                            {"causal", 8, "1.87", "1.00", "1.11", "1.00", {28, 56, 56, 56}},
                            {"window", 4, "1.07", "1.33", "1.02", "1.00", {3, 6, 12, 12}},
                            {"window", 8, "1.07", "1.60", "1.06", "1.00", {7, 26, 56, 56}}};
  for (const measured& each : table) {
    CAPTURE(each.mask);
    CAPTURE(each.ranks);
    auto const all = compared(each.mask[0] == 'c' ? causal() : window(511), documents{}, each.ranks);
    const char* const paths[] = {each.contiguous, each.zigzag, each.stripes_of_64, each.stripes_of_1};
    REQUIRE(all.balances.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(std::abs(all.balances[i].critical_path - std::stod(paths[i])) < 0.00501);
      CHECK(all.balances[i].remote == each.pairs[i]);
    }
  }
}

TEST_CASE("the table in the README is what balance() says") {
  std::ifstream file(RINGFOLD_SOURCE_DIR "/README.md");
  std::string const readme{std::istreambuf_iterator<char>(file), {}};
  for (int const ranks : {4, 8}) {
    for (const std::string& line :
         {row("causal", causal(), whole, ranks), row("window of 512", window(511), whole, ranks),
          row("6 documents, causal", six & causal(), six, ranks)}) {
      INFO(line);
      CHECK(readme.find(line + "\n") != std::string::npos);
    }
  }
}

TEST_CASE("the best placement: few blocks among those that are nearly the fastest") {
  CHECK(compared(causal(), documents{}, 8).best == 1);     // zigzag
  CHECK(compared(window(511), documents{}, 8).best == 0);  // contiguous
  CHECK(compared(six & causal(), six, 8).best == 2);       // zigzag by document
  CHECK(compared(full(), documents{}, 8).best == 0);       // all are equal
  CHECK(compared(window(0), documents{n}, 8).best == 0);
  auto const among = placements(documents{}, n, 8);
  CHECK(compare(window(511), span<const placement>(among), 0.0).best == 3);  // stripes of 1: the shortest path alone
  CHECK_THROWS_WITH_AS(compare(full(), span<const placement>{}), "compare: no placements; at least one is needed",
                       usage_error);
  CHECK_THROWS_WITH_AS(balance(full(), contiguous(4, 2), contiguous(4, 3)),
                       "balance: queries lie on 2 ranks, keys on 3; both need the same number", shape_error);
  CHECK(balance(full(), contiguous(0, 3)).critical_path == 1);
}

TEST_CASE("a layout is chosen for a mask") {
  documents const parts{1000, 2000, 500};
  //! [balance]
  auto const among = placements(parts, 4096, 8);  // contiguous, zigzag, ... of 4096 tokens on 8 ranks
  auto const [balances, best] = compare(parts & causal(), span<const placement>(among));
  layout const tokens = among[best].queries;
  //! [balance]
  CHECK(tokens.tokens() == 4096);
  CHECK(std::string(among[best].name) == "zigzag by document");
  CHECK(balances[best].critical_path < 1.02);
}
