#include <doctest/doctest.h>

#include <ringfold/attention/canonical.hpp>

#include "support/schedules.hpp"

using namespace ringfold;

namespace {

// A kernel over memory that nobody has. It counts the keys that it is shown.
struct phantom_kernel : local_attention {
  using stream = phantom_stream;
  extent* pairs;

  template <class P>
  struct open {
    P p;
    view<typename P::accumulate, 4, phantom_space> o;
  };
  template <class P>
  open<P> state(const P& p, arena<phantom_space>& memory) const {
    return {p, memory.template take_view<typename P::accumulate>(p.batch, p.queries.rows(p.owner), p.head.query,
                                                                 p.value_dim)};
  }
  template <class S, class Q>
  void prepare(S&, Q, phantom_stream) const {}
  template <class S, class B>
  void accumulate(S& s, B kv, phantom_stream) const {
    if (!kv.present()) return;
    s.p.queries.for_each_position(s.p.owner, [&](extent, extent q) {
      s.p.keys.for_each_position(kv.owner, [&](extent, extent k) {
        *pairs += s.p.mask_of.allows(q, k) ? s.p.head.query * kv.k.extents[head_axis] / s.p.head.key : 0;
      });
    });
  }
  template <class S, class Out>
  void close(S&, Out, phantom_stream) const {}
};

}  // namespace

namespace {

// Runs a schedule over a kernel that wrap(phantom_kernel) makes, and counts the pairs that it is shown.
template <class Wrap>
extent pairs_shown(schedules::name which, int ranks, Wrap wrap) {
  auto const problem =
      make_problem<bf16>(zigzag(50, ranks), {.batch = 2, .heads = 12, .kv_heads = 6, .dim = 64}, causal());
  std::vector<extent> pairs(static_cast<std::size_t>(ranks));
  run_ranks<phantom_stream>(ranks, [&](basic_threads<phantom_stream> comm) {
    phantom_kernel kernel;
    kernel.pairs = &pairs[static_cast<std::size_t>(comm.rank())];
    schedules::with(which, comm, wrap(kernel), [&](auto attend) {
      arena<phantom_space> nowhere;
      extent const bytes = workspace_bytes(attend, problem);
      plan run(attend, problem, nowhere.template take<unsigned char>(bytes), bytes);
      extent const rows = problem.queries.rows(comm.rank());
      auto const nothing = [&](extent heads, auto* like) {
        auto made = dense<phantom_space>(like, 2, rows, heads, 64);
        made.data = nowhere.template take<std::remove_pointer_t<decltype(like)>>(made.size());
        return made;
      };
      auto const q = nothing(12, static_cast<bf16*>(nullptr)), out = nothing(12, static_cast<bf16*>(nullptr));
      auto const k = nothing(6, static_cast<bf16*>(nullptr)), v = nothing(6, static_cast<bf16*>(nullptr));
      run.forward(q, k, v, out);
    });
  });
  extent sum = 0;
  for (extent const each : pairs) sum += each;
  return sum;
}

}  // namespace

TEST_CASE("combinators touch no memory themselves: they run on memory that faults when it is touched") {
  extent const causal_pairs = 50 * 51 / 2 * 12;  // times query heads
  for (int const ranks : {1, 2, 4, 6}) {
    for (auto const which : schedules::names) {
      CAPTURE(ranks);
      CAPTURE(static_cast<int>(which));
      CHECK(pairs_shown(which, ranks, [](phantom_kernel kernel) { return kernel; }) == causal_pairs);
      if (!schedules::takes_canonical(which)) continue;
      CHECK(pairs_shown(which, ranks, [](phantom_kernel kernel) { return canonical(kernel, 1); }) == causal_pairs);
    }
  }
}
