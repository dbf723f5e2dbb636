#pragma once

#include <ringfold/recurrence/plan.hpp>

/// \file
/// The outermost call of a recurrence's backward pass.

namespace ringfold {

namespace detail {

/// All that a recurrence_backward_plan takes from an arena.
template <class R, class P>
struct recurrence_backward_workings {
  using space = typename R::space;
  using element = typename P::element;
  using sum = typename P::accumulate;
  using algebra = typename R::rule_type::template algebra<sum>;
  using workspace = decltype(std::declval<const typename R::rule_type&>().backward_workspace_for(
      std::declval<const P&>(), extent{}, std::declval<arena<space>&>()));
  static constexpr bool rounds = !std::is_same_v<element, sum>;

  recurrence_backward_workings(const R& over, const P& p, const owned_slots& slots, arena<space>& memory)
      : of{p.batch, p.heads, p.dim, p.value_dim},
        chunk(over.rule.backward_workspace_for(p, slots.longest, memory)),
        seed(of.take_state(memory)),
        states(over.schedule, of, over.comm, slots.all.reversed(), memory) {
    auto const take = [&](extent dim) {
      return memory.template take_view<sum>(rounds ? p.batch : 0, p.tokens.rows(over.comm.rank()), p.heads, dim);
    };
    dq = take(p.dim), dk = take(p.dim), dv = take(p.value_dim);
    for (std::size_t i = 0; i < slots.own.size(); ++i) elements.push_back(of.take_element(memory));
  }

  algebra of;
  workspace chunk;
  view<sum, 4, space> seed;
  view<sum, 4, space> dq, dk, dv;  // before rounding
  typename R::template scan<sum> states;
  std::vector<typename algebra::element> elements;  // of the caller's slots, the last one first
};

}  // namespace detail

/// The backward pass of a recurrence made ready for one problem: checked, with all its memory.
///
/// What must be kept of the forward pass is `entered`, slots() x batch x heads x dim x value_dim sums (float, or double),
/// besides its inputs; the outputs are not needed. Cotangents of states travel from the last slot to the first.
/// **Steps, Bytes, Order** those of forward, from the last slot to the first. **Overlap** all work within chunks.
/// **Memory** that of forward; gradients before rounding; for the longest part of a shard, the states before its chunks,
/// of one head.
/// \snippet recurrence/backward_test.cpp backward
template <class R, class P>
class recurrence_backward_plan : public detail::planned_recurrence<R, P, detail::recurrence_backward_workings<R, P>> {
  using base = detail::planned_recurrence<R, P, detail::recurrence_backward_workings<R, P>>;
  using base::over_, base::problem_, base::slots_, base::work_, base::rows, base::of_slot;
  using rule = typename R::rule_type;

 public:
  using typename base::space, typename base::stream;
  using element = typename P::element;
  using sum = typename P::accumulate;
  using input = argument<const element, 4, space>;
  using output = argument<element, 4, space>;
  using gate_input = argument<const sum, gate_axes<rule::gates>, space>;
  using gate_output = argument<sum, gate_axes<rule::gates>, space>;
  using state_input = argument<const sum, 4, space>;
  using state_output = argument<sum, 4, space>;

  /// \throws usage_error when the problem does not fit the ranks or the schedule; nothing has been sent then.
  recurrence_backward_plan(const R& over, const P& p) : base(over, p) {}

  /// The gradients of q, k, v and gates from that of out, and optionally that of the final state, which is read by the
  /// rank of the last token only. `dinitial` is written by the rank of the first token only.
  ///
  /// q, k, v, gates and entered are those of the forward call. dgates have the extents of gates, and those per head are
  /// over this rank's rows alone, as a data-parallel gradient: add them up over the ranks.
  /// \throws shape_error, alias_error, usage_error before anything is sent; what the communicator throws afterwards.
  void backward(input q, input k, input v, gate_input gates, state_input entered, input dout, output dq, output dk,
                output dv, gate_output dgates, state_input dfinal = {}, state_output dinitial = {}, stream on = {}) {
    check(q, k, v, gates, entered, dout, dq, dk, dv, dgates, dfinal, dinitial);
    P const& p = problem_;
    recurrence_operands<element, space> const all{q.at, k.at, v.at,
                                                  detail::spread<rule::gates>(gates.at, p.batch, rows())};
    recurrence_gradients<sum, space> const to{summed(work_.dq, dq.at), summed(work_.dk, dk.at), summed(work_.dv, dv.at),
                                              detail::spread<rule::gates>(dgates.at, p.batch, rows())};
    bool const seeded = slots_.has_last && dfinal.at.data != nullptr;
    if (seeded) on.copy(piece_of(work_.seed, role::state), piece_of(dfinal.at, role::state));
    std::size_t const count = slots_.own.size();
    for (std::size_t own = 0; own < count; ++own) {
      range const part = slots_.own[own].parts.front();
      over_.rule.summarize_backward(work_.chunk, p, all.rows(part), slice(dout.at, row_axis, part),
                                    work_.elements[count - 1 - own]);
    }
    work_.states.start(work_.elements, seeded ? &work_.seed : nullptr, on);

    for (const auto& each : {to.q, to.k, to.v}) on.elementwise(elementwise::set_zero{}, each);
    if (dgates.at.data != nullptr) on.elementwise(elementwise::set_zero{}, dgates.at);
    auto const carry = [&](std::size_t own, range part, const view<const sum, 4, space>& leaves) {
      view<const sum, 4, space> enters;
      if (part == slots_.own[own].parts.front()) enters = of_slot(entered.at, own);
      over_.rule.carry_backward(work_.chunk, p, all.rows(part), slice(dout.at, row_axis, part), enters, leaves,
                                to.rows(part));
    };
    auto const meanwhile = [&] { work_.states.advance(on); };
    for (std::size_t own = 0; own < count; ++own) {
      for (range const part : slots_.own[own].parts) {
        over_.rule.within_backward(work_.chunk, p, all.rows(part), slice(dout.at, row_axis, part), to.rows(part),
                                   meanwhile);
        if (part != slots_.own[own].parts.back()) carry(own, part, {});
      }
    }
    work_.states.finish(on);

    for (std::size_t own = 0; own < count; ++own) {
      carry(own, slots_.own[own].parts.back(), work_.states.before(static_cast<int>(count - 1 - own)));
    }
    if (slots_.has_first && dinitial.at.data != nullptr) leave(dinitial.at, on);
    round(dq.at, to.q, on), round(dk.at, to.k, on), round(dv.at, to.v, on);
  }

