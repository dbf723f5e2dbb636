#include <ringfold/algebra/binned_softmax.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace ringfold;

namespace {

constexpr int dim = 5;

template <class A>
constexpr A infinity = std::numeric_limits<A>::infinity();

/// One row's partial.
template <class A>
struct row {
  A lse, o[dim];
};

template <class A, class Base = base_2>
row<A> merged(const std::vector<row<A>>& parts) {
  A level;
  binned_sum<A> weights, outputs[dim];
  binned_partial<A> const sum{dense(&level, 1, 1, 1), dense(&weights, 1, 1, 1), dense(outputs, 1, 1, 1, dim)};
  set_identity(host_stream{}, sum);
  for (row<A> part : parts) {
    merge(host_stream{}, sum, partial<A, host_space, base_2>{dense(part.o, 1, 1, 1, dim), dense(&part.lse, 1, 1, 1)});
  }
  row<A> made;
  close(host_stream{}, sum, partial<A, host_space, Base>{dense(made.o, 1, 1, 1, dim), dense(&made.lse, 1, 1, 1)});
  return made;
}

template <class A>
bool same(const row<A>& a, const row<A>& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

template <class A>
std::vector<row<A>> make_rows(std::mt19937_64& random, double spread) {
  std::uniform_real_distribution<double> number(-1, 1);
  std::vector<row<A>> made(1 + random() % 40);
  for (auto& each : made) {
    each.lse = static_cast<A>(number(random) * spread);
    if (random() % 7 == 0) each.lse = -infinity<A>;
    if (random() % 5 == 0) each.lse = std::round(each.lse / 32) * 32;
    for (A& o : each.o) o = static_cast<A>(number(random) * std::pow(2.0, static_cast<double>(random() % 40) - 20));
  }
  return made;
}

/// The definition, in long double, relative to the largest.
template <class A>
void check_exact(const std::vector<row<A>>& parts, double bound) {
  long double largest = -INFINITY, sum = 0, o[dim] = {}, size[dim] = {};
  for (auto const& each : parts) largest = std::max(largest, static_cast<long double>(each.lse));
  auto const got = merged(parts);
  if (largest == -INFINITY) {
    CHECK(got.lse == -infinity<A>);
    for (A const each : got.o) CHECK(each == 0);
    return;
  }
  for (auto const& each : parts) {
    long double const weight = std::exp2(static_cast<long double>(each.lse) - largest);
    sum += weight;
    for (int d = 0; d < dim; ++d)
      o[d] += weight * static_cast<long double>(each.o[d]), size[d] += weight * std::fabs(each.o[d]);
  }
  long double const lse = largest + std::log2(sum);
  CHECK(std::fabs(got.lse - lse) <= bound * (1 + std::fabs(lse)));
  for (int d = 0; d < dim; ++d) CHECK(std::fabs(got.o[d] - o[d] / sum) <= bound * (size[d] / sum));
}

template <class A>
void check_order(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (double const spread : {1.0, 50.0, 1e3, 1e6, 1e9, 1e30}) {
    for (int round = 0; round < 60; ++round) {
      auto rows = make_rows<A>(random, spread);
      auto const wanted = merged(rows);
      for (int i = 0; i < 6; ++i) {
        std::shuffle(rows.begin(), rows.end(), random);
        REQUIRE(same(merged(rows), wanted));
      }
      check_exact(rows, 8 * std::numeric_limits<A>::epsilon());
    }
  }
}

template <class A>
void check_edges() {
  A const ninf = -infinity<A>, top = std::numeric_limits<A>::max();
  auto const one = [](A lse, A o) { return row<A>{lse, {o, -o, o, 0, o}}; };
  CHECK(same(merged<A>({}), row<A>{ninf, {}}));
  CHECK(same(merged<A>({one(ninf, 3)}), row<A>{ninf, {}}));
  for (A const lse : {A(0), A(0.3), A(-0.3), A(31.5), A(32), A(-32), A(-64), A(1e4), A(-1e4), A(1e30), A(-1e30)}) {
    auto const alone = merged<A>({one(lse, A(0.7)), one(ninf, 5)});
    CHECK(alone.lse == doctest::Approx(static_cast<double>(lse)).epsilon(4 * std::numeric_limits<A>::epsilon()));
    CHECK(alone.o[0] == doctest::Approx(0.7).epsilon(4 * std::numeric_limits<A>::epsilon()));
    CHECK(alone.o[1] == -alone.o[0]);
    CHECK(alone.o[3] == 0);
  }
  A const large = A(0.999) * top;  // its sum over chunks is more than there is
  CHECK(merged<A>({one(3, large), one(3, large), one(2, large)}).o[0] == doctest::Approx(static_cast<double>(large)));
  // What a chunk counts for decides, not how large its values are.
  CHECK(merged<A>({one(0, 1), one(A(-1e6), top)}).o[0] == 1);
  CHECK(merged<A>({one(A(-1e6), top), one(0, 1)}).o[0] == 1);
  CHECK(merged<A, base_e>({one(1, 1), one(1, 1)}).lse == doctest::Approx(2 * std::log(2.0)));
  for (A const wrong : {infinity<A>, std::numeric_limits<A>::quiet_NaN()}) {
    auto const bad = merged<A>({one(0, 1), one(wrong, 1), one(1000, 1)});
    CHECK(std::isnan(bad.lse));
    CHECK(std::isnan(bad.o[0]));
  }
  auto const poisoned = merged<A>({one(1, infinity<A>), one(900, 1)});
  CHECK(poisoned.o[0] == infinity<A>);
  CHECK(std::isnan(merged<A>({one(1, infinity<A>), one(900, -infinity<A>)}).o[0]));
  CHECK(std::isfinite(poisoned.lse));
}

}  // namespace

TEST_CASE("partials in any order give the same bits, and what the definition gives") {
  check_order<float>(1);
  check_order<double>(2);
}

TEST_CASE("empty rows, far levels, the largest numbers and what is not a number") {
  check_edges<float>();
  check_edges<double>();
}
