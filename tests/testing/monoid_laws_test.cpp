#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

#include <ringfold/algebra/softmax_merge.hpp>
#include <ringfold/core/dtype.hpp>
#include <ringfold/testing/monoid_laws.hpp>

using namespace ringfold;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

template <class T, class Base>
std::vector<typename softmax_monoid<T, Base>::element> softmax_elements() {
  T const empty = -std::numeric_limits<T>::infinity();
  return {{0, empty},         {1, 0},        {T(-0.5), 0},   {T(0.25), T(-0.0)}, {T(0.7), 3},
          {T(-0.9), T(3.25)}, {1, T(1e4)},   {-1, T(-1e4)},  {T(0.3), T(-6e4)},  {T(-0.0), T(1e4)},
          {T(0.1), T(0.001)}, {T(0.6), -87}, {-1, T(-87.5)}, {T(0.2), T(1e30)}};
}

// A log-sum-exp resolves weights to its own last place, so that is the unit; outputs are within [-1, 1].
template <class T>
auto const softmax_distance = [](const auto& a, const auto& b) -> double {
  double const size = std::fmax(std::fabs(a.lse), std::fabs(b.lse));
  if (std::isinf(size)) return a.lse == b.lse && a.o == b.o ? 0 : std::numeric_limits<double>::infinity();
  double const unit = std::numeric_limits<T>::epsilon() * (1 + size);
  return std::fmax(std::fabs(double(a.lse) - double(b.lse)), std::fabs(double(a.o) - double(b.o))) / unit;
};

auto const softmax_valid = [](const auto& e) {
  if (e.lse == -std::numeric_limits<decltype(e.lse)>::infinity()) return e.o == 0;
  return std::isfinite(e.lse) && std::fabs(e.o) <= 1.001;
};

// FlashInfer's freshly made state: no maximum yet, but a denominator of 1.
struct flashinfer_state {
  struct element {
    float o, m, d;
  };
  static constexpr bool commutative = true;
  element identity() const { return {0, -infinity, 1}; }
  element combine(const element& a, const element& b) const {
    float const m = std::fmax(a.m, b.m), scale_a = std::exp2(a.m - m), scale_b = std::exp2(b.m - m);
    return {a.o * scale_a + b.o * scale_b, m, a.d * scale_a + b.d * scale_b};
  }
};

// The merge of ring-flash-attention and its many copies.
struct sigmoid_merge : softmax_monoid<float> {
  element combine(const element& a, const element& b) const {
    float const sigmoid = 1 / (1 + std::exp(a.lse - b.lse));
    return {a.o - sigmoid * (a.o - b.o), a.lse + std::log1p(std::exp(b.lse - a.lse))};
  }
};

// Its first form, which overflows at a gap of 89.
struct overflowing_merge : softmax_monoid<float> {
  element combine(const element& a, const element& b) const {
    if (a.lse == -infinity) return b;
    float const lse = a.lse + std::log(1 + std::exp(b.lse - a.lse));
    return {a.o * std::exp(a.lse - lse) + b.o * std::exp(b.lse - lse), lse};
  }
};

// Log-sum-exps kept in bfloat16.
struct rounded_lse : softmax_monoid<float> {
  element combine(const element& a, const element& b) const {
    element merged = softmax_monoid<float>::combine(a, b);
    merged.lse = bf16(merged.lse);
    return merged;
  }
};

// A sentinel instead of -inf: scores below it are swallowed.
struct finite_sentinel : softmax_monoid<float> {
  element identity() const { return {0, -5e4f}; }
};

// Right up to rounding, but it rounds b's product only.
struct one_sided_rounding : softmax_monoid<float> {
  element combine(const element& a, const element& b) const {
    auto const w = merged_weights(a.lse, b.lse);
    if (w.weight_a == 0 || w.weight_b == 0) return softmax_monoid<float>::combine(a, b);
    return {std::fma(w.weight_a, a.o, w.weight_b * b.o), w.lse};
  }
};

// Associative, with an identity, and not commutative: the ends of a word of positive letters.
struct joined {
  struct element {
    int first, last;
  };
  static constexpr bool commutative = false;
  element identity() const { return {0, 0}; }
  element combine(const element& a, const element& b) const {
    if (a.first == 0) return b;
    if (b.first == 0) return a;
    return {a.first, b.last};
  }
};
struct joined_and_claimed_commutative : joined {
  static constexpr bool commutative = true;
};

struct no_claim {
  struct element {};
  element identity() const;
  element combine(element, element) const;
};
struct no_identity {
  struct element {};
  static constexpr bool commutative = true;
  element combine(element, element) const;
};
struct no_combine {
  struct element {};
  static constexpr bool commutative = true;
  element identity() const;
};
static_assert(monoid<softmax_monoid<float>> && monoid<softmax_monoid<double, base_2>> && monoid<joined>);
static_assert(no_identity::commutative && no_combine::commutative);
static_assert(!monoid<no_claim> && !monoid<no_identity> && !monoid<no_combine> && !monoid<int>);

