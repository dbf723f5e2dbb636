// sanitize: off
// Conformance, merging and rounding: cases that implementations of sequence parallelism have failed.
#include <doctest/doctest.h>

#include <ringfold/algebra/softmax_merge.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/shifted.hpp>

#include "support/definition.hpp"

using namespace ringfold;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Rows of a closed partial in memory of their own.
struct closed {
  oracle::result numbers;
  partial<double> at() {
    auto const rows = static_cast<extent>(numbers.lse.size());
    extent const dim = static_cast<extent>(numbers.o.size()) / rows;
    return {dense(numbers.o.data(), 1, rows, 1, dim), dense(numbers.lse.data(), 1, rows, 1)};
  }
  friend closed operator+(closed a, closed b) {
    merge(host_stream{}, a.at(), b.at());
    return a;
  }
};

bool same(const closed& a, const closed& b) {
  return combinations::bitwise(a.numbers.o, b.numbers.o) && combinations::bitwise(a.numbers.lse, b.numbers.lse);
}

/// The attention of 9 queries to each of several blocks of keys, and to all of them; query 8 sees nothing, and block 2 is
/// seen by nobody.
struct blocks {
  static constexpr extent queries = 9, keys = 21, dim = 3;
  std::vector<double> q = oracle::uniform<double>(queries * dim, 1), k = oracle::uniform<double>(keys * dim, 2),
                      v = oracle::uniform<double>(keys * dim, 3);
  oracle::result of(extent first, extent end) const {
    return oracle::attention({1, queries, keys, 1, 1, dim, dim}, q, k, v, [=](extent i, extent j) {
      return i < 8 && j >= first && j < end && j / 3 != 2 && j <= 2 * i + 4;
    });
  }
  std::vector<closed> parts() const {
    std::vector<closed> made;
    for (extent first = 0; first < keys; first += 3) made.push_back({of(first, first + 3)});
    return made;
  }
};

}  // namespace

TEST_CASE("1. an empty partial changes nothing on either side, and any order or tree of merges is the whole") {
  blocks const all;
  oracle::result const whole = all.of(0, blocks::keys);
  auto const parts = all.parts();
  closed nothing = parts[0];
  set_identity(host_stream{}, nothing.at());
  CHECK(same(nothing + nothing, nothing));
  for (const closed& a : parts) {
    CHECK(same(a + nothing, a));
    CHECK(same(nothing + a, a));
    for (const closed& b : parts) {
      CHECK(same(a + b, b + a));
      for (const closed& c : parts) {
        closed const left = (a + b) + c, right = a + (b + c);
        CHECK(oracle::compare(left.numbers.o, right.numbers.o).largest <= 8 * 0x1p-53);
        CHECK(oracle::compare(left.numbers.lse, right.numbers.lse).largest <= 32 * 0x1p-53);
      }
    }
  }
  auto const is_whole = [&](const closed& made) {
    CHECK(oracle::compare(made.numbers.o, whole.o).largest <= 16 * 0x1p-53);
    CHECK(oracle::compare(made.numbers.lse, whole.lse).largest <= 64 * 0x1p-53);
  };
  closed forward = nothing, backward = nothing;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    forward = forward + parts[i];
    backward = backward + parts[parts.size() - 1 - i];
  }
  is_whole(forward), is_whole(backward);
  std::mt19937_64 random(5);
  for (int tree = 0; tree < 100; ++tree) {
    auto open = parts;
    open.insert(open.begin() + static_cast<std::ptrdiff_t>(random() % open.size()), nothing);
    std::shuffle(open.begin(), open.end(), random);
    while (open.size() > 1) {
      std::size_t const at = random() % (open.size() - 1);
      open[at] = open[at] + open[at + 1];
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
    is_whole(open[0]);
  }
}

