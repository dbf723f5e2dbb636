#pragma once

#include <ringfold/attention/arguments.hpp>
#include <ringfold/attention/saved.hpp>
#include <ringfold/attention/sinks.hpp>

/// \file
/// The outermost call of a backward pass.

namespace ringfold {

namespace detail {

/// The sum over dim of out * dout, from the first elements of their rows.
struct row_product {
  extent dim, out_stride, dout_stride;
  template <class Sum, class T>
  RINGFOLD_HD void operator()(Sum& to, const T& out, const T& dout) const {
    using numbers::fma;
    Sum sum = 0;
    for (extent d = 0; d < dim; ++d) {
      sum = fma(static_cast<Sum>((&out)[d * out_stride]), static_cast<Sum>((&dout)[d * dout_stride]), sum);
    }
    to = sum;
  }
};

struct subtract_from {
  template <class T>
  RINGFOLD_HD void operator()(T& from, const T& term) const {
    from -= term;
  }
};

/// All that a backward plan takes from an arena.
template <class A, class P>
struct backward_workings {
  static_assert((require_differentiable<A, P, typename A::stream>(), true));
  using space = typename A::stream::space;
  using element = typename P::element;
  using sum = typename P::accumulate;
  using gradient = gradient_sum_t<A, P>;  // of keys and values

  /// Gradients are summed in the caller's memory, unless that rounds.
  template <class Sum>
  static constexpr bool rounds = !std::is_same_v<element, Sum>;

  backward_workings(const A& attend, const P& p, arena<space>& memory)
      : delta(memory.template take_view<sum>(p.batch, p.queries.rows(p.owner), p.head.query)),
        dq(memory.template take_view<sum>(rounds<sum> ? p.batch : 0, p.queries.rows(p.owner), p.head.query, p.dim)),
        dk(memory.template take_view<gradient>(rounds<gradient> ? p.batch : 0, p.keys.rows(p.owner), p.head.key,
                                               p.dim)),
        dv(memory.template take_view<gradient>(rounds<gradient> ? p.batch : 0, p.keys.rows(p.owner), p.head.key,
                                               p.value_dim)),
        state(attend.backward_state(p, memory)) {}

  view<sum, 3, space> delta;
  view<sum, 4, space> dq;  // before rounding
  view<gradient, 4, space> dk, dv;
  backward_state_of<A, P, typename A::stream> state;
};

}  // namespace detail

/// The bytes of scratch that a backward plan needs on this rank.
template <class A, class P>
extent backward_workspace_bytes(const A& attend, const P& p) {
  return detail::planned<A, P, detail::backward_workings<A, P>>::measure(attend, p);
}

/// The backward pass of an attention made ready for one problem: checked, with all its memory.
///
/// Every rank makes its plan and calls backward() together, as with plan. Inputs are never written.
/// What must be kept of the forward pass is out and lse, besides q, k and v; nothing else: see saved.
/// \snippet attention/backward_test.cpp backward
template <attention_type A, class P>
class backward_plan : public detail::planned<A, P, detail::backward_workings<A, P>> {
  using base = detail::planned<A, P, detail::backward_workings<A, P>>;
  using base::attend_, base::problem_, base::work_;

 public:
  using typename base::space, typename base::stream;
  using element = typename P::element;
  using sum = typename P::accumulate;
  using input = argument<const element, 4, space>;
  using output = argument<element, 4, space>;
  using numbers = argument<const sum, 3, space>;
  using per_head = argument<const sum, 1, space>;

  /// \throws usage_error when the problem does not fit the attention; nothing has been sent then.
  backward_plan(const A& attend, const P& p) : base(attend, p) {
    static_assert(std::is_same_v<space, host_space>,
                  "[ringfold] backward_plan: only host memory is taken for you; pass memory of "
                  "backward_workspace_bytes(attend, problem)");
  }

  /// As above, in the caller's memory.
  backward_plan(const A& attend, const P& p, void* memory, extent bytes) : base(attend, p, memory, bytes) {}

