#pragma once

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cmath>
#include <mutex>

#include <ringfold/comm/threads.hpp>
#include <ringfold/recurrence/backward_plan.hpp>
#include <ringfold/wrap/counted.hpp>

#include "experiment.hpp"
#include "rounds.hpp"
#include "support/rules/shard_of.hpp"
#include "support/rules/sizes.hpp"

/// \file
/// A rule over threads; included where rules are compiled.

namespace compare_scans {

namespace detail {

/// A pass on one rank: the first call warms up and is counted, the others are timed.
template <class Call>
void time(Call call, int repeats, const ringfold::counters& book, const round_clock& rounds, std::barrier<>& together,
          std::mutex& guard, pass& all) {
  for (int i = 0; i <= repeats; ++i) {
    together.arrive_and_wait();
    auto const start = std::chrono::steady_clock::now();
    call();
    std::chrono::duration<double> const took = std::chrono::steady_clock::now() - start;
    std::lock_guard const lock(guard);
    all.seconds.resize(static_cast<std::size_t>(repeats));
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

template <class Spec>
class prepared_rule final : public prepared {
 public:
  /// Nothing enters the sequence, and nothing is asked of the state behind it.
  prepared_rule(Spec spec, const shape& s, std::uint64_t seed)
      : all_(spec, s.packed, s.batch, s.heads, seed, {false, false, s.backward}) {}

  const rules::values<double>& wanted() const override { return all_.made; }
  std::vector<const char*> names() const override {
    auto const& all = shard::gradients::names;
    return {all.begin(), all.end()};
  }
  schedule::scan_sizes sizes() const override { return rules::sizes_of<float>(all_); }

  outcome run(const any_schedule& by, int ranks, int repeats) const override {
    outcome did;
    auto const& spec = all_.spec;
    auto const tokens = ringfold::contiguous(all_.tokens, ranks);
    auto const p = spec.template problem<float>(tokens, all_.packed, all_.batch, all_.heads);
    round_board forward_board(ranks), backward_board(ranks);
    std::barrier together(ranks);
    std::mutex guard;
    std::vector<std::unique_ptr<shard>> shards(static_cast<std::size_t>(ranks));
    ringfold::run_ranks(ranks, [&](ringfold::threads comm) {
      auto& made = shards[static_cast<std::size_t>(comm.rank())];
      made = std::make_unique<shard>(all_, tokens, comm.rank());
      shard const& mine = *made;
      auto const in = mine.read(spec);
      ringfold::counters book, backward_book;
      round_clock rounds(forward_board, ranks), backward_rounds(backward_board, ranks);
      ringfold::recurrence_plan forward(
          ringfold::recurrence(ringfold::counted(by_rounds(comm, rounds), book), by, spec.rule()), p);
      ringfold::arena<> nowhere;
      auto const one = spec.rule().algebra_for(p, nowhere).take_state(nowhere);
      std::vector<float> kept(static_cast<std::size_t>(forward.slots() * one.size()));
      auto const entered = ringfold::dense(kept.data(), forward.slots() * one.extents[0], one.extents[1],
                                           one.extents[2], one.extents[3]);
      detail::time([&] { forward.forward(in, mine.out.whole, {.entered = entered}); }, repeats, book, rounds, together,
                   guard, did.forward);
      if (all_.what.gradients) {
        ringfold::recurrence_backward_plan backward(
            ringfold::recurrence(ringfold::counted(by_rounds(comm, backward_rounds), backward_book), by, spec.rule()),
            p);
        detail::time([&] { backward.backward(in, entered, mine.dout.whole, mine.written(spec)); }, repeats,
                     backward_book, backward_rounds, together, guard, did.backward);
      }
    });
    // In the order of ranks, so that sums over them have the same bits every time.
    for (int rank = 0; rank < ranks; ++rank)
      shards[static_cast<std::size_t>(rank)]->add_to(did.made, all_, tokens, rank);
    return did;
  }

 private:
  using shard = rules::shard_of<float, float, Spec>;
  rules::experiment<Spec> all_;
};

/// Logarithms of decays are drawn between -slow and 0, so that states hold what a few dozen tokens said.
inline constexpr double slow = 0.1;
inline double scale_of(const shape& s) { return 1 / std::sqrt(static_cast<double>(s.dim)); }

template <class Spec>
std::unique_ptr<prepared> prepare(Spec spec, const shape& s, std::uint64_t seed) {
  return std::make_unique<prepared_rule<Spec>>(spec, s, seed);
}

}  // namespace compare_scans