TEST_CASE("2. scores far apart, far below, tied and huge, on other ranks; log-sum-exps in other conventions") {
  // One key in a step of the ring may outweigh all others, or weigh nothing: with q = 1 a key is its own score.
  std::vector<std::vector<double>> const scores = {
      {0, 100, -100, 50, 0, 99, -1e4, 1e4, 1e4 - 1, -100, 3, 0},
      {-1e4, -1e4 + 100, -1e4 + 99, -2e4, -1e4, 0, -1e4, -1e4, 5, -1e4, 7, 6},
      {-6e4, -50001, -50002, -5.5e4, -50001, -50003, -6e4, -50002, -7e4, -50001, -50009, -50001.5},
      std::vector<double>(12, 2.5),
      {5e4, 5e4 - 3, 5e4, 1e4, 0, 5e4 - 1, 4.9e4, 5e4 - 2, 5e4, 100, -5e4, 5e4 - 1},
      {1e30, 3, -1e30, 1e30, 0, 1e29, -1e30, 1e30, 7, 0, 0, 1e30}};
  for (const auto& row : scores) {
    double largest = 0;
    for (double const each : row) largest = std::max(largest, each < 1e29 ? std::fabs(each) : 0);
    for (int const ranks : {1, 2, 3, 5}) {
      for (auto const which : schedules::names) {
        CAPTURE(row[0]);
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(which));
        schedules::experiment<float> e(striped(12, ranks), {.heads = 5, .kv_heads = 1, .dim = 1, .value_dim = 4},
                                       full(), 3, 1.7, {1.0, {}});
        e.q.assign(e.q.size(), 1.0);
        for (std::size_t i = 0; i < row.size(); ++i) e.k[i] = static_cast<double>(static_cast<float>(row[i]));
        definition::cotangents const of(e);
        auto const exact = e.exact();
        auto const slopes =
            oracle::backward(e.sizes(), e.q, e.k, e.v, of.out, of.lse, [](extent, extent) { return true; });
        auto const got = schedules::run_backward(e, which, flash_kernel{}, of.out, of.lse);
        // A rounded log-sum-exp of size s carries s roundoffs into every weight that is taken from it.
        double const bound = (64 + 8 * largest) * 0x1p-24;
        CHECK(oracle::compare(got.forward.o, exact.o).relative <= bound);
        CHECK(oracle::compare(got.forward.lse, exact.lse).relative <= 4 * 0x1p-24);
        CHECK(oracle::compare(got.dv, slopes.dv).relative <= bound);
        if (row[0] < 1e29) CHECK(oracle::compare(got.dq, slopes.dq).largest <= bound * largest * 16);
      }
    }
  }

  // FlashAttention 2 says +inf of an empty row, others NaN, FlashInfer takes logarithms of base 2.
  CHECK(adapt_lse(infinity) == -infinity);
  CHECK(adapt_lse(std::nan("")) == -infinity);
  CHECK(adapt_lse(-infinity) == -infinity);
  CHECK(adapt_lse(-6e4) == -6e4);
  blocks const all;
  auto const parts = all.parts();
  closed merged = parts[0], in_base_2 = parts[0];
  for (std::size_t i = 1; i < parts.size(); ++i) {
    closed foreign = parts[i];
    for (std::size_t row = 0; row < foreign.numbers.lse.size(); ++row) {
      double& lse = foreign.numbers.lse[row];
      lse = adapt_lse(lse == -infinity ? (row % 2 == 0 ? infinity : std::nan("")) : lse);
      if (lse == -infinity) foreign.numbers.o[row * blocks::dim] = std::nan("");  // such a row is read by nobody
    }
    partial<double, host_space, base_2> const two = convert<base_2>(host_stream{}, foreign.at());
    merge(host_stream{}, merged.at(), convert<base_e>(host_stream{}, two));
  }
  oracle::result const whole = all.of(0, blocks::keys);
  CHECK(oracle::compare(merged.numbers.o, whole.o).largest <= 32 * 0x1p-53);
  CHECK(oracle::compare(merged.numbers.lse, whole.lse).largest <= 64 * 0x1p-53);
}

TEST_CASE(
    "3. rows that see nothing in one block or in all, keys that nobody sees: 0, -inf and gradients of exactly 0") {
  struct {
    extent queries, keys;
    band mask;
  } const cases[] = {
      {20, 20, causal()},                         // nothing in the blocks of later ranks
      {20, 20, causal().shifted(-1)},             // query 0 sees nothing anywhere
      {20, 12, bottom_right(causal(), 20, 12)},   // nor do the first 8
      {9, 20, window(1)},                         // keys 9 and on are seen by nobody
      {20, 9, window(0)},                         // queries 9 and on see nothing
      {20, 20, window(0, 0).shifted(40)},         // nobody sees anything
      {20, 20, causal() & window(0).shifted(3)},  // each sees one key, three on, of which causal leaves none
  };
  for (const auto& c : cases) {
    for (int const ranks : {1, 2, 3, 5}) {
      for (auto const which : schedules::names) {
        CAPTURE(c.queries);
        CAPTURE(c.keys);
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(which));
        schedules::experiment<float> const e(contiguous(c.queries, ranks), contiguous(c.keys, ranks),
                                             {.batch = 2, .heads = 5, .dim = 3}, c.mask, 9);
        definition::check(e, which, flash_kernel{});
      }
    }
  }
}

