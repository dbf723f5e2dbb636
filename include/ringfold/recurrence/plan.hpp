#pragma once

#include <ringfold/recurrence/decay.hpp>
#include <ringfold/recurrence/recurrence.hpp>
#include <ringfold/recurrence/slots.hpp>

/// \file
/// The outermost call of a recurrence: it checks, and it owns the scratch memory.

namespace ringfold {

namespace detail {

/// The slots of a layout, and those of the caller's rank by document.
struct owned_slots {
  struct owned {
    token_slot at;
    std::vector<range> parts;  ///< rows by document; at least one
  };
  scan_slots all;
  std::vector<owned> own;
  bool has_first = false, has_last = false;  ///< tokens of the sequence
  extent longest = 0;                        ///< part

  template <class P>
  owned_slots(const P& p, int rank) : owned_slots(p, rank, slots_in_order(p.tokens)) {}

 private:
  template <class P>
  owned_slots(const P& p, int rank, const std::vector<token_slot>& slots) : all(scanned_slots(slots, p.packed)) {
    for (const token_slot& each : slots) {
      if (each.owner != rank) continue;
      own.push_back({each, rows_by_document(each, p.packed)});
      for (range const part : own.back().parts) longest = part.count > longest ? part.count : longest;
    }
    has_first = !slots.empty() && slots.front().owner == rank;
    has_last = !slots.empty() && slots.back().owner == rank;
  }
};

/// The problem, when it is for as many ranks as there are. \throws usage_error
template <class R, class P>
const P& fitting(const R& over, const P& p) {
  if (p.tokens.ranks() != over.comm.size()) {
    throw usage_error(
        say("recurrence: the layout is for %d ranks, the communicator has %d", p.tokens.ranks(), over.comm.size()));
  }
  return p;
}

template <class V, class P>
void check_state(const char* call, const char* name, const V& state, const P& p, extent slots = 1) {
  check_view(call, name, state, {slots * p.batch, p.heads, p.dim, p.value_dim},
             {slots == 1 ? "batch" : "slots x batch", "heads", "dim", "value dim"});
}

/// All that a recurrence_plan takes from an arena.
template <class R, class P>
struct recurrence_workings {
  using space = typename R::space;
  using element = typename P::element;
  using sum = typename P::accumulate;
  using algebra = typename R::rule_type::template algebra<sum>;
  using workspace = decltype(std::declval<const typename R::rule_type&>().forward_workspace(
      std::declval<const P&>(), extent{}, std::declval<arena<space>&>()));
  static constexpr bool rounds = !std::is_same_v<element, sum>;

  recurrence_workings(const R& over, const P& p, const owned_slots& slots, arena<space>& memory)
      : of{p.batch, p.heads, p.dim, p.value_dim},
        chunk(over.rule.forward_workspace(p, slots.longest, memory)),
        seed(of.take_state(memory)),
        output(memory.template take_view<sum>(rounds ? p.batch : 0, p.tokens.rows(over.comm.rank()), p.heads,
                                              p.value_dim)),
        states(over.schedule, of, over.comm, slots.all, memory) {
    for (std::size_t i = 0; i < slots.own.size(); ++i) elements.push_back(of.take_element(memory));
  }

  algebra of;
  workspace chunk;
  view<sum, 4, space> seed;
  view<sum, 4, space> output;  // before rounding
  typename R::template scan<sum> states;
  std::vector<typename algebra::element> elements;  // of the caller's slots
};

/// A recurrence made ready for one problem, with all the memory that Work takes of an arena.
template <class R, class P, class Work>
class planned_recurrence {
 public:
  using space = typename R::space;
  using stream = typename R::stream;

  planned_recurrence(const planned_recurrence&) = delete;
  planned_recurrence& operator=(const planned_recurrence&) = delete;

  /// The bytes of scratch in use.
  extent workspace() const { return memory_.used(); }
  const P& described() const { return problem_; }
  /// How many slots this rank has: its segments that hold tokens, in the order of the sequence.
  int slots() const { return static_cast<int>(slots_.own.size()); }

 protected:
  planned_recurrence(const R& over, const P& p)
      : over_(over),
        problem_(fitting(over, p)),
        slots_(problem_, over.comm.rank()),
        owned_(measure()),
        memory_(owned_.data(), measure()),
        work_(over_, problem_, slots_, memory_) {}

  extent rows() const { return problem_.tokens.rows(over_.comm.rank()); }

  /// The states that one of the caller's slots has in [slots x batch, ...].
  template <class V>
  V of_slot(const V& states, std::size_t own) const {
    return slice(states, 0, static_cast<extent>(own) * problem_.batch, problem_.batch);
  }

  R over_;
  P problem_;
  owned_slots slots_;

 private:
  extent measure() const {
    arena<space> nowhere;
    Work const measured(over_, problem_, slots_, nowhere);
    return nowhere.used();
  }

  scratch_memory<space> owned_;
  arena<space> memory_;

 protected:
  Work work_;
};

}  // namespace detail

/// A recurrence made ready for one problem: checked, with all its memory; forward() may be called any number of times.
///
/// Every rank makes its plan and calls forward together. Inputs are never written, and a call allocates nothing.
/// **Memory** the scan's, an element for each slot of this rank, a state, a chunk of one head, and where elements are
/// narrower than sums, the outputs before rounding.
/// \snippet recurrence/plan_test.cpp recurrence
template <class R, class P>
class recurrence_plan : public detail::planned_recurrence<R, P, detail::recurrence_workings<R, P>> {
  using base = detail::planned_recurrence<R, P, detail::recurrence_workings<R, P>>;
  using base::over_, base::problem_, base::slots_, base::work_, base::rows, base::of_slot;
  using rule = typename R::rule_type;