  /// The gradients of q, k and v from that of out, [batch, rows, heads, value_dim], and optionally that of lse.
  ///
  /// q, k, v, out, lse and sinks are those of the forward call. dsinks, one for each head, is over this rank's rows
  /// alone, as a data-parallel gradient: add it up over the ranks. Sums are kept in the accumulation type and rounded once.
  /// Rows that saw nothing, and keys that nobody saw, get exactly 0.
  /// \throws shape_error, alias_error, usage_error before anything is sent; what the communicator throws afterwards.
  void backward(input q, input k, input v, input out, numbers lse, input dout, output dq, output dk, output dv,
                numbers dlse = {}, per_head sinks = {}, argument<sum, 1, space> dsinks = {}, stream on = {}) {
    check(q, k, v, out, lse, dout, dq, dk, dv, dlse, sinks, dsinks);
    detail::check_sinks("backward", "sinks", sinks.at, problem_.head.query);
    detail::check_sinks("backward", "dsinks", dsinks.at, problem_.head.query);
    if (dsinks.at.data != nullptr && sinks.at.data == nullptr) {
      throw usage_error(say("backward: dsinks asked for without sinks; give those of the forward call"));
    }
    on.elementwise(detail::row_product{problem_.value_dim, out.at.strides[dim_axis], dout.at.strides[dim_axis]},
                   work_.delta, first_of_rows(out.at), first_of_rows(dout.at));
    if (dlse.at.data != nullptr) on.elementwise(detail::subtract_from{}, work_.delta, dlse.at);
    detail::sink_gradients(on, sinks.at, lse.at, work_.delta, dsinks.at);
    auto const to_q = summed(work_.dq, dq.at);
    auto const to_k = summed(work_.dk, dk.at), to_v = summed(work_.dv, dv.at);
    on.elementwise(elementwise::set_zero{}, to_k);
    on.elementwise(elementwise::set_zero{}, to_v);
    attend_.prepare_backward(work_.state, q.at, cotangent<element, space>{dout.at, lse.at, work_.delta}, on);
    attend_.accumulate_backward(work_.state, block<element, space>{k.at, v.at, problem_.owner, problem_.head.first_key},
                                block_gradient<gradient_sum_t<A, P>, space>{to_k, to_v}, on);
    attend_.close_backward(work_.state, to_q, on);
    round(dq.at, to_q, on), round(dk.at, to_k, on), round(dv.at, to_v, on);
  }

  /// The same from what forward() returned, wherever its tensors are by now.
  void backward(const saved<element, space>& from, input dout, output dq, output dk, output dv, numbers dlse = {},
                per_head sinks = {}, argument<sum, 1, space> dsinks = {}, stream on = {}) {
    backward(from.q, from.k, from.v, from.out, from.lse, dout, dq, dk, dv, dlse, sinks, dsinks, on);
  }

 private:
  /// Where a gradient is summed: in the caller's memory, unless that rounds.
  template <class Sum>
  static view<Sum, 4, space> summed(const view<Sum, 4, space>& own, const view<element, 4, space>& out) {
    if constexpr (detail::backward_workings<A, P>::template rounds<Sum>) {
      return own;
    } else {
      return out;
    }
  }
  template <class Sum>
  static void round(const view<element, 4, space>& out, const view<Sum, 4, space>& summed, stream on) {
    if constexpr (detail::backward_workings<A, P>::template rounds<Sum>) {
      on.elementwise(elementwise::round_to{}, out, summed);
    }
  }

  void check(const input& q, const input& k, const input& v, const input& out, const numbers& lse, const input& dout,
             const output& dq, const output& dk, const output& dv, const numbers& dlse, const per_head& sinks,
             const argument<sum, 1, space>& dsinks) const {
    P const& p = problem_;
    extent const rows = p.queries.rows(p.owner), keys = p.keys.rows(p.owner);
    auto const sized = [](const char* name, const auto& a, std::initializer_list<extent> extents) {
      detail::check_view("backward", name, a.at, extents);
    };
    sized("q", q, {p.batch, rows, p.head.query, p.dim});
    sized("k", k, {p.batch, keys, p.head.key, p.dim});
    sized("v", v, {p.batch, keys, p.head.key, p.value_dim});
    sized("out", out, {p.batch, rows, p.head.query, p.value_dim});
    sized("lse", lse, {p.batch, rows, p.head.query});
    sized("dout", dout, {p.batch, rows, p.head.query, p.value_dim});
    sized("dq", dq, {p.batch, rows, p.head.query, p.dim});
    sized("dk", dk, {p.batch, keys, p.head.key, p.dim});
    sized("dv", dv, {p.batch, keys, p.head.key, p.value_dim});
    detail::check_optional("backward", "dlse", dlse.at);
    if (dlse.at.data != nullptr) sized("dlse", dlse, {p.batch, rows, p.head.query});
    auto const apart = [&](const char* name, const auto& written) {
      detail::check_written("backward", name, written.at);
      auto const from = [&](const char* other, const auto& read) {
        detail::refuse_overlap("backward", name, written.at, other, read.at);
      };
      from("q", q), from("k", k), from("v", v), from("out", out), from("lse", lse), from("dout", dout);
      from("dlse", dlse), from("sinks", sinks);
    };
    apart("dq", dq), apart("dk", dk), apart("dv", dv), apart("dsinks", dsinks);
    detail::refuse_overlap("backward", "dq", dq.at, "dk", dk.at);
    detail::refuse_overlap("backward", "dq", dq.at, "dv", dv.at);
    detail::refuse_overlap("backward", "dk", dk.at, "dv", dv.at);
    detail::refuse_overlap("backward", "dsinks", dsinks.at, "dq", dq.at);
    detail::refuse_overlap("backward", "dsinks", dsinks.at, "dk", dk.at);
    detail::refuse_overlap("backward", "dsinks", dsinks.at, "dv", dv.at);
    auto const outside = [this](const char* name, const auto& a) { this->refuse_in_scratch("backward", name, a.at); };
    outside("q", q), outside("k", k), outside("v", v), outside("out", out), outside("lse", lse);
    outside("dout", dout), outside("dq", dq), outside("dk", dk), outside("dv", dv), outside("dlse", dlse);
    outside("sinks", sinks), outside("dsinks", dsinks);
  }
};

}  // namespace ringfold
