#include <ringfold/recurrence/delta.hpp>

#include <doctest/doctest.h>

#include "support/golden_recurrence.hpp"
#include "support/rules_over_ranks.hpp"

using namespace ringfold;
using namespace rules;

namespace {

/// What a delta rule reads: q, k, v, beta or a and b, and gates. What it makes, a file knows.
template <class Rule>
struct reference {
  static constexpr std::size_t count = Rule::template inputs<double>::names.size();
  static constexpr bool has_beta = count == 5;

  extent dim, value_dim;

  Rule rule() const { return {.chunk = 4}; }
  std::vector<input> inputs() const {
    std::vector<input> made{{dim}, {dim}, {value_dim}};
    made.resize(count - 1, {has_beta ? 1 : dim});
    made.push_back({Rule::gates == gating::none ? 0 : Rule::gates == gating::per_row ? dim : 1});
    return made;
  }
  extent out_width() const { return value_dim; }
  extent state_size() const { return dim * value_dim; }
  template <class T>
  auto problem(layout tokens, documents packed, extent batch, extent heads) const {
    return make_recurrence<T>(tokens, {.batch = batch, .heads = heads, .dim = dim, .value_dim = value_dim}, packed);
  }
  template <class E, class N>
  void define(const E&, values<N>&) const {}

  template <class Tensors, class E, class S>
  Tensors tensors(const std::vector<E>& x, const std::vector<S>& sums) const {
    auto const gates = [&] {
      if constexpr (Rule::gates == gating::none) {
        return decltype(Tensors::gates){};
      } else if constexpr (Rule::gates == gating::per_token) {
        return first_of_rows(sums.back());
      } else {
        return sums.back();
      }
    }();
    if constexpr (has_beta) {
      return {x[0], x[1], x[2], first_of_rows(sums[3]), gates};
    } else {
      return {x[0], x[1], x[2], x[3], x[4], gates};
    }
  }
};

template <class Rule>
experiment<reference<Rule>> read(const std::string& name, extent tokens, extent batch, extent dim, extent value_dim) {
  experiment<reference<Rule>> e(reference<Rule>{dim, value_dim}, documents{tokens}, batch, 2, 1);
  golden_recurrence file(name);
  auto const take_all = [&](auto& of) {  // in a file, gates are before what is a delta rule's own
    file.take(of[0], of[1], of[2], of.back());
    for (std::size_t i = 3; i + 1 < of.size(); ++i) file.take(of[i]);
  };
  take_all(e.given.in), file.take(e.given.initial, e.given.out, e.given.final);
  file.take(e.made.out, e.made.final), take_all(e.made.in), file.take(e.made.initial);
  file.end();
  return e;
}

/// Relative to a whole tensor: roundings of sums over 21 tokens, and 6 rows of states that no transition lets grow, here
/// and in PyTorch; errors partly cancel, so a few dozen roundoffs, 1.1e-16 each.
template <class Rule, class... Schedules>
void check(const experiment<reference<Rule>>& e, Schedules... schedules) {
  for (int const ranks : {1, 2, 3, 5}) {
    for (auto const& by : {contiguous(e.tokens, ranks), zigzag(e.tokens, ranks)}) {
      for (auto const& made : {run_over_ranks<double>(e, by, schedules).made...}) {
        CAPTURE(ranks);
        auto const off = apart(made, e.made);
        CHECK(off.out <= 1e-14);
        CHECK(off.gradients <= 1e-14);
      }
    }
  }
}

}  // namespace

// Elements of all gates are alike, so two rules by two schedules are enough.
TEST_CASE("the reference of DeltaNet in float64") {
  check(read<delta_rule<gating::none>>("delta", 14, 2, 5, 3), schedule::chain{2});
}
TEST_CASE("the reference of Gated DeltaNet in float64") {
  check(read<delta_rule<gating::per_token>>("gated_delta", 21, 1, 6, 4), schedule::chain{2}, schedule::hillis_steele{});
}
TEST_CASE("the reference of Kimi Delta Attention in float64") {
  check(read<delta_rule<gating::per_row>>("kda", 21, 1, 6, 4), schedule::chain{2});
}
TEST_CASE("the reference of RWKV-7 in float64") {
  check(read<dplr<gating::per_row>>("rwkv7", 14, 1, 6, 4), schedule::chain{2}, schedule::hillis_steele{});
}
