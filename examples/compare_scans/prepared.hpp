#pragma once

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cmath>
#include <mutex>
#include <optional>

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
void time(Call call, int repeats, int rank, const ringfold::counters& book, const round_clock& rounds,
          std::barrier<>& together, std::mutex& guard, pass& all) {
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
      all.bytes[static_cast<std::size_t>(rank)] = book.total_bytes();
      all.rounds = std::max(all.rounds, rounds.rounds());
    }
  }
}

}  // namespace detail

template <class Spec>
class prepared_rule final : public prepared {
 public:
  /// Nothing enters the sequence, and nothing is asked of the state behind it.
  prepared_rule(Spec spec, const shape& s) : spec_(spec), shape_(s) {}

  double memory() const override {
    shape const& s = shape_;
    double const heads = static_cast<double>(s.batch) * static_cast<double>(s.heads), seq = static_cast<double>(s.seq);
    double const state = static_cast<double>(spec_.state_size());
    double width = static_cast<double>(spec_.out_width()) + 2 * state / seq;
    for (const rules::input& each : spec_.inputs()) width += static_cast<double>(each.width);
    // In fp64 as drawn, by the definition and of three runs; in float on ranks, with gradients, each in two types.
    double bytes = heads * seq * width * (5 * sizeof(double) + 4 * sizeof(float));
    // A step of a tape is of 24 bytes, twice as it grows, and a slope; a token's are some for each number of the state.
    if (s.backward) bytes += std::min(1e8, seq * (10 * state + 2 * width)) * (2 * 24 + 8);
    if (bytes > 0x1p50) return bytes;  // extents of what follows could overflow
    auto const p = spec_.template problem<float>(s.tokens, s.packed, s.batch, s.heads);
    auto const chunks = [&](extent rows) {
      ringfold::arena<> nowhere;
      spec_.rule().forward_workspace(p, rows, nowhere);
      if (s.backward) spec_.rule().backward_workspace_for(p, rows, nowhere);
      return static_cast<double>(nowhere.used());
    };
    bytes += std::max(chunks(s.seq), s.tokens.ranks() * chunks(s.tokens.most_rows()));
    double slots = 0;
    for (int rank = 0; rank < s.tokens.ranks(); ++rank) {
      for (const ringfold::segment& each : s.tokens.segments(rank))
        slots += each.step == 1 ? 1 : static_cast<double>(each.count);
    }
    // Of each slot a scan keeps up to ten elements at home, and in a gather one on every rank; for either direction.
    double const scanned = slots * (10 + s.tokens.ranks()) * static_cast<double>(rules::sizes_of(spec_, p).element());
    return bytes + (s.backward ? 2 : 1) * scanned;
  }
  void draw(std::uint64_t seed) override {
    all_.emplace(spec_, shape_.packed, shape_.batch, shape_.heads, seed, rules::asked{false, false, shape_.backward});
  }
  const rules::values<double>& wanted() const override { return all_->made; }
  std::vector<const char*> names() const override {
    auto const& all = shard::gradients::names;
    return {all.begin(), all.end()};
  }
  schedule::scan_sizes sizes() const override { return rules::sizes_of<float>(*all_); }

  outcome run(const any_schedule& by, const ringfold::layout& tokens, int repeats) const override {
    outcome did;
    for (pass* const each : {&did.forward, &did.backward}) each->bytes.resize(static_cast<std::size_t>(tokens.ranks()));
    auto const& spec = spec_;
    int const ranks = tokens.ranks();
    auto const p = spec.template problem<float>(tokens, all_->packed, all_->batch, all_->heads);
    round_board forward_board(ranks), backward_board(ranks);
    std::barrier together(ranks);
    std::mutex guard;
    std::vector<std::unique_ptr<shard>> shards(static_cast<std::size_t>(ranks));
    ringfold::run_ranks(ranks, [&](ringfold::threads comm) {
      auto& made = shards[static_cast<std::size_t>(comm.rank())];
      made = std::make_unique<shard>(*all_, tokens, comm.rank());
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
      detail::time([&] { forward.forward(in, mine.out.whole, {.entered = entered}); }, repeats, comm.rank(), book,
                   rounds, together, guard, did.forward);
      if (all_->what.gradients) {
        ringfold::recurrence_backward_plan backward(
            ringfold::recurrence(ringfold::counted(by_rounds(comm, backward_rounds), backward_book), by, spec.rule()),
            p);
        detail::time([&] { backward.backward(in, entered, mine.dout.whole, mine.written(spec)); }, repeats, comm.rank(),
                     backward_book, backward_rounds, together, guard, did.backward);
      }
    });
    // In the order of ranks, so that sums over them have the same bits every time.
    for (int rank = 0; rank < ranks; ++rank)
      shards[static_cast<std::size_t>(rank)]->add_to(did.made, *all_, tokens, rank);
    return did;
  }

 private:
  using shard = rules::shard_of<float, float, Spec>;
  Spec spec_;
  shape shape_;
  std::optional<rules::experiment<Spec>> all_;
};

/// Logarithms of decays are drawn between -slow and 0, so that states hold what a few dozen tokens said.
inline constexpr double slow = 0.1;
inline double scale_of(const shape& s) { return 1 / std::sqrt(static_cast<double>(s.dim)); }

template <class Spec>
std::unique_ptr<prepared> prepare(Spec spec, const shape& s) {
  return std::make_unique<prepared_rule<Spec>>(spec, s);
}

}  // namespace compare_scans
