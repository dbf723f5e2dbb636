// sanitize: off
// Conformance, sinks and dropout: cases that implementations of sequence parallelism have failed.
#include <doctest/doctest.h>

#include <ringfold/kernel/reference.hpp>

#include "support/any_score.hpp"
#include "support/definition.hpp"

using namespace ringfold;

TEST_CASE("24. a sink of each head counts once, by whomever the head is computed, and its gradient is summed once") {
  for (int const ranks : {1, 2, 3, 4, 6}) {
    for (auto const which : schedules::names) {
      for (band const mask : {causal(), causal().shifted(-2)}) {  // the first two queries see nothing but the sink
        schedules::experiment<double> e(zigzag(15, ranks), {.batch = 2, .heads = 6, .kv_heads = 2, .dim = 3}, mask, 3);
        e.sinks = {0.5, -1.5, 3, -INFINITY, 0, 12};
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(which));
        auto const got = definition::check(e, which, reference_kernel{});
        CHECK(got.dsinks[3] == 0);
      }
    }
  }
}

TEST_CASE("25. dropout drops the same weights on any number of ranks, by any schedule, in any part of the batches") {
  using dropped = schedules::experiment<double, band, dropout_part>;
  any_score::keeping const keeps{{.drop = 0.4, .seed = 99}};
  shape const s{.batch = 3, .heads = 6, .kv_heads = 3, .dim = 2};
  dropped const whole(contiguous(21, 1), s, causal(), 8, 1.7, dropout(0.4, 99));
  auto const all = schedules::run(whole, schedules::name::ring, reference_kernel{}).o;
  for (int const ranks : {1, 2, 3, 4, 6}) {
    for (auto const which : schedules::names) {
      CAPTURE(ranks);
      CAPTURE(static_cast<int>(which));
      for (const layout& tokens : {zigzag(21, ranks), striped(21, ranks)}) {
        definition::check(dropped(tokens, s, causal(), 8, 1.7, dropout(0.4, 99)), which, reference_kernel{},
                          oracle::plain_score{}, keeps);
      }
      // The last two batches alone, as a data-parallel rank has them.
      shape part = s;
      part.batch = 2, part.first_batch = 1;
      dropped e(zigzag(21, ranks), part, causal(), 8, 1.7, dropout(0.4, 99));
      for (auto const& [to, from] : {std::pair{&e.q, &whole.q}, {&e.k, &whole.k}, {&e.v, &whole.v}}) {
        to->assign(from->begin() + static_cast<std::ptrdiff_t>(from->size() / 3), from->end());
      }
      std::vector<double> const last_two(all.begin() + static_cast<std::ptrdiff_t>(all.size() / 3), all.end());
      CHECK(oracle::compare(schedules::run(e, which, reference_kernel{}).o, last_two).relative < 1e-15);
      e.score = dropout(0.4, 100);
      CHECK(oracle::compare(schedules::run(e, which, reference_kernel{}).o, last_two).relative > 0.1);
    }
  }
}
