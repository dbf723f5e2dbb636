// section 1: \[ringfold\] not an attention: derive a kernel from ringfold::local_attention
// section 2: \[ringfold\] canonical: the gradient of a bias is added to in the order in which work comes; take the bias without a gradient, or the kernel without canonical
// section 3: \[ringfold\] canonical: sums must be kept in float or double
#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/canonical.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/bias.hpp>

struct rational {
  double value = 0;
  rational() = default;
  explicit rational(double v) : value(v) {}
  friend rational operator+(rational a, rational b) { return rational(a.value + b.value); }
  friend rational operator-(rational a, rational b) { return rational(a.value - b.value); }
  friend rational operator*(rational a, rational b) { return rational(a.value * b.value); }
  friend rational operator/(rational a, rational b) { return rational(a.value / b.value); }
  friend bool operator<(rational a, rational b) { return a.value < b.value; }
  friend bool operator==(rational a, rational b) { return a.value == b.value; }
  friend rational exp2(rational a) { return a; }
  friend rational log2(rational a) { return a; }
  friend rational fma(rational a, rational b, rational c) { return a * b + c; }
  friend rational max(rational a, rational b) { return a < b ? b : a; }
};
template <>
struct ringfold::scalar_traits<rational> {
  using accumulate = rational;
  static constexpr dtype type{3, 64};
};

int main() {
  using namespace ringfold;
#if RINGFOLD_SECTION == 1
  auto attend = canonical(3, 16);
#else
  auto attend = canonical(reference_kernel{}, 16);
#endif
#if RINGFOLD_SECTION == 2
  view<float, 4> const numbers{};
  auto const problem = make_problem<float>(contiguous(16, 1), {.dim = 4}, full(), bias(numbers, numbers));
#elif RINGFOLD_SECTION == 3
  auto const problem = make_problem<rational>(contiguous(16, 1), {.dim = 4});
#else
  auto const problem = make_problem<float>(contiguous(16, 1), {.dim = 4}, full(), bias(view<float, 4>{}));
#endif
#if RINGFOLD_SECTION != 1
  plan run(attend, problem);
#endif
#if RINGFOLD_SECTION == 0 || RINGFOLD_SECTION == 2
  backward_plan back(attend, problem);
#endif
}
