#pragma once

#include <ringfold/recurrence/problem.hpp>
#include <ringfold/recurrence/recurrence.hpp>
#include <ringfold/recurrence/slots.hpp>
#include <ringfold/recurrence/tensors.hpp>

/// \file
/// The outermost call of a recurrence: it checks, and it owns the scratch memory.

namespace ringfold {

namespace detail {

/// The slots of a layout, and those of the caller's rank by document.
struct owned_slots {
  struct owned {
    token_slot at;
    std::vector<range> parts;  ///< rows by document; at least one
    bool enters, leaves;       ///< whether a state does
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
    for (int slot = 0; slot < all.count(); ++slot) {
      const token_slot& each = slots[static_cast<std::size_t>(slot)];
      if (each.owner != rank) continue;
      own.push_back({each, rows_by_document(each, p.packed), all.enters(slot), all.leaves(slot)});
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

/// Whether somebody asks for an element; one that tells the algebra what it does not travel with is made anyway.
template <class Rule>
bool is_wanted(const Rule&, bool travels, bool is_kept) {
  return travels || is_kept || requires { requires Rule::tells_algebra; };
}

/// What a state measures, or one for each of some slots.
template <class G>
tensor_extents extents_of_states(const G& states, extent slots = 1) {
  arena<typename G::space> nowhere;
  auto const one = G::views(states.take_state(nowhere));
  extent const* const wanted = one[0].extents;
  return {{slots * wanted[0], wanted[1], wanted[2], wanted[3]},
          {slots == 1 ? "batch" : "slots x batch", "heads", "state rows", "state columns"}};
}

template <class V>
void check_state(const char* call, const char* name, const V& state, const tensor_extents& wanted) {
  check_view(call, name, state, wanted.of, wanted.axes);
}

/// Refuses memory that is written and read, or written twice.
template <class Written>
struct apart_from {
  const char* call;
  const char* name;
  const Written& written;

  apart_from(const char* c, const char* n, const Written& w) : call(c), name(n), written(w) {
    check_written(call, name, written);
  }
  template <class V>
  void operator()(const char* other, const V& read) const {
    refuse_overlap(call, name, written, other, read);
  }
  template <class Tensors, class P>
  void operator()(const Tensors& all, const P& p, extent rows) const {
    for_each_tensor(all, p, rows, [&](const char* other, const auto& read, const auto&) { (*this)(other, read); });
  }
};

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
      : of(over.rule.algebra_for(p, memory)),
        chunk(over.rule.forward_workspace(p, slots.longest, memory)),
        seed(of.take_state(memory)),
        output(memory.template take_view<sum>(rounds ? p.batch : 0, p.tokens.rows(over.comm.rank()), p.heads,
                                              over.rule.width(p))),
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

  /// What the last slot of the scan leaves; where documents begin in it, it is what its last one makes of nothing.
  template <class V>
  void leave(const V& into, bool forgets, stream on) {
    auto const& last = work_.elements.back();
    if (forgets) {
      on.copy(piece_of(into, role::state), piece_of(work_.of.value_of(last), role::state));
    } else {
      work_.of.apply(on, work_.states.before(static_cast<int>(slots_.own.size()) - 1), last, into);
    }
  }

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
/// **Memory** the scan's, an element for each slot of this rank, a state, a chunk of one head for each worker, and
/// where elements are narrower than sums, the outputs before rounding.
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
  using inputs = typename rule::template inputs<element, space>;
  using output = argument<element, 4, space>;

  /// States, [batch, heads, dim, value_dim] or as the rule says; all may be left out.
  struct states {
    /// Enters the first token's document, and is read by the rank of the first token only.
    argument<const sum, 4, space> initial{};
    /// After the last token, written by the rank of the last token only (no tokens, no rank); it may be `initial`'s
    /// memory. Where the documents end before, their states are not kept.
    argument<sum, 4, space> final{};
    /// What enters each of this rank's slots, [slots() x batch, ...]: for backward.
    argument<sum, 4, space> entered{};
  };

  /// \throws usage_error when the problem does not fit the ranks or the schedule; nothing has been sent then.
  recurrence_plan(const R& over, const P& p) : base(over, p) {}

  /// The recurrence on this rank's rows: {q, k, v, gates} or what else the rule reads, out [batch, rows, heads, value_dim].
  /// \throws shape_error, alias_error, usage_error before anything is sent; what the communicator throws afterwards.
  void forward(inputs in, output out, states kept = {}, stream on = {}) {
    check(in, out, kept);
    P const& p = problem_;
    auto const all = in.operands(p, rows());
    view<sum, 4, space> sums;
    if constexpr (std::is_same_v<element, sum>) {
      sums = out.at;
    } else {
      sums = work_.output;
    }
    bool const seeded = slots_.has_first && kept.initial.at.data != nullptr;
    if (seeded) on.copy(piece_of(work_.seed, role::state), piece_of(kept.initial.at, role::state));
    bool const keeps_final = slots_.has_last && kept.final.at.data != nullptr;
    for (std::size_t own = 0; own < slots_.own.size(); ++own) {
      bool const is_kept = keeps_final && own + 1 == slots_.own.size();
      if (!detail::is_wanted(over_.rule, slots_.own[own].leaves, is_kept)) continue;
      over_.rule.summarize(work_.chunk, p, all.rows(slots_.own[own].parts.back()), work_.elements[own]);
    }
    work_.states.start(work_.elements, seeded ? &work_.seed : nullptr, on);

    on.elementwise(elementwise::set_zero{}, sums);
    auto const carry = [&](range part, const view<const sum, 4, space>& enters) {
      over_.rule.carry(work_.chunk, p, all.rows(part), enters, slice(sums, row_axis, part));
    };
    bool came = false;
    auto const meanwhile = [&] { came = work_.states.advance(on); };
    auto const within = [&](range part) {
      over_.rule.within(work_.chunk, p, all.rows(part), slice(sums, row_axis, part), meanwhile);
    };
    auto const both = [&](range part, const view<const sum, 4, space>& enters) {
      if constexpr (requires { over_.rule.within_and_carry(work_.chunk, p, all.rows(part), enters, sums); }) {
        over_.rule.within_and_carry(work_.chunk, p, all.rows(part), enters, slice(sums, row_axis, part));
        meanwhile();
      } else {
        within(part), carry(part, enters);
      }
    };
    std::size_t carried = 0;  // of the slots, those whose state came before their turn
    meanwhile();
    for (std::size_t own = 0; own < slots_.own.size(); ++own) {
      for (range const part : slots_.own[own].parts) {
        if (part != slots_.own[own].parts.front()) {
          both(part, {});
        } else if (came && carried == own) {
          both(part, work_.states.before(static_cast<int>(own))), ++carried;
        } else {
          within(part);
        }
      }
    }
    work_.states.finish(on);

    for (std::size_t own = 0; own < slots_.own.size(); ++own) {
      auto const& enters = work_.states.before(static_cast<int>(own));
      if (own >= carried) carry(slots_.own[own].parts.front(), enters);
      if (kept.entered.at.data != nullptr) {
        on.copy(piece_of(of_slot(kept.entered.at, own), role::state), piece_of(enters, role::state));
      }
    }
    if (keeps_final) {
      this->leave(kept.final.at, slots_.own.back().parts.size() > 1, on);
    }
    if constexpr (!std::is_same_v<element, sum>) on.elementwise(elementwise::round_to{}, out.at, sums);
  }

 private:
  void check(const inputs& in, const output& out, const states& kept) const {
    P const& p = problem_;
    detail::check_tensors("forward", in, p, rows());
    detail::check_view("forward", "out", out.at, {p.batch, rows(), p.heads, over_.rule.width(p)});
    in.check_numbers("forward");
    auto const apart = [&](const char* name, const auto& written) {
      detail::apart_from const from("forward", name, written.at);
      from(in, p, rows());
      return from;
    };
    apart("out", out);
    auto const one = detail::extents_of_states(work_.of);
    if (slots_.has_first && kept.initial.at.data != nullptr) {
      detail::check_state("forward", "initial", kept.initial.at, one);
    }
    if (slots_.has_last && kept.final.at.data != nullptr) {
      detail::check_state("forward", "final", kept.final.at, one);
      apart("final", kept.final)("out", out.at);
    }
    if (kept.entered.at.data != nullptr) {
      detail::check_state("forward", "entered", kept.entered.at,
                          detail::extents_of_states(work_.of, static_cast<extent>(this->slots())));
      auto const from = apart("entered", kept.entered);
      from("out", out.at), from("initial", kept.initial.at), from("final", kept.final.at);
    }
  }
};

}  // namespace ringfold
