#include <doctest/doctest.h>

#include <fmt/format.h>

#include <cstring>
#include <random>

#include <ringfold/kernel/reference.hpp>

#include "support/schedules.hpp"

using namespace ringfold;

namespace {

// One combination of everything that a schedule must not care about.
struct combination {
  int ranks, schedule, layout, mask, dtype, ratio, tokens, batch, order;
  static constexpr int levels[] = {9, 7, 6, 5, 4, 5, 6, 2, 4};
  static constexpr int factors = 9;
  int& operator[](int factor) { return (&ranks)[factor]; }
  int operator[](int factor) const { return (&ranks)[factor]; }
};

constexpr int rank_counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 16};
constexpr extent token_counts[] = {0, 1, 17, 31, 32, 45};
struct ratio {
  extent heads, kv_heads;
};
constexpr ratio ratios[] = {{4, 4}, {4, 2}, {3, 1}, {6, 3}, {16, 4}};
const band masks[] = {full(), causal(), window(3), window(2, 4), window(0, 0)};

layout make_layout(int kind, extent tokens, int ranks, std::uint64_t seed) {
  switch (kind) {
    case 0: return contiguous(tokens, ranks);
    case 1: return zigzag(tokens, ranks);
    case 2: return striped(tokens, ranks);
    case 3: return striped(tokens, ranks, 3);
    case 4: {  // any lengths, empty ranks among them
      std::mt19937_64 random(seed);
      std::vector<extent> lengths(static_cast<std::size_t>(ranks), 0);
      for (extent i = 0; i < tokens; ++i) ++lengths[random() % lengths.size() / 2 * 2 % lengths.size()];
      return uneven(tokens, lengths);
    }
    default: {  // all on the last rank
      std::vector<extent> lengths(static_cast<std::size_t>(ranks), 0);
      lengths.back() = tokens;
      return uneven(tokens, lengths);
    }
  }
}

template <class T>
constexpr double roundoff = 0;
template <>
constexpr double roundoff<double> = 0x1p-53;
template <>
constexpr double roundoff<float> = 0x1p-24;
template <>
constexpr double roundoff<bf16> = 0x1p-8;
template <>
constexpr double roundoff<f16> = 0x1p-11;

