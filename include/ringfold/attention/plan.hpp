#pragma once

#include <type_traits>

#include <ringfold/attention/arguments.hpp>
#include <ringfold/core/reject.hpp>

/// \file
/// The outermost call: it checks, it owns the scratch memory, and it does once what must happen once.

namespace ringfold {

namespace detail {

/// All that a plan takes from an arena; made from a measuring arena, it tells how much that is.
template <class A, class P, class Space>
struct workings {
  using element = typename P::element;
  using sum = typename P::accumulate;
  static constexpr bool rounds = !std::is_same_v<element, sum>;

  workings(const A& attend, const P& p, arena<Space>& memory)
      : output(
            memory.template take_view<sum>(rounds ? p.batch : 0, p.queries.rows(p.owner), p.head.query, p.value_dim)),
        lse(memory.template take_view<sum>(p.batch, p.queries.rows(p.owner), p.head.query)),
        state(attend.state(p, memory)) {}

  view<sum, 4, Space> output;  // before rounding
  view<sum, 3, Space> lse;     // where the caller wants none
  state_of<A, P, typename A::stream> state;
};

}  // namespace detail

/// The bytes of scratch that a plan needs on this rank.
template <class A, class P>
extent workspace_bytes(const A& attend, const P& p) {
  using space = typename A::stream::space;
  arena<space> measure;
  detail::workings<A, P, space> const measured(attend, detail::placed(attend, p), measure);
  return measure.used();
}

/// An attention made ready for one problem: checked, with all its memory; forward() may be called any number of times.
///
/// Every rank makes its plan and calls forward together. Inputs are never written.
/// A plan of host memory owns its scratch; for another space give memory of workspace_bytes(), which the caller keeps.
/// \snippet attention/plan_test.cpp plan
template <attention_type A, class P>
class plan {
  static_assert((require_attention<A, P, typename A::stream>(), true));

 public:
  using stream = typename A::stream;
  using space = typename stream::space;
  using element = typename P::element;
  using sum = typename P::accumulate;
  template <class T, int Rank>
  using view_here = view<T, Rank, space>;

  /// \throws usage_error when the problem does not fit the attention; nothing has been sent then.
  plan(const A& attend, const P& p) : plan(attend, p, nullptr, workspace_bytes(attend, p)) {
    static_assert(
        std::is_same_v<space, host_space>,
        "[ringfold] plan: only host memory is taken for you; pass memory of workspace_bytes(attend, problem)");
  }

  /// As above, in the caller's memory.
  plan(const A& attend, const P& p, void* memory, extent bytes)
      : attend_(attend),
        problem_(detail::placed(attend, p)),
        owned_(memory == nullptr ? bytes : 0),
        memory_(memory == nullptr ? owned_.data() : memory, bytes),
        work_(attend_, problem_, memory_) {}
  plan(const plan&) = delete;
  plan& operator=(const plan&) = delete;

  /// Attention of this rank's rows: q [batch, rows, heads, dim], k and v with kv heads, out with value_dim, and
  /// optionally the log-sum-exp (natural, [batch, rows, heads], -inf where a row saw nothing and out is 0).
  /// \throws shape_error, alias_error, usage_error before anything is sent; what the communicator throws afterwards.
  void forward(argument<const element, 4, space> q, argument<const element, 4, space> k,
               argument<const element, 4, space> v, argument<element, 4, space> out, argument<sum, 3, space> lse = {},
               stream on = {}) {
    run(q.at, k.at, v.at, out.at, lse.at.data == nullptr ? work_.lse : lse.at, on);
  }

  /// The bytes of scratch in use.
  extent workspace() const { return memory_.used(); }
  /// The problem, with the caller's place in it.
  const P& described() const { return problem_; }

 private:
  extent rows() const { return problem_.queries.rows(problem_.owner); }

  void run(view_here<const element, 4> q, view_here<const element, 4> k, view_here<const element, 4> v,
           view_here<element, 4> out, view_here<sum, 3> lse, stream on) {
    check(q, k, v, out, lse);
    attend_.prepare(work_.state, q, on);
    attend_.accumulate(work_.state, block<element, space>{k, v, problem_.owner, problem_.head.first_key}, on);
    if constexpr (std::is_same_v<element, sum>) {
      attend_.close(work_.state, partial<sum, space>{out, lse}, on);
    } else {
      attend_.close(work_.state, partial<sum, space>{work_.output, lse}, on);
      on.elementwise(elementwise::round_to{}, out, work_.output);
    }
  }

  void check(view_here<const element, 4> q, view_here<const element, 4> k, view_here<const element, 4> v,
             view_here<element, 4> out, view_here<sum, 3> lse) const {
    P const& p = problem_;
    extent const keys = p.keys.rows(p.owner);
    detail::check_view("forward", "q", q, {p.batch, rows(), p.head.query, p.dim});
    detail::check_view("forward", "k", k, {p.batch, keys, p.head.key, p.dim});
    detail::check_view("forward", "v", v, {p.batch, keys, p.head.key, p.value_dim});
    detail::check_view("forward", "out", out, {p.batch, rows(), p.head.query, p.value_dim});
    detail::check_view("forward", "lse", lse, {p.batch, rows(), p.head.query});
    detail::refuse_overlap("forward", "out", out, "q", q);
    detail::refuse_overlap("forward", "out", out, "k", k);
    detail::refuse_overlap("forward", "out", out, "v", v);
    detail::refuse_overlap("forward", "lse", lse, "q", q);
    detail::refuse_overlap("forward", "lse", lse, "k", k);
    detail::refuse_overlap("forward", "lse", lse, "v", v);
    detail::refuse_overlap("forward", "lse", lse, "out", out);
  }

  A attend_;
  P problem_;
  detail::scratch_memory<space> owned_;
  arena<space> memory_;
  detail::workings<A, P, space> work_;
};

}  // namespace ringfold
