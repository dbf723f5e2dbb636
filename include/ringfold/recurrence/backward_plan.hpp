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
  using gradients = typename R::rule_type::template gradients<element, space>;
  static constexpr bool rounds = !std::is_same_v<element, sum>;

  recurrence_backward_workings(const R& over, const P& p, const owned_slots& slots, arena<space>& memory)
      : of(over.rule.algebra_for(p, memory)),
        chunk(over.rule.backward_workspace_for(p, slots.longest, memory)),
        seed(of.take_state(memory)),
        states(over.schedule, of, over.comm, slots.all.reversed(), memory) {
    auto const wanted = gradients::extents(p, p.tokens.rows(over.comm.rank()));
    for (std::size_t i = 0; rounds && i < wanted.size(); ++i) {
      extent const* const e = wanted[i].of;
      if (gradients::rounded[i]) apart[i] = memory.template take_view<sum>(e[0], e[1], e[2], e[3]);
    }
    for (std::size_t i = 0; i < slots.own.size(); ++i) elements.push_back(of.take_element(memory));
  }

  algebra of;
  workspace chunk;
  view<sum, 4, space> seed;
  std::array<view<sum, 4, space>, gradients::names.size()> apart;  // gradients before rounding
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
/// of one head for each worker, and by delta rules what each token corrects.
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
  using inputs = typename rule::template inputs<element, space>;
  using gradients = typename rule::template gradients<element, space>;

  /// Cotangents of states, [batch, heads, dim, value_dim] or as the rule says; both may be left out.
  struct states {
    argument<const sum, 4, space> final{};  ///< read by the rank of the last token only
    argument<sum, 4, space> initial{};      ///< written by the rank of the first token only
  };

  /// \throws usage_error when the problem does not fit the ranks or the schedule; nothing has been sent then.
  recurrence_backward_plan(const R& over, const P& p) : base(over, p) {}

  /// The gradients of what the rule reads, {dq, dk, dv, dgates}, from that of out, and from and of the states outside.
  ///
  /// The inputs and `entered` are those of the forward call. Gradients have the extents of what they are of; those of what
  /// has no rows are over this rank's rows alone, as a data-parallel gradient: add them up over the ranks.
  /// \throws shape_error, alias_error, usage_error before anything is sent; what the communicator throws afterwards.
  void backward(inputs in, argument<const sum, 4, space> entered, argument<const element, 4, space> dout, gradients to,
                states outside = {}, stream on = {}) {
    check(in, entered, dout, to, outside);
    P const& p = problem_;
    auto const all = in.operands(p, rows());
    using sums = typename rule::template gradients<sum, space>;
    sums const summed = detail::before_rounding<sums>(to, work_.apart);
    auto const into = summed.operands(p, rows());
    bool const seeded = slots_.has_last && outside.final.at.data != nullptr;
    if (seeded) on.copy(piece_of(work_.seed, role::state), piece_of(outside.final.at, role::state));
    std::size_t const count = slots_.own.size();
    bool const keeps_initial = slots_.has_first && outside.initial.at.data != nullptr;
    for (std::size_t own = 0; own < count; ++own) {
      if (!detail::is_wanted(over_.rule, slots_.own[own].enters, keeps_initial && own == 0)) continue;
      range const part = slots_.own[own].parts.front();
      auto const cotangents = slice(dout.at, row_axis, part);
      auto const& made = work_.elements[count - 1 - own];
      if constexpr (requires { rule::reads_entering_state; }) {
        over_.rule.summarize_backward(work_.chunk, p, all.rows(part), cotangents, of_slot(entered.at, own), made);
      } else {
        over_.rule.summarize_backward(work_.chunk, p, all.rows(part), cotangents, made);
      }
    }
    work_.states.start(work_.elements, seeded ? &work_.seed : nullptr, on);

    detail::for_each_tensor(summed, p, rows(), [&](const char*, const auto& each, const auto&) {
      if (each.data != nullptr) on.elementwise(elementwise::set_zero{}, each);
    });
    auto const carry = [&](std::size_t own, range part, const view<const sum, 4, space>& leaves) {
      view<const sum, 4, space> enters;
      if (part == slots_.own[own].parts.front()) enters = of_slot(entered.at, own);
      over_.rule.carry_backward(work_.chunk, p, all.rows(part), slice(dout.at, row_axis, part), enters, leaves,
                                into.rows(part));
    };
    auto const meanwhile = [&] { work_.states.advance(on); };
    for (std::size_t own = 0; own < count; ++own) {
      for (range const part : slots_.own[own].parts) {
        over_.rule.within_backward(work_.chunk, p, all.rows(part), slice(dout.at, row_axis, part), into.rows(part),
                                   meanwhile);
        if (part != slots_.own[own].parts.back()) carry(own, part, {});
      }
    }
    work_.states.finish(on);

    for (std::size_t own = 0; own < count; ++own) {
      carry(own, slots_.own[own].parts.back(), work_.states.before(static_cast<int>(count - 1 - own)));
    }
    if (keeps_initial) {
      this->leave(outside.initial.at, slots_.own.front().parts.size() > 1, on);
    }
    detail::for_each_rounded(to, summed, [&](const auto& rounded, const auto& sum_of) {
      on.elementwise(elementwise::round_to{}, rounded, sum_of);
    });
  }

 private:
  void check(const inputs& in, const argument<const sum, 4, space>& entered,
             const argument<const element, 4, space>& dout, const gradients& to, const states& outside) const {
    P const& p = problem_;
    detail::check_tensors("backward", in, p, rows());
    detail::check_tensors("backward", to, p, rows());
    detail::check_view("backward", "dout", dout.at, {p.batch, rows(), p.heads, over_.rule.width(p)});
    in.check_numbers("backward");
    auto const one = detail::extents_of_states(work_.of);
    if (this->slots() > 0) {
      detail::check_state("backward", "entered", entered.at,
                          detail::extents_of_states(work_.of, static_cast<extent>(this->slots())));
    }
    if (slots_.has_last && outside.final.at.data != nullptr) {
      detail::check_state("backward", "dfinal", outside.final.at, one);
    }
    auto const apart = [&](const char* name, const auto& written) {
      detail::apart_from const from("backward", name, written);
      from(in, p, rows());
      from("entered", entered.at), from("dout", dout.at);
      return from;
    };
    detail::for_each_tensor(to, p, rows(), [&](const char* name, const auto& written, const auto&) {
      auto const from = apart(name, written);
      bool later = false;
      detail::for_each_tensor(to, p, rows(), [&](const char* other, const auto& also, const auto&) {
        if (later) from(other, also);
        later = later || other == name;
      });
    });
    if (!slots_.has_first || outside.initial.at.data == nullptr) return;
    detail::check_state("backward", "dinitial", outside.initial.at, one);
    apart("dinitial", outside.initial.at)(to, p, rows());
  }
};

}  // namespace ringfold
