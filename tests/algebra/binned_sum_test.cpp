#include <ringfold/algebra/binned_sum.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <ringfold/testing/monoid_laws.hpp>

using namespace ringfold;

namespace {

template <class A>
constexpr A infinity = std::numeric_limits<A>::infinity();
template <class A>
constexpr A nan = std::numeric_limits<A>::quiet_NaN();
template <class A>
constexpr int digits = std::numeric_limits<A>::digits;
template <class A>
constexpr int lowest_exponent = std::numeric_limits<A>::min_exponent - digits<A>;  // of the smallest number

template <class T>
bool same(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

/// The kinds of terms that sums may meet.
enum class kind { alike, far_apart, cancelling, subnormal, zeros, not_finite };
constexpr kind kinds[] = {kind::alike,     kind::far_apart, kind::cancelling,
                          kind::subnormal, kind::zeros,     kind::not_finite};

template <class A>
std::vector<A> make_terms(kind which, std::size_t count, std::mt19937_64& random) {
  std::uniform_real_distribution<A> number(A(-2), A(2));
  std::vector<A> made;
  auto const spread = [&](int low, int high) {
    return std::ldexp(number(random), low + static_cast<int>(random() % static_cast<unsigned>(high - low)));
  };
  while (made.size() < count) {
    A term = number(random);
    if (which == kind::far_apart) term = spread(lowest_exponent<A>, std::numeric_limits<A>::max_exponent - 2);
    if (which == kind::subnormal) term = spread(lowest_exponent<A>, lowest_exponent<A> + digits<A> + 8);
    if (which == kind::zeros) term = random() % 3 == 0 ? term : random() % 2 == 0 ? A(0) : A(-0.0);
    if (which == kind::not_finite && random() % 9 == 0) {
      A const choices[] = {infinity<A>, -infinity<A>, nan<A>, -nan<A>};
      term = choices[random() % (made.size() % 3 == 0 ? 1 : 4)];
    }
    made.push_back(term);
    if (which == kind::cancelling) {
      made.back() = spread(-60, 60);
      made.push_back(-made.back());
      if (random() % 8 == 0) made.push_back(number(random));
    }
  }
  return made;
}

template <class A>
binned_sum<A> fold(const std::vector<A>& terms) {
  binned_sum<A> sum(0);
  for (A const term : terms) sum += term;
  return sum;
}

/// The terms in any order, joined to sums and sums to sums in any grouping.
template <class A>
binned_sum<A> random_tree(std::vector<A> terms, std::mt19937_64& random) {
  std::shuffle(terms.begin(), terms.end(), random);
  std::vector<binned_sum<A>> open;
  for (A const term : terms) {
    if (open.empty() || random() % 4 == 0) open.emplace_back(A(0));
    open[random() % open.size()] += term;
  }
  while (open.size() > 1) {
    std::size_t const to = random() % (open.size() - 1);
    open[to] += open.back();
    open.pop_back();
  }
  return open.empty() ? binned_sum<A>(0) : open[0];
}

/// Every bit of a sum of finite numbers, in limbs of 32 bits from the smallest number on.
template <class A>
class whole_sum {
 public:
  void add(A term) {
    int exponent = 0;
    A const fraction = std::frexp(term, &exponent);
    auto const significand = static_cast<std::int64_t>(std::ldexp(fraction, digits<A>));
    int const place =
        exponent - digits<A> - lowest_exponent<A>;  // below 0 for subnormal numbers, whose last bits are 0
    auto size = static_cast<wide>(significand < 0 ? -significand : significand);
    size = place < 0 ? size >> -place : size << place % 32;
    for (int limb = place < 0 ? 0 : place / 32; size != 0; ++limb, size >>= 32) {
      auto const part = static_cast<std::int64_t>(size & 0xffffffffu);
      limbs_[static_cast<std::size_t>(limb)] += significand < 0 ? -part : part;
    }
  }
  long double value() const {
    long double sum = 0;
    for (std::size_t i = limbs_.size(); i-- > 0;) {
      sum += std::ldexp(static_cast<long double>(limbs_[i]), 32 * static_cast<int>(i) + lowest_exponent<A>);
    }
    return sum;
  }

 private:
  __extension__ typedef unsigned __int128 wide;
  std::vector<std::int64_t> limbs_ = std::vector<std::int64_t>(70);
};

template <class A>
struct monoid_of_sums {
  using element = binned_sum<A>;
  static constexpr bool commutative = true;
  element identity() const { return element(0); }
  element combine(element a, const element& b) const { return a += b; }
};

template <class A>
void check_order(std::uint64_t seed, int rounds) {
  std::mt19937_64 random(seed);
  for (int round = 0; round < rounds; ++round) {
    for (kind const which : kinds) {
      auto terms = make_terms<A>(which, 1 + random() % 200, random);
      auto const sum = fold(terms);
      for (int tree = 0; tree < 5; ++tree) REQUIRE(same(random_tree(terms, random), sum));
      // By size, both ways: the highest bin comes last, and first.
      std::sort(terms.begin(), terms.end(), [](A a, A b) { return std::fabs(a) < std::fabs(b); });
      REQUIRE(same(fold(terms), sum));
      std::reverse(terms.begin(), terms.end());
      REQUIRE(same(fold(terms), sum));
    }
  }
}

template <class A>
void check_accuracy(std::uint64_t seed, int rounds) {
  std::mt19937_64 random(seed);
  for (int round = 0; round < rounds; ++round) {
    for (kind const which : {kind::alike, kind::far_apart, kind::cancelling, kind::subnormal, kind::zeros}) {
      auto const terms = make_terms<A>(which, 1 + random() % 100, random);
      whole_sum<A> exact;
      A largest = 0;
      for (A const term : terms) exact.add(term), largest = std::max(largest, std::fabs(term));
      A const got = fold(terms).value();
      auto error = exact;
      error.add(-got);
      int const kept = 32 * (binned_sum<A>::bins - 1);
      long double const dropped = std::ldexp(static_cast<long double>(largest), -kept) * static_cast<int>(terms.size());
      long double const half = (std::nextafter(std::fabs(got), infinity<A>) - std::fabs(got)) / 2.0L;
      REQUIRE(std::isfinite(got));
      REQUIRE(std::fabs(error.value()) <= dropped + half);
      if (which == kind::subnormal) REQUIRE(std::fabs(error.value()) <= half);  // nothing is below the bins kept
    }
  }
}

template <class A>
void check_single(std::uint64_t seed) {
  using limits = std::numeric_limits<A>;
  auto const back = [](A term) { return binned_sum<A>(term).value(); };
  for (A const term : {A(1), A(-1), limits::min(), limits::max(), limits::lowest(), limits::denorm_min(),
                       -limits::denorm_min(), limits::min() - limits::denorm_min(), infinity<A>, -infinity<A>}) {
    CHECK(back(term) == term);
  }
  CHECK(same(back(A(-0.0)), A(0)));
  CHECK(std::isnan(back(nan<A>)));
  CHECK(std::isnan(back(-nan<A>)));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 20000; ++i) {
    std::uint64_t const bits = random();
    A term;
    std::memcpy(&term, &bits, sizeof term);
    if (std::isfinite(term) && term != 0) REQUIRE(same(back(term), term));
  }
}

template <class A>
void check_rounding() {
  using limits = std::numeric_limits<A>;
  A const one_more = std::ldexp(A(1), digits<A>), tiny = A(0.0625);
  auto const sum = [](std::vector<A> terms) { return fold(terms).value(); };
  CHECK(sum({one_more, 1}) == one_more);  // ties to even, both ways
  CHECK(sum({one_more, 2, 1}) == one_more + 4);
  CHECK(sum({one_more, 1, tiny}) == one_more + 2);
  CHECK(sum({one_more, 2, 1, -tiny}) == one_more + 2);
  CHECK(sum({-one_more, -1, -tiny}) == -one_more - 2);
  CHECK(sum({one_more - 1, A(0.5)}) == one_more);  // carries into the exponent
  CHECK(sum({limits::max(), limits::max()}) == infinity<A>);
  CHECK(sum({limits::lowest(), limits::lowest()}) == -infinity<A>);
  CHECK(sum({limits::max(), limits::max(), limits::lowest()}) == limits::max());  // no overflow on the way
  A const half_ulp = std::ldexp(A(1), limits::max_exponent - digits<A> - 1);
  CHECK(sum({limits::max(), half_ulp}) == infinity<A>);
  CHECK(sum({limits::max(), half_ulp / 2}) == limits::max());
  CHECK(sum({limits::min(), -limits::denorm_min()}) == limits::min() - limits::denorm_min());
  CHECK(same(sum({A(1), A(-1)}), A(0)));
  CHECK(sum({infinity<A>, A(3)}) == infinity<A>);
  CHECK(sum({limits::max(), -infinity<A>}) == -infinity<A>);
  CHECK(std::isnan(sum({infinity<A>, -infinity<A>})));
  CHECK(std::isnan(sum({A(1), nan<A>, infinity<A>})));
}

template <class A>
void check_scaling(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    auto const terms = make_terms<A>(kinds[random() % 5], 1 + random() % 20, random);
    int const bins = static_cast<int>(random() % 30), fine = static_cast<int>(random() % 32), down = 32 * bins + fine;
    binned_sum<A> scaled(0), lowered(0), late(0);
    for (A const term : terms) {
      scaled.add(term, -down);
      lowered.add(term, -fine);
      late += binned_sum<A>(term);
    }
    lowered.lower(bins), late.lower(bins);
    REQUIRE(same(lowered, scaled));
    REQUIRE(same(late.value(32 * bins), fold(terms).value()));
    if (terms.size() == 1) REQUIRE(same(scaled.value(down), fold(terms).value()));
  }
  binned_sum<A> sum(A(1));
  sum.lower(1 << 20);
  CHECK(same(sum, binned_sum<A>(0)));
  sum.add(std::numeric_limits<A>::max(), -(1 << 20));
  CHECK(same(sum, binned_sum<A>(0)));
  sum = binned_sum<A>(infinity<A>);
  sum.lower(1 << 20);
  CHECK(sum.value() == infinity<A>);
  CHECK(binned_sum<A>(A(1.5)).value(-1) == A(0.75));
  CHECK(binned_sum<A>(A(1.5)).value(-20000) == 0);
  CHECK(binned_sum<A>(A(-1.5)).value(20000) == -infinity<A>);
}

