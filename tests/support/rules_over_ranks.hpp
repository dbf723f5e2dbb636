#pragma once

#include <mutex>

#include <ringfold/comm/threads.hpp>
#include <ringfold/recurrence/backward_plan.hpp>
#include <ringfold/wrap/counted.hpp>

#include "../../examples/support/rules/shard_of.hpp"

/// \file
/// A rule over ranks, by its plans.

namespace rules {

struct run_result {
  values<double> made;
  std::vector<counters> forward, backward;
};

/// How a rule runs: how rows lie in memory, and from which end.
struct manner {
  sharded::memory_order order = sharded::memory_order::bshd;
  bool backwards = false;  ///< rows of a layout are handed over last first, and the first token is the layout's last
};

/// By the caller's threads alone.
struct unshared {
  template <class R>
  R operator()(const R& over) const {
    return over;
  }
};

/// Runs a rule as every rank of a layout, forward and backward, twice; the second time counts. What share() makes of the
/// recurrence is run.
template <class T, class Spec, class Schedule, class Share = unshared>
run_result run_over_ranks(const experiment<Spec>& e, const layout& tokens, Schedule schedule, manner how = {},
                          Share share = {}) {
  using A = accumulate_t<T>;
  run_result all;
  auto const ranks = static_cast<std::size_t>(tokens.ranks());
  all.forward.resize(ranks), all.backward.resize(ranks);
  all.made.final.resize(e.made.final.size()), all.made.initial.resize(e.made.initial.size());
  if (e.tokens == 0 || !e.what.final) all.made.final = e.made.final;  // which nobody makes
  if (e.tokens == 0 || !e.what.initial) all.made.initial = e.made.initial;
  auto const as_read = how.backwards ? mirrored(tokens) : tokens;
  std::mutex guard;
  run_ranks(tokens.ranks(), [&](threads plain) {
    counters book;
    int const me = plain.rank();
    counted comm(plain, book);
    auto const p = how.backwards ? mirrored(e.spec.template problem<T>(tokens, mirrored(e.packed), e.batch, e.heads))
                                 : e.spec.template problem<T>(tokens, e.packed, e.batch, e.heads);
    auto const over = share(recurrence(comm, schedule, e.spec.rule()));
    recurrence_plan forward(over, p);
    recurrence_backward_plan backward(over, p);
    shard_of<T, T, Spec> mine(e, as_read, me, how.order);
    if (how.backwards) mine.turn(e.spec);

    arena<> nowhere;
    auto const one = e.spec.rule().algebra_for(p, nowhere).take_state(nowhere);
    std::vector<A> initial(e.given.initial.begin(), e.given.initial.end()),
        final(e.given.final.begin(), e.given.final.end()), last(final.size(), A(7)), first(initial.size(), A(7)),
        entered(initial.size() * static_cast<std::size_t>(forward.slots()));
    auto const state = [&](std::vector<A>& of, bool handed_over = true, extent slots = 1) {
      return dense(handed_over ? of.data() : nullptr, slots * one.extents[0], one.extents[1], one.extents[2],
                   one.extents[3]);
    };
    auto const states = state(entered, true, forward.slots());
    counters book_of_forward;
    for (int turn = 0; turn < 2; ++turn) {
      book = {};
      forward.forward(
          mine.read(e.spec), mine.out.whole,
          {.initial = state(initial, e.what.initial), .final = state(last, e.what.final), .entered = states});
      book_of_forward = book;
      book = {};
      backward.backward(mine.read(e.spec), states, mine.dout.whole, mine.written(e.spec),
                        {.final = state(final, e.what.final), .initial = state(first, e.what.initial)});
    }

    std::lock_guard const lock(guard);
    mine.add_to(all.made, e, as_read, me);
    as_read.for_each_position(me, [&](extent, extent position) {
      if (position == 0 && e.what.initial) all.made.initial = e.plain(numbers(first.begin(), first.end()));
      if (position + 1 == e.tokens && e.what.final) all.made.final = e.plain(numbers(last.begin(), last.end()));
    });
    all.forward[static_cast<std::size_t>(me)] = book_of_forward, all.backward[static_cast<std::size_t>(me)] = book;
  });
  return all;
}

/// Whether ranks send what is said: a chain its states, another schedule its elements, with so many numbers for the gates
/// of a head. Every rank has tokens, of one document.
template <class T, class Spec>
bool sends(const experiment<Spec>& e, extent gates) {
  int const ranks = 4;
  extent const heads = e.batch * e.heads * static_cast<extent>(sizeof(accumulate_t<T>));
  extent const state = heads * e.spec.state_size(), element = state + heads * gates;
  auto const tokens = contiguous(e.tokens, ranks);
  auto const chain = run_over_ranks<T>(e, tokens, schedule::chain{}),
             joined = run_over_ranks<T>(e, tokens, schedule::doubling_123{});
  bool right = true;
  for (int rank = 0; rank < ranks; ++rank) {
    auto const at = static_cast<std::size_t>(rank), mirrored = static_cast<std::size_t>(ranks - 1 - rank);
    extent const messages = schedule::doubling_123::messages(ranks, rank);
    right = right && chain.forward[at].total_bytes() == (rank + 1 < ranks ? state : 0) &&
            chain.backward[mirrored].total_bytes() == (rank + 1 < ranks ? state : 0) &&
            joined.forward[at].total_bytes() == messages * element &&
            joined.backward[mirrored].total_bytes() == messages * element;
  }
  return right;
}

}  // namespace rules
