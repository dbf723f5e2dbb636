#pragma once

#include <mutex>

#include <ringfold/collective/scan.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/recurrence/plan.hpp>
#include <ringfold/wrap/counted.hpp>

#include "rules.hpp"

/// \file
/// A rule over ranks: elements travel by a schedule.

namespace rules {

struct run_result {
  values<double> made;
  std::vector<counters> forward, backward;
};

/// Runs a rule as every rank of a layout, forward and backward, twice; the second time counts.
template <class T, class Spec, class Schedule>
run_result run_over_ranks(const experiment<Spec>& e, const layout& tokens, Schedule schedule,
                          sharded::memory_order order = sharded::memory_order::bshd) {
  using A = accumulate_t<T>;
  run_result all;
  auto const ranks = static_cast<std::size_t>(tokens.ranks());
  all.forward.resize(ranks), all.backward.resize(ranks);
  all.made.final.resize(e.given.final.size()), all.made.initial.resize(e.given.initial.size());
  std::mutex guard;
  run_ranks(tokens.ranks(), [&](threads plain) {
    counters book;
    int const me = plain.rank();
    counted comm(plain, book);
    auto const rule = e.spec.rule();
    auto const p = e.spec.template problem<T>(tokens, e.packed, e.batch, e.heads);
    detail::owned_slots const slots(p, me);
    sharded::workspace scratch(1 << 20);
    auto& memory = scratch.arena();
    auto const algebra = rule.algebra_for(p, memory);
    auto work = rule.forward_workspace(p, slots.longest, memory);
    auto back = rule.backward_workspace_for(p, slots.longest, memory);
    auto forward = scan(schedule, algebra, comm, slots.all, memory);
    auto backward = scan(schedule, algebra, comm, slots.all.reversed(), memory);
    using element = typename std::remove_cvref_t<decltype(algebra)>::element;
    std::vector<element> elements, of_cotangents;
    for (std::size_t i = 0; i < slots.own.size(); ++i) {
      elements.push_back(algebra.take_element(memory)), of_cotangents.push_back(algebra.take_element(memory));
    }
    auto const initial = algebra.take_state(memory), final = algebra.take_state(memory),
               last = algebra.take_state(memory), first = algebra.take_state(memory);
    std::copy(e.given.initial.begin(), e.given.initial.end(), initial.data);
    std::copy(e.given.final.begin(), e.given.final.end(), final.data);
    host_stream const on;

    std::vector<counters> books;
    for (int turn = 0; turn < 2; ++turn) {
      shard_of<T, Spec> const mine(e, tokens, me, order);
      auto const& of = mine.operands;
      auto const& to = mine.gradients;
      view<const T, 4> const dout = mine.dout;
      auto const out = [&](range part) { return slice(mine.out.whole, row_axis, part); };
      auto const cotangents = [&](range part) { return slice(dout, row_axis, part); };
      std::size_t const count = slots.own.size();
      auto const enters = [&](std::size_t own) -> view<const A, 4> { return forward.before(static_cast<int>(own)); };
      auto const leaves = [&](std::size_t own) -> view<const A, 4> {
        return backward.before(static_cast<int>(count - 1 - own));
      };

      book = {};
      for (std::size_t own = 0; own < count; ++own) {
        rule.summarize(work, p, of.rows(slots.own[own].parts.back()), elements[own]);
      }
      forward.start(elements, slots.has_first ? &initial : nullptr, on);
      for (const auto& own : slots.own) {
        for (range const part : own.parts) {
          rule.within(work, p, of.rows(part), out(part), [&] { forward.advance(on); });
          if (part != own.parts.front()) rule.carry(work, p, of.rows(part), view<const A, 4>{}, out(part));
        }
      }
      forward.finish(on);
      for (std::size_t own = 0; own < count; ++own) {
        range const part = slots.own[own].parts.front();
        rule.carry(work, p, of.rows(part), enters(own), out(part));
      }
      // What leaves a slot in which a document begins is what the document's tokens make of nothing.
      auto const leave = [&](const auto& slot, const auto& before, const element& by, const auto& into) {
        if (slot.parts.size() > 1) {
          auto const nothing = algebra.take_state(memory);
          on.elementwise(elementwise::set_zero{}, nothing);
          algebra.apply(on, nothing, by, into);
        } else {
          algebra.apply(on, before, by, into);
        }
      };
      if (slots.has_last) leave(slots.own.back(), forward.before(static_cast<int>(count) - 1), elements.back(), last);
      books.push_back(book);

      book = {};
      for (std::size_t own = 0; own < count; ++own) {
        range const part = slots.own[own].parts.front();
        auto const& into = of_cotangents[count - 1 - own];
        if constexpr (requires { rule.reads_entering_state; }) {
          rule.summarize_backward(back, p, of.rows(part), cotangents(part), enters(own), into);
        } else {
          rule.summarize_backward(back, p, of.rows(part), cotangents(part), into);
        }
      }
      backward.start(of_cotangents, slots.has_last ? &final : nullptr, on);
      auto const carry = [&](range part, const view<const A, 4>& state, const view<const A, 4>& cotangent) {
        rule.carry_backward(back, p, of.rows(part), cotangents(part), state, cotangent, to.rows(part));
      };
      for (std::size_t own = 0; own < count; ++own) {
        auto const& parts = slots.own[own].parts;
        for (range const part : parts) {
          rule.within_backward(back, p, of.rows(part), cotangents(part), to.rows(part), [&] { backward.advance(on); });
          if (part != parts.back()) carry(part, part == parts.front() ? enters(own) : view<const A, 4>{}, {});
        }
      }
      backward.finish(on);
      for (std::size_t own = 0; own < count; ++own) {
        auto const& parts = slots.own[own].parts;
        carry(parts.back(), parts.size() == 1 ? enters(own) : view<const A, 4>{}, leaves(own));
      }
      if (slots.has_first) {
        leave(slots.own.front(), backward.before(static_cast<int>(count) - 1), of_cotangents.back(), first);
      }
      books.push_back(book);
      if (turn == 0) continue;

      std::lock_guard const lock(guard);
      mine.add_to(all.made, e, tokens, me);
      auto const keep = [&](numbers& into, const view<A, 4>& state) {
        numbers made(state.data, state.data + state.size());
        into = e.plain(made);
      };
      if (slots.has_last) keep(all.made.final, last);
      if (slots.has_first) keep(all.made.initial, first);
      all.forward[static_cast<std::size_t>(me)] = books[2], all.backward[static_cast<std::size_t>(me)] = books[3];
    }
  });
  return all;
}

/// A layout of one kind: contiguous, zigzag, striped by tokens, or of any lengths, some empty and some of one token.
inline layout layout_of(int kind, extent tokens, int ranks, std::mt19937_64& random) {
  if (kind == 0) return contiguous(tokens, ranks);
  if (kind == 1) return zigzag(tokens, ranks);
  if (kind == 2) return striped(tokens, ranks);
  std::vector<extent> lengths(static_cast<std::size_t>(ranks), 0);
  for (extent i = 0; i < tokens; ++i) ++lengths[random() % lengths.size()];
  if (kind == 4) lengths = {tokens - 1, 1}, lengths.resize(static_cast<std::size_t>(std::max(ranks, 2)), 0);
  if (kind == 4 && ranks == 1) lengths = {tokens};
  return uneven(tokens, lengths);
}

/// Runs a rule by a chain in pieces and by a log-step schedule over 1 to 5 ranks and every kind of layout, and calls
/// f(experiment, what the chain made, what the other made).
template <class T, class F, class Spec>
void for_each_layout(Spec spec, F f) {
  std::uint64_t draw = 0;
  for (documents const& packed : {documents{17}, documents{5, 0, 1, 8, 3}, documents{1}}) {
    experiment const e(spec, packed, 1, 2, ++draw);
    for (int ranks = 1; ranks <= 5; ++ranks) {
      for (int kind = 0; kind < 5; ++kind) {
        std::mt19937_64 random(++draw);
        auto const tokens = layout_of(kind, e.tokens, ranks, random);
        auto const order = sharded::memory_orders[random() % 5];
        f(e, run_over_ranks<T>(e, tokens, schedule::chain{2}, order),
          run_over_ranks<T>(e, tokens, schedule::doubling_123{}, order));
      }
    }
  }
}

}  // namespace rules
