#include <mpi_main.hpp>

#include <ringfold/comm/mpi.hpp>
#include <ringfold/recurrence/backward_plan.hpp>

#include "../../examples/support/any_schedule.hpp"
#include "../../examples/support/rules/matrices.hpp"
#include "../../examples/support/rules/shard_of.hpp"

using namespace ringfold;

namespace {

using spec = rules::matrices<rules::writing::corrects, gating::per_row>;

/// This rank's rows of what a rule makes over processes, and of what the definition makes.
struct both {
  rules::values<double> got, wanted;
};
both run(const rules::experiment<spec>& e, const layout& tokens, const examples::any_schedule& by) {
  mpi comm(MPI_COMM_WORLD);
  auto const p = e.spec.problem<double>(tokens, e.packed, e.batch, e.heads);
  auto const over = recurrence(comm, by, e.spec.rule());
  recurrence_plan forward(over, p);
  recurrence_backward_plan backward(over, p);
  rules::shard_of<double, double, spec> const mine(e, tokens, comm.rank());
  std::vector<double> initial(e.given.initial), last(e.given.final), cotangent(e.given.final), first(initial),
      kept(initial.size() * static_cast<std::size_t>(forward.slots()));
  auto const state = [&](std::vector<double>& of, extent slots = 1) {
    return dense(of.data(), slots * e.batch, e.heads, e.spec.dim, e.spec.value_dim);
  };
  auto const entered = state(kept, forward.slots());
  forward.forward(mine.read(e.spec), mine.out.whole,
                  {.initial = state(initial), .final = state(last), .entered = entered});
  backward.backward(mine.read(e.spec), entered, mine.dout, mine.written(e.spec),
                    {.final = state(cotangent), .initial = state(first)});

  both made{{}, e.made};
  mine.add_to(made.got, e, tokens, comm.rank());
  // Nothing is held against what other ranks have.
  std::vector<char> owned(static_cast<std::size_t>(e.tokens));
  tokens.for_each_position(comm.rank(),
                           [&](extent, extent position) { owned[static_cast<std::size_t>(position)] = 1; });
  auto const forget = [&](rules::numbers& all) {
    auto const width = all.size() / owned.size() / static_cast<std::size_t>(e.batch);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (owned[i / width % owned.size()] == 0) all[i] = 0;
    }
  };
  forget(made.wanted.out);
  for (auto& each : made.wanted.in) forget(each);
  bool const has_first = owned.front() != 0, has_last = owned.back() != 0;
  made.got.initial = has_first ? first : e.made.initial, made.got.final = has_last ? last : e.made.final;
  return made;
}

}  // namespace

TEST_CASE("a recurrence over processes is its definition, by every schedule and layout, forward and backward") {
  int ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  rules::experiment<spec> const e({}, documents{9, 0, 1, 17, 6}, 2, 2, 5);
  for (const auto& by : examples::all_schedules(2, 2)) {
    for (const layout& tokens : {contiguous(e.tokens, ranks), zigzag(e.tokens, ranks), striped(e.tokens, ranks)}) {
      CAPTURE(by.name);
      auto const made = run(e, tokens, by);
      auto const off = rules::apart(made.got, made.wanted);
      CHECK(off.out <= 1e-13);
      CHECK(off.gradients <= 1e-13);
    }
  }
}
