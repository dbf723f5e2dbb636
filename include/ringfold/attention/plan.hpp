#pragma once

#include <type_traits>

#include <ringfold/attention/arguments.hpp>
#include <ringfold/attention/saved.hpp>
#include <ringfold/attention/sinks.hpp>
#include <ringfold/core/reject.hpp>

/// \file
/// The outermost call: it checks, it owns the scratch memory, and it does once what must happen once.

namespace ringfold {

namespace detail {

/// All that a plan takes from an arena; made from a measuring arena, it tells how much that is.
template <class A, class P>
struct workings {
  static_assert((require_attention<A, P, typename A::stream>(), true));
  using space = typename A::stream::space;
  using element = typename P::element;
  using sum = typename P::accumulate;
  static constexpr bool rounds = !std::is_same_v<element, sum>;

  workings(const A& attend, const P& p, arena<space>& memory)
      : output(
            memory.template take_view<sum>(rounds ? p.batch : 0, p.queries.rows(p.owner), p.head.query, p.value_dim)),
        lse(memory.template take_view<sum>(p.batch, p.queries.rows(p.owner), p.head.query)),
        state(attend.state(p, memory)) {}

  view<sum, 4, space> output;  // before rounding
  view<sum, 3, space> lse;     // where the caller wants none
  state_of<A, P, typename A::stream> state;
};

}  // namespace detail

/// The bytes of scratch that a plan needs on this rank.
template <class A, class P>
extent workspace_bytes(const A& attend, const P& p) {
  return detail::planned<A, P, detail::workings<A, P>>::measure(attend, p);
}

/// An attention made ready for one problem: checked, with all its memory; forward() may be called any number of times.
///
/// Every rank makes its plan and calls forward together. Inputs are never written.
/// A plan of host memory owns its scratch; for another space give memory of workspace_bytes(), which the caller keeps.
/// \snippet attention/plan_test.cpp plan
template <attention_type A, class P>
class plan : public detail::planned<A, P, detail::workings<A, P>> {
  using base = detail::planned<A, P, detail::workings<A, P>>;
  using base::attend_, base::problem_, base::work_;

 public:
  using typename base::space, typename base::stream;
  using element = typename P::element;
  using sum = typename P::accumulate;
  using input = argument<const element, 4, space>;
  using output = argument<element, 4, space>;

  /// \throws usage_error when the problem does not fit the attention; nothing has been sent then.
  plan(const A& attend, const P& p) : base(attend, p) {
    static_assert(
        std::is_same_v<space, host_space>,
        "[ringfold] plan: only host memory is taken for you; pass memory of workspace_bytes(attend, problem)");
  }

  /// As above, in the caller's memory.
  plan(const A& attend, const P& p, void* memory, extent bytes) : base(attend, p, memory, bytes) {}

  /// Attention of this rank's rows: q [batch, rows, heads, dim], k and v with kv heads, out with value_dim, and
  /// optionally the log-sum-exp (natural, [batch, rows, heads], -inf where a row saw nothing and out is 0).
  /// Sinks, one for each head in the accumulation type, take weight from every row, exp(sink), once: lse includes it.
  /// Returns what a backward pass needs: q, k, v, out and lse where they are, sinks not among them.
  /// \throws shape_error, alias_error, usage_error before anything is sent; what the communicator throws afterwards.
  saved<element, space> forward(input q, input k, input v, output out, argument<sum, 3, space> lse = {},
                                argument<const sum, 1, space> sinks = {}, stream on = {}) {
    detail::check_optional("forward", "lse", lse.at);
    saved<element, space> const kept{q.at, k.at, v.at, out.at, lse.at};
    if (lse.at.data == nullptr) lse.at = work_.lse;
    check(q, k, v, out, lse, sinks);
    detail::check_sinks("forward", "sinks", sinks.at, problem_.head.query);
    auto const outside = [this](const char* name, const auto& given) {
      this->refuse_in_scratch("forward", name, given);
    };
    outside("q", q.at), outside("k", k.at), outside("v", v.at), outside("out", out.at), outside("lse", kept.lse);
    outside("sinks", sinks.at);
    attend_.prepare(work_.state, q.at, on);
    attend_.accumulate(work_.state, block<element, space>{k.at, v.at, problem_.owner, problem_.head.first_key}, on);
    if constexpr (std::is_same_v<element, sum>) {
      finish(out.at, lse.at, sinks.at, on);
    } else {
      finish(work_.output, lse.at, sinks.at, on);
      on.elementwise(elementwise::round_to{}, out.at, work_.output);
    }
    return kept;
  }

 private:
  /// What happens once, after everything was folded in and before rounding.
  void finish(const view<sum, 4, space>& o, const view<sum, 3, space>& lse, const view<const sum, 1, space>& sinks,
              stream on) {
    attend_.close(work_.state, partial<sum, space>{o, lse}, on);
    detail::apply_sinks(on, sinks, o, lse);
  }

  void check(const input& q, const input& k, const input& v, const output& out, const argument<sum, 3, space>& lse,
             const argument<const sum, 1, space>& sinks) const {
    P const& p = problem_;
    extent const rows = p.queries.rows(p.owner), keys = p.keys.rows(p.owner);
    detail::check_view("forward", "q", q.at, {p.batch, rows, p.head.query, p.dim});
    detail::check_view("forward", "k", k.at, {p.batch, keys, p.head.key, p.dim});
    detail::check_view("forward", "v", v.at, {p.batch, keys, p.head.key, p.value_dim});
    detail::check_view("forward", "out", out.at, {p.batch, rows, p.head.query, p.value_dim});
    detail::check_view("forward", "lse", lse.at, {p.batch, rows, p.head.query});
    auto const apart = [&](const char* name, const auto& written) {
      detail::check_written("forward", name, written.at);
      detail::refuse_overlap("forward", name, written.at, "q", q.at);
      detail::refuse_overlap("forward", name, written.at, "k", k.at);
      detail::refuse_overlap("forward", name, written.at, "v", v.at);
      detail::refuse_overlap("forward", name, written.at, "sinks", sinks.at);
    };
    apart("out", out), apart("lse", lse);
    detail::refuse_overlap("forward", "lse", lse.at, "out", out.at);
  }
};

}  // namespace ringfold