template <class T>
bool bitwise(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
void check(const combination& c, std::uint64_t seed) {
  int const ranks = rank_counts[c.ranks];
  auto const which = schedules::names[c.schedule];
  auto const [heads, kv_heads] = ratios[c.ratio];
  shape const s{.batch = c.batch + 1, .heads = heads, .kv_heads = kv_heads, .dim = 5, .value_dim = 7};
  schedules::experiment<T> e(make_layout(c.layout, token_counts[c.tokens], ranks, seed), s, masks[c.mask], seed);
  e.order = sharded::memory_orders[c.order];

  int const across = schedules::columns(ranks);
  bool const many = (which == schedules::name::ulysses && ranks > heads) ||
                    ((which == schedules::name::usp || which == schedules::name::ring_of_ulysses) && across > heads);
  if (many) {
    CHECK_THROWS_WITH_AS(schedules::run(e, which, reference_kernel{}), doctest::Contains("query heads; use at most"),
                         usage_error);
    return;
  }
  auto const exact = e.exact();
  auto const got = schedules::run(e, which, reference_kernel{}, 2);

  // No worse than 1.5 times the same kernel on one rank, or than rounding the exact answer.
  schedules::experiment<T> alone = e;
  alone.tokens = contiguous(token_counts[c.tokens], 1);
  auto const single = schedules::run(alone, schedules::name::ring, reference_kernel{});
  double const floor = 4 * roundoff<T>;
  auto const error = oracle::compare(got.o, exact.o), single_error = oracle::compare(single.o, exact.o);
  CHECK(error.relative <= 1.5 * std::max(single_error.relative, floor));
  auto const lse_error = oracle::compare(got.lse, exact.lse);
  CHECK(lse_error.largest <= 1e-5);

  // Run to run the same bits; on one rank the kernel's own bits and nothing sent.
  auto const again = schedules::run(e, which, reference_kernel{});
  CHECK(bitwise(got.o, again.o));
  CHECK(bitwise(got.lse, again.lse));
  if (ranks == 1) {
    auto p = e.problem();
    auto const local = sharded::run(reference_kernel{}, p, e.q, e.k, e.v, {.order = e.order});
    std::vector<T> rounded;
    for (auto const each : local.o) rounded.push_back(static_cast<T>(each));
    CHECK(bitwise(got.o, rounded));
    CHECK(bitwise(got.lse, local.lse));
    CHECK(got.books[0].steps == 0);
    CHECK(got.books[0].messages == 0);
  }

  for (int rank = 0; rank < ranks; ++rank) {
    auto const& book = got.books[static_cast<std::size_t>(rank)];
    CHECK(book.in_flight == 0);
    examples::sent sent;
    if (!schedules::expected(e, which, rank, sent)) continue;
    CAPTURE(rank);
    CHECK(book.total_bytes() == sent.bytes);
    CHECK(book.steps == sent.steps);
  }
}

void check(const combination& c, std::uint64_t seed) {
  CAPTURE(seed);
  std::string const text =
      fmt::format("P={} schedule={} layout={} mask={} dtype={} heads={}:{} tokens={} batch={} order={}",
                  rank_counts[c.ranks], c.schedule, c.layout, c.mask, c.dtype, ratios[c.ratio].heads,
                  ratios[c.ratio].kv_heads, token_counts[c.tokens], c.batch + 1, c.order);
  CAPTURE(text);
  switch (c.dtype) {
    case 0: return check<float>(c, seed);
    case 1: return check<double>(c, seed);
    case 2: return check<bf16>(c, seed);
    default: return check<f16>(c, seed);
  }
}

// Combinations in which every pair of levels of two factors occurs.
std::vector<combination> all_pairs(std::mt19937_64& random) {
  constexpr int most = 9;
  bool covered[combination::factors][combination::factors][most][most] = {};
  int open = 0;
  for (int a = 0; a < combination::factors; ++a) {
    for (int b = a + 1; b < combination::factors; ++b) open += combination::levels[a] * combination::levels[b];
  }
  auto const visit = [&](const combination& c, bool mark) {
    int fresh = 0;
    for (int a = 0; a < combination::factors; ++a) {
      for (int b = a + 1; b < combination::factors; ++b) {
        bool& pair = covered[a][b][c[a]][c[b]];
        fresh += !pair;
        if (mark) pair = true;
      }
    }
    return fresh;
  };
  std::vector<combination> chosen;
  while (open > 0) {
    combination best{};
    int most_fresh = -1;
    for (int attempt = 0; attempt < 200; ++attempt) {
      combination c{};
      for (int f = 0; f < combination::factors; ++f) {
        c[f] = static_cast<int>(random() % static_cast<unsigned>(combination::levels[f]));
      }
      if (int const fresh = visit(c, false); fresh > most_fresh) best = c, most_fresh = fresh;
    }
    if (most_fresh == 0) continue;
    open -= visit(best, true);
    chosen.push_back(best);
  }
  return chosen;
}

}  // namespace

TEST_CASE("every pair of rank count, schedule, layout, mask, dtype, head ratio, length, batch and memory order") {
  std::mt19937_64 random(20);
  std::uint64_t seed = 100;
  for (const combination& c : all_pairs(random)) check(c, seed++);
}

TEST_CASE("random combinations") {
#ifdef RINGFOLD_SANITIZED
  int const count = 60;
#else
  int const count = 600;
#endif
  std::mt19937_64 random(7);
  for (int i = 0; i < count; ++i) {
    combination c{};
    for (int f = 0; f < combination::factors; ++f) {
      c[f] = static_cast<int>(random() % static_cast<unsigned>(combination::levels[f]));
    }
    check(c, random() % 100000);
  }
}