template <class A>
void check_headroom() {
  // All digits at the top of a bin, as often as they are promised to fit.
  for (A const sign : {A(1), A(-1)}) {
    for (int place = 0; place < 32; ++place) {
      A const term = sign * std::ldexp(std::nextafter(A(2), A(0)), place);
      binned_sum<A> sum(term);
      for (std::int64_t terms = 1; terms < binned_sum<A>::most_terms; terms *= 2) sum += binned_sum<A>(sum);
      REQUIRE(sum.value() == term * A(binned_sum<A>::most_terms));
      binned_sum<A> back(-term);
      for (std::int64_t terms = 1; terms < binned_sum<A>::most_terms; terms *= 2) back += binned_sum<A>(back);
      sum += back;
      REQUIRE(same(sum.value(), A(0)));
    }
  }
}

template <class A>
void check_laws() {
  std::vector<binned_sum<A>> elements;
  std::mt19937_64 random(5);
  for (kind const which : kinds) {
    for (int i = 0; i < 3; ++i) elements.push_back(fold(make_terms<A>(which, 1 + random() % 9, random)));
  }
  auto const distance = [](const auto& a, const auto& b) { return same(a, b) ? 0.0 : 1.0; };
  CHECK_NOTHROW(monoid_laws(monoid_of_sums<A>{}, elements, distance, 0, [](const auto&) { return true; }));
}

}  // namespace

