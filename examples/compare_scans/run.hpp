#pragma once

#include <algorithm>
#include <barrier>
#include <chrono>
#include <mutex>
#include <vector>

#include <ringfold/comm/threads.hpp>
#include <ringfold/recurrence/backward_plan.hpp>
#include <ringfold/recurrence/decay.hpp>
#include <ringfold/wrap/counted.hpp>

#include "experiment.hpp"
#include "rounds.hpp"

/// \file
/// A rule with decay over threads; included where a rule is compiled.

namespace compare_scans {

namespace detail {

/// This rank's rows of [batch, token, head, width], or of gates per head all.
template <class T>
struct shard {
  std::vector<T> numbers;
  extent batch, rows, heads, width;

  auto view() { return ringfold::dense(numbers.data(), batch, rows, heads, width); }
};

/// Calls f(number of the whole, number of the shard) for each of a rank's.
template <class F>
void for_each_number(const experiment& e, const ringfold::layout& tokens, int rank, extent width, F f) {
  extent const rows = tokens.rows(rank);
  tokens.for_each_position(rank, [&](extent row, extent position) {
    for (extent b = 0; b < e.batch; ++b) {
      for (extent i = 0; i < e.heads * width; ++i) {
        f(static_cast<std::size_t>((b * e.seq + position) * e.heads * width + i),
          static_cast<std::size_t>((b * rows + row) * e.heads * width + i));
      }
    }
  });
}

/// A pass on one rank: the first call warms up and is counted, the others are timed.
template <class Call>
void time(Call call, const experiment& e, const ringfold::counters& book, const round_clock& rounds,
          std::barrier<>& together, std::mutex& guard, pass& all) {
  for (int i = 0; i <= e.repeats; ++i) {
    together.arrive_and_wait();
    auto const start = std::chrono::steady_clock::now();
    call();
    std::chrono::duration<double> const took = std::chrono::steady_clock::now() - start;
    std::lock_guard const lock(guard);
    all.seconds.resize(static_cast<std::size_t>(e.repeats));
    if (i > 0) {
      double& slowest = all.seconds[static_cast<std::size_t>(i - 1)];
      slowest = std::max(slowest, took.count());
    } else {
      all.bytes = std::max(all.bytes, book.total_bytes());
      all.rounds = std::max(all.rounds, rounds.rounds());
    }
  }
}

}  // namespace detail

template <ringfold::gating Gates>
outcome run(const experiment& e, const any_schedule& schedule, int ranks) {
  using ringfold::dense;
  outcome all;
  all.made = e.in;
  for (auto* each : {&all.made.q, &all.made.k, &all.made.v, &all.made.gates, &all.made.out}) {
    each->assign(each->size(), 0.0f);
  }
  auto const tokens = ringfold::contiguous(e.seq, ranks);
  round_board forward_board(ranks), backward_board(ranks);
  std::barrier together(ranks);
  std::mutex guard;
  std::vector<std::vector<float>> dgates_of(static_cast<std::size_t>(ranks));  // per head, of each rank's rows
  ringfold::run_ranks(ranks, [&](ringfold::threads comm) {
    int const me = comm.rank();
    extent const rows = tokens.rows(me);
    auto const empty = [&](extent width) {
      return detail::shard<float>{std::vector<float>(static_cast<std::size_t>(e.batch * rows * e.heads * width)),
                                  e.batch, rows, e.heads, width};
    };
    auto const mine = [&](const std::vector<float>& whole, extent width) {
      auto made = empty(width);
      detail::for_each_number(e, tokens, me, width,
                              [&](std::size_t at, std::size_t own) { made.numbers[own] = whole[at]; });
      return made;
    };
    auto const put = [&](std::vector<float>& whole, const detail::shard<float>& from) {
      detail::for_each_number(e, tokens, me, from.width,
                              [&](std::size_t at, std::size_t own) { whole[at] = from.numbers[own]; });
    };
    auto q = mine(e.in.q, e.dim), k = mine(e.in.k, e.dim), v = mine(e.in.v, e.value_dim), out = empty(e.value_dim);
    auto const gates_like = [&](bool filled) {
      if constexpr (Gates == ringfold::gating::none) return empty(0);
      if (Gates != ringfold::gating::per_head) return filled ? mine(e.in.gates, e.gate_width()) : empty(e.gate_width());
      return detail::shard<float>{filled ? e.in.gates : std::vector<float>(e.in.gates.size()), 1, 1, e.heads, 1};
    };
    auto const as_argument = [](detail::shard<float>& of) {
      if constexpr (Gates == ringfold::gating::none) {
        return ringfold::view<float, 1>{};
      } else if constexpr (Gates == ringfold::gating::per_head) {
        return dense(of.numbers.data(), of.heads);
      } else if constexpr (Gates == ringfold::gating::per_token) {
        return dense(of.numbers.data(), of.batch, of.rows, of.heads);
      } else {
        return of.view();
      }
    };
    auto gates = gates_like(true);

    auto const p = ringfold::make_recurrence<float>(
        tokens, {.batch = e.batch, .heads = e.heads, .dim = e.dim, .value_dim = e.value_dim}, e.packed);
    ringfold::decay<Gates> const rule{e.chunk};
    ringfold::counters book, backward_book;
    round_clock rounds(forward_board, ranks), backward_rounds(backward_board, ranks);
    ringfold::recurrence_plan forward(
        ringfold::recurrence(ringfold::counted(by_rounds(comm, rounds), book), schedule, rule), p);
    std::vector<float> entered(static_cast<std::size_t>(forward.slots() * e.batch * e.heads * e.dim * e.value_dim));
    auto const states = dense(entered.data(), forward.slots() * e.batch, e.heads, e.dim, e.value_dim);
    detail::time(
        [&] {
          forward.forward({q.view(), k.view(), v.view(), as_argument(gates)}, out.view(), {.entered = states});
        },
        e, book, rounds, together, guard, all.forward);

    auto dq = empty(e.dim), dk = empty(e.dim), dv = empty(e.value_dim), dgates = gates_like(false);
    if (e.backward) {
      auto dout = mine(e.in.out, e.value_dim);
      ringfold::recurrence_backward_plan backward(
          ringfold::recurrence(ringfold::counted(by_rounds(comm, backward_rounds), backward_book), schedule, rule), p);
      detail::time(
          [&] {
            backward.backward({q.view(), k.view(), v.view(), as_argument(gates)}, states, dout.view(),
                              {dq.view(), dk.view(), dv.view(), as_argument(dgates)});
          },
          e, backward_book, backward_rounds, together, guard, all.backward);
    }

    std::lock_guard const lock(guard);
    put(all.made.out, out), put(all.made.q, dq), put(all.made.k, dk), put(all.made.v, dv);
    if constexpr (Gates == ringfold::gating::per_head) {
      dgates_of[static_cast<std::size_t>(me)] = dgates.numbers;
    } else if constexpr (Gates != ringfold::gating::none) {
      put(all.made.gates, dgates);
    }
  });
  for (const auto& each : dgates_of) {
    for (std::size_t h = 0; h < each.size(); ++h) all.made.gates[h] += each[h];
  }
  return all;
}

}  // namespace compare_scans
