// sanitize: off
#include <doctest/doctest.h>

#include "../../examples/support/any_schedule.hpp"
#include "../../examples/support/rules/convolved.hpp"
#include "../../examples/support/rules/matrices.hpp"
#include "../../examples/support/rules/selective.hpp"
#include "support/chain_bytes.hpp"
#include "support/rules_over_ranks.hpp"

using namespace ringfold;
using namespace rules;

namespace {

/// States of bf16 on their way through some slots: each hop rounds a state and a value, forward and backward, and the
/// relative rounding of bf16 is 2^-8.
template <class Spec>
void hold(const experiment<Spec>& e, const layout& tokens, int slots) {
  CAPTURE(tokens.ranks());
  values<double> of_chain;
  for (const auto& by : examples::all_schedules(2, 2)) {
    CAPTURE(by.name);
    auto const result = run_over_ranks<float>(e, tokens, schedule::narrow<bf16>(by));
    auto const off = apart(result.made, e.made);
    double const allowed = 2 * (slots - 1) * 0x1p-8;
    CHECK(off.out <= allowed);
    CHECK(off.gradients <= 2 * allowed);  // of the states that entered, and of their cotangents
    CHECK(off.out + off.gradients > 0x1p-12);
    if (std::holds_alternative<schedule::chain>(by.which)) {
      auto const bytes = chain_bytes(tokens, e.packed, 2 * e.batch * e.heads * e.spec.state_size(), false);
      for (std::size_t rank = 0; rank < bytes.size(); ++rank) CHECK(result.forward[rank].total_bytes() == bytes[rank]);
    }
    if (of_chain.out.empty()) of_chain = result.made;
    if (!by.keeps_order()) continue;
    CHECK((result.made.out == of_chain.out && result.made.final == of_chain.final));
    CHECK((result.made.in == of_chain.in && result.made.initial == of_chain.initial));
  }
}

}  // namespace

TEST_CASE("a state in bf16 on its way") {
  run_ranks(4, [](threads comm) {
    auto const problem = make_recurrence<float>(contiguous(64, comm.size()), {.heads = 2, .dim = 4});
    std::vector<float> q(16 * 2 * 4, 1), k(q), v(q), out(q), gates(16 * 2, -0.5f);
    auto const tokens = [](std::vector<float>& of) { return dense(of.data(), 1, 16, 2, 4); };
    //! [narrow]
    auto const rule = decay<gating::per_token>{};
    recurrence_plan run(recurrence(comm, schedule::narrow<bf16>(schedule::gather_bruck{}), rule), problem);
    //! [narrow]
    run.forward({tokens(q), tokens(k), tokens(v), dense(gates.data(), 1, 16, 2)}, tokens(out));
    // Of ones, scaled by 1/2: the state is the sum of what decayed, and this many tokens are before the last one's.
    double sum = 0;
    for (int token = 0; token < 16 * (comm.rank() + 1); ++token) sum = sum * std::exp(-0.5) + 1;
    CHECK(std::fabs(static_cast<double>(out.back()) - 2 * sum) <= 2 * sum * (2 * comm.rank() * 0x1p-8 + 1e-6));
  });
}

TEST_CASE("states of bf16 over ranks, forward and backward: half of the bytes, and a rounding for each hop") {
  experiment const matrix(matrices<writing::corrects, gating::per_row>{}, documents{5, 24}, 1, 2, 1);
  experiment const timed(selective{2, 3, 4}, documents{29}, 1, 2, 2);
  for (int const ranks : {2, 5}) {
    hold(matrix, contiguous(29, ranks), ranks), hold(matrix, zigzag(29, ranks), 2 * ranks);
    hold(timed, contiguous(29, ranks), ranks), hold(timed, zigzag(29, ranks), 2 * ranks);
  }
}

TEST_CASE("the tokens that a convolution of bf16 looks back at are numbers of bf16: nothing is lost") {
  experiment const e(convolved{4, 3}, documents{3, 17}, 1, 2, 3, {false, false});
  for (const auto& by : examples::all_schedules(2, 2)) {
    CAPTURE(by.name);
    auto const narrow = run_over_ranks<bf16>(e, striped(20, 3), schedule::narrow<bf16>(by)).made;
    CHECK(narrow.out == run_over_ranks<bf16>(e, striped(20, 3), by).made.out);
  }
}
