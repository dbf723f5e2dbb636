// sanitize: off
#include <ringfold/recurrence/selective_scan.hpp>

#include <doctest/doctest.h>

#include <limits>

#include "../../examples/support/rules/selective.hpp"
#include "support/rules_by_hand.hpp"
#include "support/rules_over_ranks.hpp"

using namespace ringfold;
using namespace rules;

namespace {

template <class T>
void check(selective spec, extent tokens, std::uint64_t seed, double bound) {
  check_by_hand<T>(experiment(spec, tokens, 2, 2, seed), seed, bound, bound);
}

}  // namespace

TEST_CASE("a selective scan and its gradients are those of the definition, however tokens are cut") {
  for (extent const tokens : {1, 2, 5, 11}) {
    check<double>({2, 3, 4}, tokens, 1, 1e-14);
    check<double>({3, 2, 1, 1e-3}, tokens, 2, 1e-14);
    check<double>({1, 1, 64, 8}, tokens, 3, 1e-14);
  }
}

TEST_CASE("narrow elements are summed in float") { check<bf16>({3, 4, 5}, 13, 6, 2e-6); }

TEST_CASE("time travels, its decays do not") {
  sharded::workspace memory(1 << 12);
  auto const p = make_recurrence<float>(contiguous(4, 1), {.batch = 2, .heads = 3, .dim = 16, .value_dim = 5});
  auto const of = selective_scan{}.algebra_for(p, memory.arena());
  arena<> measured;
  auto const sent = of.views(of.take_element(measured));
  CHECK(sent[0].size() == 2 * 3 * 5);
  CHECK(sent[1].size() == 2 * 3 * 16 * 5);
}

TEST_CASE("a selective scan in empty chunks is refused") {
  CHECK_THROWS_WITH_AS(selective_scan{0}.check(), "selective_scan: a chunk of 0 tokens; at least 1 is needed",
                       usage_error);
}

TEST_CASE("what travels is a state, or time beside it") {
  CHECK(sends<double>(experiment(selective{2, 3, 4}, 17, 1, 2, 3), 3));
}

TEST_CASE("states that could grow are refused") {
  float time[2] = {0, -1}, rates[2] = {-1, NAN};
  selective_tensors<const float> in{};
  in.time = dense(time, 1, 1, 1, 1), in.rates = dense(rates, 1, 1, 1);
  in.check_numbers("forward");
  in.time = dense(time, 1, 1, 1, 2);
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"), "forward: time holds -1; allowed: at least 0, and finite",
                       usage_error);
  in.time = dense(time, 1, 1, 1, 1), in.rates = dense(rates, 1, 1, 2);
  CHECK_THROWS_AS(in.check_numbers("forward"), usage_error);
  // exp(0 x -inf) is no number.
  time[1] = INFINITY, rates[1] = -INFINITY;
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"),
                       "forward: rates holds -inf; allowed: logarithms of decays, at most 0, and finite", usage_error);
  in.time = dense(time, 1, 1, 1, 2);
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"), "forward: time holds inf; allowed: at least 0, and finite",
                       usage_error);
}

TEST_CASE("a chunk may be longer than any sequence") {
  auto const bytes = [](extent chunk) {
    arena<> measured;
    auto const p = make_recurrence<float>(contiguous(3, 1), {.dim = 20, .value_dim = 20});
    selective_scan{chunk}.backward_workspace_for(p, 3, measured);
    return measured.used();
  };
  CHECK(bytes(std::numeric_limits<extent>::max()) == bytes(3));
}