 public:
  using typename base::space, typename base::stream;
  using element = typename P::element;
  using sum = typename P::accumulate;
  using input = argument<const element, 4, space>;
  using output = argument<element, 4, space>;
  using gate_input = argument<const sum, gate_axes<rule::gates>, space>;
  using state_input = argument<const sum, 4, space>;
  using state_output = argument<sum, 4, space>;

  /// \throws usage_error when the problem does not fit the ranks or the schedule; nothing has been sent then.
  recurrence_plan(const R& over, const P& p) : base(over, p) {}

  /// The recurrence on this rank's rows: q and k [batch, rows, heads, dim], v and out with value_dim, gates as gating
  /// says. States are [batch, heads, dim, value_dim]; those of the optional arguments are:
  /// - `initial`: enters the first token's document, and is read by the rank of the first token only.
  /// - `final`: after the last token, written by the rank of the last token only (no tokens, no rank); it may be `initial`'s memory. Where
  ///   the documents end before, their states are not kept.
  /// - `entered`: what enters each of this rank's slots, [slots() x batch, heads, dim, value_dim]: for backward.
  /// \throws shape_error, alias_error, usage_error before anything is sent; what the communicator throws afterwards.
  void forward(input q, input k, input v, gate_input gates, output out, state_input initial = {},
               state_output final = {}, state_output entered = {}, stream on = {}) {
    check(q, k, v, gates, out, initial, final, entered);
    P const& p = problem_;
    recurrence_operands<element, space> const all{q.at, k.at, v.at,
                                                  detail::spread<rule::gates>(gates.at, p.batch, rows())};
    view<sum, 4, space> sums;
    if constexpr (std::is_same_v<element, sum>) {
      sums = out.at;
    } else {
      sums = work_.output;
    }
    bool const seeded = slots_.has_first && initial.at.data != nullptr;
    if (seeded) on.copy(piece_of(work_.seed, role::state), piece_of(initial.at, role::state));
    for (std::size_t own = 0; own < slots_.own.size(); ++own) {
      over_.rule.summarize(work_.chunk, p, all.rows(slots_.own[own].parts.back()), work_.elements[own]);
    }
    work_.states.start(work_.elements, seeded ? &work_.seed : nullptr, on);

    on.elementwise(elementwise::set_zero{}, sums);
    auto const carry = [&](range part, const view<const sum, 4, space>& enters) {
      over_.rule.carry(work_.chunk, p, all.rows(part), enters, slice(sums, row_axis, part));
    };
    auto const meanwhile = [&] { work_.states.advance(on); };
    for (const auto& own : slots_.own) {
      for (range const part : own.parts) {
        over_.rule.within(work_.chunk, p, all.rows(part), slice(sums, row_axis, part), meanwhile);
        if (part != own.parts.front()) carry(part, {});
      }
    }
    work_.states.finish(on);

    for (std::size_t own = 0; own < slots_.own.size(); ++own) {
      auto const& enters = work_.states.before(static_cast<int>(own));
      carry(slots_.own[own].parts.front(), enters);
      if (entered.at.data != nullptr) {
        on.copy(piece_of(of_slot(entered.at, own), role::state), piece_of(enters, role::state));
      }
    }
    if (slots_.has_last && final.at.data != nullptr) leave(final.at, on);
    if constexpr (!std::is_same_v<element, sum>) on.elementwise(elementwise::round_to{}, out.at, sums);
  }

 private:
  /// The state after the last slot.
  void leave(const view<sum, 4, space>& final, stream on) {
    auto const& last = work_.elements.back();
    if (slots_.own.back().parts.size() > 1) {
      on.copy(piece_of(final, role::state), piece_of(last.value, role::state));
    } else {
      work_.of.apply(on, work_.states.before(static_cast<int>(slots_.own.size()) - 1), last, final);
    }
  }

  void check(const input& q, const input& k, const input& v, const gate_input& gates, const output& out,
             const state_input& initial, const state_output& final, const state_output& entered) const {
    P const& p = problem_;
    auto const sized = [&](const char* name, const auto& a, extent dim) {
      detail::check_view("forward", name, a.at, {p.batch, rows(), p.heads, dim});
    };
    sized("q", q, p.dim), sized("k", k, p.dim), sized("v", v, p.value_dim), sized("out", out, p.value_dim);
    detail::check_gate_extents<rule::gates>("forward", "gates", gates.at, p, rows());
    detail::check_gate_signs("forward", gates.at);
    auto const apart = [&](const char* name, const auto& written) {
      detail::check_written("forward", name, written.at);
      auto const from = [&](const char* other, const auto& read) {
        detail::refuse_overlap("forward", name, written.at, other, read.at);
      };
      from("q", q), from("k", k), from("v", v), from("gates", gates);
    };
    apart("out", out);
    if (slots_.has_first && initial.at.data != nullptr) detail::check_state("forward", "initial", initial.at, p);
    if (slots_.has_last && final.at.data != nullptr) {
      detail::check_state("forward", "final", final.at, p);
      apart("final", final);
      detail::refuse_overlap("forward", "final", final.at, "out", out.at);
    }
    if (entered.at.data != nullptr) {
      detail::check_state("forward", "entered", entered.at, p, this->slots());
      apart("entered", entered);
      detail::refuse_overlap("forward", "entered", entered.at, "out", out.at);
      detail::refuse_overlap("forward", "entered", entered.at, "initial", initial.at);
      detail::refuse_overlap("forward", "entered", entered.at, "final", final.at);
    }
  }
};

}  // namespace ringfold