namespace {

/// Errors of o, dq, dk and dv against float64.
std::array<double, 4> errors(const auto& got, const oracle::result& exact, const oracle::gradients& slopes) {
  return {oracle::compare(got.forward.o, exact.o).relative, oracle::compare(got.dq, slopes.dq).relative,
          oracle::compare(got.dk, slopes.dk).relative, oracle::compare(got.dv, slopes.dv).relative};
}

/// The errors on any number of ranks are at most `more` times those on one, which are below `bound`.
template <class T>
void check_growth(double more, double bound) {
  schedules::experiment<T> e(zigzag(128, 1), {.heads = 16, .kv_heads = 4, .dim = 16}, causal(), 5);
  definition::cotangents const of(e);
  auto const exact = e.exact();
  auto const slopes =
      oracle::backward(e.sizes(), e.q, e.k, e.v, of.out, of.lse, [](extent i, extent j) { return j <= i; });
  auto const one =
      errors(schedules::run_backward(e, schedules::name::ring, flash_kernel{}, of.out, of.lse), exact, slopes);
  for (double const each : one) CHECK(each <= bound);
  for (int const ranks : {2, 3, 4, 5, 7, 8, 16}) {
    e.tokens = zigzag(128, ranks);
    for (auto const which : schedules::names) {
      CAPTURE(ranks);
      CAPTURE(static_cast<int>(which));
      auto const some = errors(schedules::run_backward(e, which, flash_kernel{}, of.out, of.lse), exact, slopes);
      for (std::size_t i = 0; i < one.size(); ++i) {
        CAPTURE(i);
        CAPTURE(some[i] / one[i]);
        CHECK(some[i] <= more * one[i]);
      }
    }
  }
}

}  // namespace

TEST_CASE("5. errors of o, dq, dk and dv do not grow with the number of ranks") {
  check_growth<float>(1.5, 16 * 0x1p-24);
  check_growth<bf16>(1.05, 0x1p-8);  // what is summed and merged is float: bf16 rounds once, on any number of ranks
}

TEST_CASE("6. sums and log-sum-exps are kept in float where elements are bf16") {
  static_assert(std::is_same_v<decltype(make_problem<bf16>(contiguous(1, 1), {}))::accumulate, float>);
  // 512 equal weights, which bf16 holds: its sums would stall at 256 ones, and its log-sum-exps have two digits.
  extent const n = 512;
  for (int const ranks : {1, 2, 3, 8}) {
    for (auto const which : schedules::names) {
      CAPTURE(ranks);
      CAPTURE(static_cast<int>(which));
      schedules::experiment<bf16> e(contiguous(n, ranks), {.heads = 8, .kv_heads = 2, .dim = 1}, full(), 1);
      e.q.assign(e.q.size(), 0.0);
      for (std::size_t i = 0; i < e.v.size(); ++i)
        e.v[i] = i / 2 == n - 1 ? 0x1p100 : i / 2 % 2 == 0 ? 1.0 : 1 + 0x1p-7;
      std::vector<double> const dout(e.q.size(), 1.0), none(e.q.size(), 0.0);
      auto const got = schedules::run_backward(e, which, flash_kernel{}, dout, none);
      for (float const lse : got.forward.lse) CHECK(std::fabs(lse - std::log(512.0)) <= 2e-6);
      // A large value on the last rank drowns the others everywhere, and overflows nowhere.
      for (bf16 const o : got.forward.o) CHECK(static_cast<float>(o) == 0x1p91F);
      // 512 queries give each key 4 / 512 each (four heads share it): 4, to the last bit.
      for (bf16 const dv : got.dv) CHECK(static_cast<float>(dv) == 4.0F);
    }
  }
}