using element = softmax_monoid<float>::element;
std::vector<element> const moderate = {{0, -infinity}, {1, 0}, {-0.5f, 0.3f}, {0.7f, 3}, {-0.9f, 3.25f}, {0.1f, -2}};

}  // namespace

TEST_CASE_TEMPLATE("softmax partials are a commutative monoid", T, float, double) {
  auto const elements = softmax_elements<T, base_e>();
  monoid_laws(softmax_monoid<T>{}, elements, softmax_distance<T>, 40.0, softmax_valid, 1);
  monoid_laws(softmax_monoid<T, base_2>{}, softmax_elements<T, base_2>(), softmax_distance<T>, 40.0, softmax_valid, 2);
  // Two merges against two others: each rounds its weights and its logarithm by about one unit.
  CHECK(associative_law(softmax_monoid<T>{}, elements, softmax_distance<T>, 4.0) > 0);
  CHECK(tree_law(softmax_monoid<T>{}, elements, softmax_distance<T>, 40.0, softmax_valid) > 0);
}

TEST_CASE("the identity law sees what is no identity") {
  std::vector<flashinfer_state::element> const states = {{0.5f, 1, 2}};
  CHECK_THROWS_WITH_AS(identity_law(flashinfer_state{}, states), "identity: identity + identity changes it",
                       law_violation);
  CHECK_THROWS_WITH_AS(identity_law(sigmoid_merge{}, moderate), "identity: identity + identity changes it",
                       law_violation);
  std::vector<element> const low = {{1, -6e4f}};
  CHECK_THROWS_AS(identity_law(finite_sentinel{}, low), law_violation);
  std::vector<element> const one = {{1, 0.3f}};
  CHECK_THROWS_AS(identity_law(rounded_lse{}, one), law_violation);
}

TEST_CASE("each side of the identity is looked at") {
  struct only_left : softmax_monoid<float> {
    element combine(const element& a, const element& b) const {
      return a.lse == -infinity ? b : element{a.o, a.lse + 1};
    }
  };
  struct only_right : softmax_monoid<float> {
    element combine(const element& a, const element& b) const {
      return b.lse == -infinity ? a : element{b.o, b.lse + 1};
    }
  };
  std::vector<element> const one = {{1, 0}};
  CHECK_THROWS_WITH_AS(identity_law(only_left{}, one), "identity: element 0 + identity is not element 0",
                       law_violation);
  CHECK_THROWS_WITH_AS(identity_law(only_right{}, one), "identity: identity + element 0 is not element 0",
                       law_violation);
}

TEST_CASE("the associative law sees lost precision") {
  CHECK_THROWS_AS(associative_law(rounded_lse{}, moderate, softmax_distance<float>, 1000.0), law_violation);
  CHECK_THROWS_AS(tree_law(rounded_lse{}, moderate, softmax_distance<float>, 1000.0, softmax_valid), law_violation);
  CHECK_THROWS_AS(associative_law(softmax_monoid<float>{}, moderate, softmax_distance<float>, 1e-3), law_violation);
}

TEST_CASE("a distance that is NaN is not within any bound") {
  auto const nan = [](const auto&, const auto&) { return std::nan(""); };
  CHECK_THROWS_AS(associative_law(softmax_monoid<float>{}, moderate, nan, 1e30), law_violation);
}

TEST_CASE("the commutative law sees one-sided rounding, and asks nothing where nothing is claimed") {
  std::vector<joined::element> const parts = {{3, 2}, {5, 6}, {1, 9}};
  CHECK_THROWS_AS(commutative_law(one_sided_rounding{}, moderate), law_violation);
  CHECK_THROWS_WITH_AS(commutative_law(joined_and_claimed_commutative{}, parts),
                       "commutativity: elements 1 and 0 give other bits when exchanged", law_violation);
  commutative_law(joined{}, parts);
}

TEST_CASE("trees keep the order of their leaves unless the monoid is commutative") {
  std::vector<joined::element> const parts = {{3, 2}, {5, 6}, {1, 9}};
  auto const apart = [](auto a, auto b) -> double { return std::abs(a.first - b.first) + std::abs(a.last - b.last); };
  auto const valid = [](auto) { return true; };
  monoid_laws(joined{}, parts, apart, 0.0, valid);
  CHECK_THROWS_AS(tree_law(joined_and_claimed_commutative{}, parts, apart, 0.0, valid), law_violation);
}

TEST_CASE("random trees see what leaves the set") {
  std::vector<element> const far = {{0.5f, 0}, {0.25f, 200}};
  CHECK_THROWS_WITH_AS(tree_law(overflowing_merge{}, far, softmax_distance<float>, 1e30, softmax_valid),
                       doctest::Contains("closure: tree"), law_violation);
  CHECK_THROWS_WITH_AS(tree_law(sigmoid_merge{}, moderate, softmax_distance<float>, 1e30, softmax_valid),
                       doctest::Contains("closure: tree"), law_violation);
}