 private:
  /// The cotangent of the state before the first slot.
  void leave(const view<sum, 4, space>& dinitial, stream on) {
    auto const& first = work_.elements.back();
    if (slots_.own.front().parts.size() > 1) {
      on.copy(piece_of(dinitial, role::state), piece_of(first.value, role::state));
    } else {
      work_.of.apply(on, work_.states.before(static_cast<int>(slots_.own.size()) - 1), first, dinitial);
    }
  }

  /// Where a gradient is summed: in the caller's memory, unless that rounds.
  static view<sum, 4, space> summed(const view<sum, 4, space>& own, const view<element, 4, space>& out) {
    if constexpr (std::is_same_v<element, sum>) {
      return out;
    } else {
      return own;
    }
  }
  static void round(const view<element, 4, space>& out, const view<sum, 4, space>& from, stream on) {
    if constexpr (!std::is_same_v<element, sum>) on.elementwise(elementwise::round_to{}, out, from);
  }

  void check(const input& q, const input& k, const input& v, const gate_input& gates, const state_input& entered,
             const input& dout, const output& dq, const output& dk, const output& dv, const gate_output& dgates,
             const state_input& dfinal, const state_output& dinitial) const {
    P const& p = problem_;
    auto const sized = [&](const char* name, const auto& a, extent dim) {
      detail::check_view("backward", name, a.at, {p.batch, rows(), p.heads, dim});
    };
    sized("q", q, p.dim), sized("k", k, p.dim), sized("v", v, p.value_dim), sized("dout", dout, p.value_dim);
    sized("dq", dq, p.dim), sized("dk", dk, p.dim), sized("dv", dv, p.value_dim);
    detail::check_gate_extents<rule::gates>("backward", "gates", gates.at, p, rows());
    detail::check_gate_extents<rule::gates>("backward", "dgates", dgates.at, p, rows());
    detail::check_gate_signs("backward", gates.at);
    if (this->slots() > 0) detail::check_state("backward", "entered", entered.at, p, this->slots());
    bool const reads = slots_.has_last && dfinal.at.data != nullptr;
    bool const writes = slots_.has_first && dinitial.at.data != nullptr;
    if (reads) detail::check_state("backward", "dfinal", dfinal.at, p);
    auto const apart = [&](const char* name, const auto& written) {
      detail::check_written("backward", name, written.at);
      auto const from = [&](const char* other, const auto& read) {
        detail::refuse_overlap("backward", name, written.at, other, read.at);
      };
      from("q", q), from("k", k), from("v", v), from("gates", gates), from("entered", entered), from("dout", dout);
    };
    apart("dq", dq), apart("dk", dk), apart("dv", dv), apart("dgates", dgates);
    auto const differ = [&](const char* a_name, const auto& a, const char* b_name, const auto& b) {
      detail::refuse_overlap("backward", a_name, a.at, b_name, b.at);
    };
    differ("dq", dq, "dk", dk), differ("dq", dq, "dv", dv), differ("dk", dk, "dv", dv);
    differ("dgates", dgates, "dq", dq), differ("dgates", dgates, "dk", dk), differ("dgates", dgates, "dv", dv);
    if (!writes) return;
    detail::check_state("backward", "dinitial", dinitial.at, p);
    apart("dinitial", dinitial);
    differ("dinitial", dinitial, "dq", dq), differ("dinitial", dinitial, "dk", dk);
    differ("dinitial", dinitial, "dv", dv), differ("dinitial", dinitial, "dgates", dgates);
  }
};

}  // namespace ringfold