TEST_CASE("a sum is the same bits in any order and grouping, whatever its terms") {
  check_order<float>(1, 100);
  check_order<double>(2, 100);
}

TEST_CASE("a sum is as near to the exact one as it says") {
  check_accuracy<float>(3, 200);
  check_accuracy<double>(4, 200);
}

TEST_CASE("one term is its own sum") {
  check_single<float>(5);
  check_single<double>(6);
}

TEST_CASE("a sum is rounded once, to nearest even, and does not overflow on its way") {
  check_rounding<float>();
  check_rounding<double>();
}

TEST_CASE("terms scaled by a power of two, and sums moved down by bins, lose no bit") {
  check_scaling<float>(7);
  check_scaling<double>(8);
}

TEST_CASE("as many terms fit as are promised") {
  check_headroom<float>();
  check_headroom<double>();
}

TEST_CASE("sums are a commutative monoid to the bit") {
  check_laws<float>();
  check_laws<double>();
}

TEST_CASE("sums are numbers that can be sent, rounded and set to zero") {
  static_assert(sizeof(binned_sum<float>) == 16 && dtype_of<binned_sum<float>>.bytes() == 16);
  static_assert(sizeof(binned_sum<double>) == 24 && dtype_of<binned_sum<double>>.bytes() == 24);
  //! [binned_sum]
  float const terms[] = {1e8F, 1.5F, -1e8F};
  binned_sum<float> forward(0), backward(0);
  for (int i = 0; i < 3; ++i) forward += terms[i], backward += terms[2 - i];
  CHECK(forward.value() == 1.5F);
  CHECK(static_cast<bf16>(backward).bits == bf16(1.5F).bits);
  //! [binned_sum]
  unsigned char nothing[sizeof(binned_sum<double>)] = {};
  CHECK(std::memcmp(nothing, &static_cast<const binned_sum<double>&>(binned_sum<double>(0)), sizeof nothing) == 0);
}
