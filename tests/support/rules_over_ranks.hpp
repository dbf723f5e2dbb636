#pragma once

#include <mutex>

#include <ringfold/comm/threads.hpp>
#include <ringfold/recurrence/backward_plan.hpp>
#include <ringfold/wrap/counted.hpp>

#include "rules.hpp"

/// \file
/// A rule over ranks, by its plans.

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
    auto const p = e.spec.template problem<T>(tokens, e.packed, e.batch, e.heads);
    auto const over = recurrence(comm, schedule, e.spec.rule());
    recurrence_plan forward(over, p);
    recurrence_backward_plan backward(over, p);
    shard_of<T, T, Spec> const mine(e, tokens, me, order);

    arena<> nowhere;
    auto const one = e.spec.rule().algebra_for(p, nowhere).take_state(nowhere);
    std::vector<A> initial(e.given.initial.begin(), e.given.initial.end()),
        final(e.given.final.begin(), e.given.final.end()), last(final.size()), first(initial.size()),
        entered(initial.size() * static_cast<std::size_t>(forward.slots()));
    auto const state = [&](std::vector<A>& of, extent slots = 1) {
      return dense(of.data(), slots * one.extents[0], one.extents[1], one.extents[2], one.extents[3]);
    };
    counters book_of_forward;
    for (int turn = 0; turn < 2; ++turn) {
      book = {};
      forward.forward(mine.read(e.spec), mine.out.whole,
                      {.initial = state(initial), .final = state(last), .entered = state(entered, forward.slots())});
      book_of_forward = book;
      book = {};
      backward.backward(mine.read(e.spec), state(entered, forward.slots()), mine.dout, mine.written(e.spec),
                        {.final = state(final), .initial = state(first)});
    }

    std::lock_guard const lock(guard);
    mine.add_to(all.made, e, tokens, me);
    tokens.for_each_position(me, [&](extent, extent position) {
      if (position == 0) all.made.initial = e.plain(numbers(first.begin(), first.end()));
      if (position + 1 == e.tokens) all.made.final = e.plain(numbers(last.begin(), last.end()));
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

/// Runs a rule by a chain in pieces and by a log-step schedule or another over 1 to 5 ranks and every kind of layout, and
/// calls f(experiment, what the chain made, what the other made).
template <class T, class Other = schedule::doubling_123, class F, class Spec>
void for_each_layout(Spec spec, F f) {
  std::uint64_t draw = 0;
  for (documents const& packed : {documents{17}, documents{5, 0, 1, 8, 3}, documents{1}}) {
    experiment const e(spec, packed, 1, 2, ++draw);
    for (int ranks = 1; ranks <= 5; ++ranks) {
      for (int kind = 0; kind < 5; ++kind) {
        std::mt19937_64 random(++draw);
        auto const tokens = layout_of(kind, e.tokens, ranks, random);
        auto const order = sharded::memory_orders[random() % 5];
        f(e, run_over_ranks<T>(e, tokens, schedule::chain{2}, order), run_over_ranks<T>(e, tokens, Other{}, order));
      }
    }
  }
}

}  // namespace rules
