// sanitize: off
#include <ringfold/recurrence/mlstm.hpp>

#include <doctest/doctest.h>

#include "../../examples/support/rules/memory_cell.hpp"
#include "support/rules_by_hand.hpp"
#include "support/rules_over_ranks.hpp"

using namespace ringfold;
using namespace rules;

TEST_CASE("an mLSTM and its gradients are those of the definition, however tokens are cut") {
  for (extent const tokens : {1, 2, 5, 11}) {
    check_by_hand<double>(experiment(memory_cell{2, 3, 4}, tokens, 2, 2, 1), 1, 1e-13, 1e-13);
    check_by_hand<double>(experiment(memory_cell{3, 1, 1, 5, 0.1}, tokens, 1, 2, 2), 2, 1e-13, 1e-13);
  }
}

TEST_CASE("narrow elements are summed in float") {
  check_by_hand<bf16>(experiment(memory_cell{3, 4, 5}, 13, 1, 2, 6), 6, 4e-6, 4e-6);
}

TEST_CASE("exponentials beyond all numbers: the largest one is taken out") {
  // e^300 is no float. Nothing is asked of the final state, whose size would hide all other gradients.
  experiment e(memory_cell{2, 2, 4, 300}, 9, 1, 2, 7);
  e.given.final.assign(e.given.final.size(), 0.0);
  e.given.initial.assign(e.given.initial.size(), 0.0);
  e.define();
  e.made.final = run_by_hand<double>(e, {9}).final;
  check_by_hand<double>(e, 7, 1e-13, 1e-11);
  for (const auto& parts : {std::vector<extent>{9}, {1, 0, 3, 5}}) {
    auto const made = run_by_hand<float>(e, parts);
    CHECK(apart(made.out, e.made.out) <= 1e-5);
    for (std::size_t i = 0; i < made.in.size(); ++i) CHECK(apart(made.in[i], e.made.in[i]) <= 1e-5);
  }
}

TEST_CASE("a stabilised state: nothing is the identity from either side, order matters, joining is applying twice") {
  host_stream const on;
  stabilised<double> const of{1, 1, 3, 2};
  sharded::workspace memory(1 << 12);
  auto const element_of = [&](double gate, double exponent, double first) {
    auto const made = of.take_element(memory.arena());
    made.gate.data[0] = gate;
    for (int i = 0; i < 4; ++i) made.value.data[i] = first * (i + 1);
    made.value.data[4] = made.value.data[5] = exponent;
    return made;
  };
  auto const join = [&](const auto& a, const auto& b) {
    auto const made = of.take_element(memory.arena());
    of.compose(on, a, b, made);
    return made;
  };
  auto const same = [](const auto& a, const auto& b) {
    bool equal = a.gate.data[0] == b.gate.data[0];
    for (int i = 0; i < 6; ++i) equal = equal && a.value.data[i] == b.value.data[i];
    return equal;
  };
  auto const nothing = element_of(0, -INFINITY, 0), a = element_of(-1, 800, 1), b = element_of(-700, 900, -2),
             c = element_of(-0.5, -3, 3);
  for (const auto& each : {nothing, a, b, c}) {
    CHECK(same(join(nothing, each), each));
    CHECK(same(join(each, nothing), each));
  }
  CHECK(!same(join(a, b), join(b, a)));
  auto const left = join(join(a, b), c), right = join(a, join(b, c));
  for (int i = 0; i < 6; ++i) CHECK(left.value.data[i] == doctest::Approx(right.value.data[i]).epsilon(1e-14));
  // Zeros are nothing: what stands beside them raises no exponent.
  auto const zeros = element_of(0, 5000, 0);
  CHECK(same(join(zeros, a), join(nothing, a)));
}

TEST_CASE("a query of zero reads nothing, whatever the exponents") {
  experiment e(memory_cell{2, 2, 4, 2}, 3, 1, 1, 8);
  e.given.in[0].assign(e.given.in[0].size(), 0.0);
  e.given.in[3].assign(e.given.in[3].size(), 500.0);
  e.given.final.assign(e.given.final.size(), 0.0);
  auto const made = run_by_hand<float>(e, {2, 1});
  for (double const each : made.out) CHECK(each == 0);
  for (std::size_t i = 1; i < made.in.size(); ++i) {
    for (double const each : made.in[i]) CHECK(std::isfinite(each));
  }
}

TEST_CASE("an mLSTM in empty chunks is refused") {
  CHECK_THROWS_WITH_AS(mlstm{0}.check(), "mlstm: a chunk of 0 tokens; at least 1 is needed", usage_error);
}

TEST_CASE("what travels is a state with its exponents, or a gate beside it") {
  CHECK(sends<double>(experiment(memory_cell{2, 3, 4}, 17, 1, 2, 3), 1));
}

TEST_CASE("forget gates larger than 1 are refused, and infinite input gates") {
  float input[2] = {700, INFINITY}, forget[2] = {-INFINITY, 0.5f};
  mlstm_tensors<const float> in{};
  in.input = dense(input, 1, 1, 1), in.forget = dense(forget, 1, 1, 1);
  in.check_numbers("forward");
  in.forget = dense(forget, 1, 2, 1);
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"),
                       "forward: forget holds 0.5; allowed: logarithms of gates, at most 0", usage_error);
  in.input = dense(input, 1, 2, 1);
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"),
                       "forward: input holds inf; allowed: logarithms of gates, below infinity", usage_error);
}
