// sanitize: off
#include <ringfold/recurrence/diagonal_recurrence.hpp>

#include <doctest/doctest.h>

#include <complex>

#include "../../examples/support/rules/diagonal.hpp"
#include "support/rules_by_hand.hpp"
#include "support/rules_over_ranks.hpp"

using namespace ringfold;
using namespace rules;

namespace {

template <class T, class Spec>
void check(Spec spec, extent tokens, std::uint64_t seed, double bound) {
  check_by_hand<T>(experiment(spec, tokens, 2, 2, seed), seed, bound, bound);
}

}  // namespace

TEST_CASE("a real diagonal recurrence and its gradients are those of the definition, however tokens are cut") {
  for (extent const tokens : {1, 2, 5, 17}) {
    check<double>(diagonal<field::real>{3}, tokens, 1, 1e-14);
    check<double>(diagonal<field::real>{2, 1e-3}, tokens, 2, 1e-14);
    check<double>(diagonal<field::real>{2, 700}, tokens, 3, 1e-14);
  }
}

TEST_CASE("a complex diagonal recurrence and its gradients are those of the definition, however tokens are cut") {
  for (extent const tokens : {1, 2, 5, 17}) {
    check<double>(diagonal<field::complex, factors::learned>{3, 0.25}, tokens, 4, 1e-14);
    check<double>(diagonal<field::complex>{2}, tokens, 5, 1e-14);
  }
}

TEST_CASE("narrow elements are summed in float") { check<bf16>(diagonal<field::real>{5}, 13, 6, 2e-6); }

TEST_CASE("complex factors: order does not matter, what has been turned does") {
  // A quarter turn twice is a half turn: h = -1 from 1, and through a join of elements as well.
  host_stream const on;
  complex_affine<float> const of{1, 1, 2, 1};
  float gate[2] = {0, 1}, value[2] = {0, 0}, both_gate[2], both_value[2], one[2] = {1, 0}, made[2];
  auto const rows = [](float* of_two) { return dense(of_two, 1, 1, 2, 1); };
  affine_element<float> const quarter{rows(gate), rows(value)}, half{rows(both_gate), rows(both_value)};
  of.compose(on, quarter, quarter, half);
  of.apply(on, rows(one), half, rows(made));
  CHECK(made[0] == -1);
  CHECK(made[1] == 0);
}

TEST_CASE("strong factors over many tokens underflow, and nothing else happens") {
  extent const tokens = 20000;
  auto const p = make_recurrence<float>(contiguous(tokens, 1), {.heads = 1, .dim = 1, .value_dim = 2});
  diagonal_recurrence<field::complex> const rule;
  sharded::workspace memory(1 << 20);
  auto work = rule.forward_workspace(p, tokens, memory.arena());
  std::vector<float> x(static_cast<std::size_t>(2 * tokens), 1);
  float gate = -5, angle = 3, of_gate[2], of_value[2];
  view<const float, 4> const same{&gate, {1, tokens, 1, 1}, {0, 0, 0, 0}},
      turned{&angle, {1, tokens, 1, 1}, {0, 0, 0, 0}};
  affine_element<float> const made{dense(of_gate, 1, 1, 2, 1), dense(of_value, 1, 1, 2, 1)};
  diagonal_rows<const float> const of{dense(x.data(), 1, tokens, 1, 2), same, turned};
  rule.summarize(work, p, of, made);
  CHECK(of_gate[0] == 0);
  CHECK(of_gate[1] == 0);
  // 1 + i over 1 - a
  auto const limit = std::complex<double>(1, 1) / (1.0 - std::polar(std::exp(-5.0), 3.0));
  CHECK(of_value[0] == doctest::Approx(limit.real()).epsilon(1e-6));
  CHECK(of_value[1] == doctest::Approx(limit.imag()).epsilon(1e-6));
}

TEST_CASE("complex numbers have two parts") {
  auto const p = make_recurrence<float>(contiguous(4, 1), {.heads = 1, .dim = 1, .value_dim = 3});
  arena<> memory;
  CHECK_THROWS_WITH_AS(diagonal_recurrence<field::complex>{}.algebra_for(p, memory),
                       "diagonal_recurrence: complex numbers in a width of 3; it must be even", shape_error);
}

TEST_CASE("what travels is a number for each channel, or a factor beside it") {
  CHECK(sends<double>(experiment(diagonal<field::complex, factors::learned>{2, 0.25}, 17, 1, 2, 3), 4));
}

TEST_CASE("angles that are none are refused") {
  float gates[2] = {-1, 0}, angles[2] = {700, INFINITY};
  diagonal_tensors<const float, field::complex, factors::learned> in{};
  in.gates = dense(gates, 1, 2), in.angles = dense(angles, 1, 1);
  in.check_numbers("forward");
  in.angles = dense(angles, 1, 2);
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"), "forward: angles holds inf; allowed: finite radians", usage_error);
}

TEST_CASE("factors larger than 1 are refused") {
  float numbers[4] = {-1, -INFINITY, 0, 0.5f};
  diagonal_tensors<const float, field::real, factors::learned> in{};
  in.gates = dense(numbers, 1, 3);
  in.check_numbers("forward");
  in.gates = dense(numbers, 1, 4);
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"),
                       "forward: gates holds 0.5; allowed: logarithms of factors, at most 0", usage_error);
}
