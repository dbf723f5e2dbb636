// sanitize: off
#include <doctest/doctest.h>

#include "support/dense_parts.hpp"

using namespace ringfold;
using namespace dense_recurrences;

namespace {

constexpr gating all_gates[] = {gating::none, gating::per_head, gating::per_token, gating::per_row};

/// Every rule, gates, chunk and length, with states and gates drawn for each.
template <class F>
void for_each_experiment(F f) {
  std::uint64_t seed = 0;
  for (auto const rule : {rule_name::delta, rule_name::dplr}) {
    for (auto const gates : all_gates) {
      for (extent const tokens : {0, 1, 2, 7, 13, 64, 70}) {
        experiment const e(rule, gates, {1 + tokens % 2, tokens, 3, 4, 5}, documents{tokens}, ++seed);
        for (extent const chunk : {1, 2, 7, 64}) f(e, chunk);
      }
    }
  }
}

}  // namespace

TEST_CASE("the definitions' gradients are central differences of their results") {
  for (auto const rule : {rule_name::delta, rule_name::dplr}) {
    for (auto const gates : all_gates) {
      experiment const e(rule, gates, {2, 9, 2, 3, 2}, documents{5, 0, 1, 3}, 21, false);
      auto const objective = [&](const numbers& x) {
        auto const y = e.define(x);
        double sum = 0;
        for (std::size_t i = 0; i < y.out.size(); ++i) sum += y.out[i] * e.in.out[i];
        for (std::size_t i = 0; i < y.final.size(); ++i) sum += y.final[i] * e.in.final[i];
        return sum;
      };
      double const step = 1e-4;
      for (auto const member : members(e)) {
        if (member == &numbers::out || member == &numbers::final) continue;
        for (std::size_t i = 0; i < (e.in.*member).size(); i += 3) {
          numbers above = e.in, below = e.in;
          (above.*member)[i] += step, (below.*member)[i] -= step;
          // The third derivatives times step squared, and the roundings of sums divided by step.
          CHECK(std::fabs((objective(above) - objective(below)) / (2 * step) - (e.made.*member)[i]) <= 1e-6);
        }
      }
    }
  }
}

// No transition here lets a state grow, so roundings add up and do not multiply: a few for each of 70 tokens' sums.
TEST_CASE("delta rules and DPLR in chunks are their definitions, and so are their gradients") {
  for_each_experiment([](const experiment& e, extent chunk) {
    CAPTURE(static_cast<int>(e.rule));
    CAPTURE(static_cast<int>(e.gates));
    CAPTURE(e.size.tokens);
    CAPTURE(chunk);
    CHECK(off(e, run<double>(e, chunk, {e.size.tokens})) <= 1e-13);
  });
}

TEST_CASE("parts of any lengths hand states on, in float to its roundings") {
  std::uint64_t seed = 100;
  for (auto const rule : {rule_name::delta, rule_name::dplr}) {
    for (auto const gates : all_gates) {
      experiment const e(rule, gates, {2, 41, 2, 5, 3}, documents{41}, ++seed);
      for (const std::vector<extent>& lengths :
           {std::vector<extent>{20, 21}, {0, 1, 39, 0, 1}, {7, 0, 0, 13, 20, 1}, {0, 41, 0}}) {
        CHECK(off(e, run<double>(e, 8, lengths)) <= 1e-13);
        CHECK(off(e, run<float>(e, 8, lengths)) <= 0x1p-24 * 41);
      }
    }
  }
}

TEST_CASE("slow gates over many tokens: float loses no more than a rounding for each fifty") {
  for (auto const rule : {rule_name::delta, rule_name::dplr}) {
    experiment e(rule, gating::per_token, {1, 2000, 1, 8, 4}, documents{2000}, 7, false);
    for (double& gate : e.in.gates) gate = -0x1p-10;
    e.made = e.define(e.in);
    CHECK(off(e, run<float>(e, 64, {999, 1001})) <= 0x1p-24 * 40);
  }
}

TEST_CASE("an element is the product of the tokens' matrices, and what they make of zero; elements compose") {
  extents const size{1, 19, 2, 4, 3};
  for (auto const rule : {rule_name::delta, rule_name::dplr}) {
    for (auto const gates : all_gates) {
      experiment const e(rule, gates, size, documents{19}, 5);
      std::vector<double> room(4 * size.heads * size.dim * (size.dim + size.value_dim));
      double* next = room.data();
      auto const made = [&](range of, bool backward) {
        auto const values = size.heads * size.dim * size.value_dim, matrices = size.heads * size.dim * size.dim;
        affine_element<double> const into{dense(next, 1, size.heads, size.dim, size.dim),
                                          dense(next + matrices, 1, size.heads, size.dim, size.value_dim)};
        next += values + matrices;
        summarize(e, 5, of, backward, into);
        return into;
      };
      auto const forward = made({0, 19}, false), backward = made({0, 19}, true);
      for (extent h = 0; h < size.heads; ++h) {
        square product(size.dim);
        for (extent i = 0; i < size.dim; ++i) product(i, i) = 1;
        for (extent t = 0; t < size.tokens; ++t) product = e.transition_of(e.in, 0, t, h) * product;
        for (extent i = 0; i < size.dim; ++i) {
          for (extent j = 0; j < size.dim; ++j) {
            CHECK(std::fabs(forward.gate(0, h, i, j) - product(i, j)) <= 1e-14);
            CHECK(std::fabs(backward.gate(0, h, j, i) - product(i, j)) <= 1e-14);
          }
        }
      }
      auto zero = e;
      std::fill(zero.in.initial.begin(), zero.in.initial.end(), 0.0);
      std::fill(zero.in.final.begin(), zero.in.final.end(), 0.0);
      auto const of_zero = zero.define(zero.in);
      for (extent i = 0; i < forward.value.size(); ++i) {
        CHECK(std::fabs(forward.value.data[i] - of_zero.final[static_cast<std::size_t>(i)]) <= 1e-13);
        CHECK(std::fabs(backward.value.data[i] - of_zero.initial[static_cast<std::size_t>(i)]) <= 1e-13);
      }

      affine_element<double> const first = made({0, 8}, false), then = made({8, 11}, false);
      std::vector<double> joined(room.size());
      affine_element<double> const both{dense(joined.data(), 1, size.heads, size.dim, size.dim),
                                        dense(joined.data() + 100, 1, size.heads, size.dim, size.value_dim)};
      affine<double, transition::dense>::compose(host_stream{}, first, then, both);
      for (extent i = 0; i < both.gate.size(); ++i) CHECK(std::fabs(both.gate.data[i] - forward.gate.data[i]) <= 1e-14);
      for (extent i = 0; i < both.value.size(); ++i)
        CHECK(std::fabs(both.value.data[i] - forward.value.data[i]) <= 1e-13);
      summarize(e, 5, {3, 0}, false, both);
      for (extent i = 0; i < size.dim; ++i) {
        for (extent j = 0; j < size.dim; ++j) CHECK(both.gate(0, 1, i, j) == (i == j));
        for (extent j = 0; j < size.value_dim; ++j) CHECK(both.value(0, 1, i, j) == 0);
      }
    }
  }
}
