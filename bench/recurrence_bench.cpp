#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <vector>

#include <ringfold/comm/threads.hpp>
#include <ringfold/core/workspace.hpp>
#include <ringfold/recurrence/backward_plan.hpp>
#include <ringfold/recurrence/decay.hpp>
#include <ringfold/wrap/counted.hpp>

#include "support/peak.hpp"

/// \file
/// Chunks of one head on one core, as a part of its multiply-add peak; and scans of states over thread ranks.

using namespace ringfold;

namespace {

double peak_rate() {
  static double const rate = peak::fma_rate<float>();
  return rate;
}

std::vector<float> drawn(extent count, float from, float to) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> numbers(from, to);
  std::vector<float> made(static_cast<std::size_t>(count));
  for (float& each : made) each = numbers(random);
  return made;
}

/// A rule's verbs on some tokens of one head: all that is done between a state that enters and one that leaves.
template <gating Gates>
class one_head {
 public:
  one_head(extent tokens, extent dim, extent chunk)
      : tokens_(tokens), dim_(dim), rule_{chunk}, memory_(bytes()), at_(memory_.data(), bytes()) {}

  void forward() {
    rule_.within(work_, problem_, operands(), rows(out_), [] {});
    rule_.carry(work_, problem_, operands(), state(), rows(out_));
  }
  void backward() {
    view<const float, 4> const dout = rows(dout_);
    rule_.within_backward(backward_work_, problem_, operands(), dout, gradients(), [] {});
    rule_.carry_backward(backward_work_, problem_, operands(), dout, state(), state(), gradients());
  }

  /// Multiply-adds: (chunk + 1) / 2 pairs of a token, of both widths, and what it reads of the state and writes into it.
  double multiply_adds() const {
    double const chunk = static_cast<double>(std::min(rule_.chunk, tokens_)), dim = static_cast<double>(dim_);
    return static_cast<double>(tokens_) * ((chunk + 1) / 2 * 2 * dim + 2 * dim * dim);
  }

 private:
  extent bytes() const {
    arena<> nowhere;
    (void)rule_.forward_workspace(problem_, tokens_, nowhere);
    (void)rule_.backward_workspace_for(problem_, tokens_, nowhere);
    return nowhere.used();
  }
  view<float, 4> rows(std::vector<float>& of) const { return dense(of.data(), 1, tokens_, 1, dim_); }
  view<const float, 4> state() { return dense(state_.data(), 1, 1, dim_, dim_); }
  /// Gates of the rule's kind; the others have none.
  view<float, 4> gates_in(std::vector<float>& of) const {
    if (Gates == gating::per_row) return rows(of);
    return dense(Gates == gating::none ? nullptr : of.data(), 1, tokens_, 1, 1);
  }
  recurrence_operands<float> operands() { return {rows(q_), rows(k_), rows(v_), gates_in(gates_)}; }
  recurrence_gradients<float> gradients() { return {rows(dq_), rows(dk_), rows(dv_), gates_in(dgates_)}; }

  extent tokens_, dim_;
  decay<Gates> rule_;
  recurrence_problem<float> problem_ = make_recurrence<float>(contiguous(tokens_, 1), {.heads = 1, .dim = dim_});
  std::vector<float> q_ = drawn(tokens_ * dim_, -1, 1), k_ = q_, v_ = q_, dout_ = q_, out_ = q_, dq_ = q_, dk_ = q_,
                     dv_ = q_, dgates_ = q_, gates_ = drawn(tokens_ * dim_, -0.05F, 0),
                     state_ = drawn(dim_ * dim_, -1, 1);
  detail::scratch_memory<host_space> memory_;
  arena<> at_;
  decltype(rule_.forward_workspace(problem_, tokens_, at_)) work_{rule_.forward_workspace(problem_, tokens_, at_)};
  decltype(rule_.backward_workspace_for(problem_, tokens_, at_)) backward_work_{
      rule_.backward_workspace_for(problem_, tokens_, at_)};
};

/// Backward takes 2.5 times the products of forward: a pair's weight again, its slope, and three gradients; likewise with
/// the state.
template <gating Gates, bool Backward>
void chunks(benchmark::State& bench) {
  one_head<Gates> head(bench.range(0), bench.range(1), bench.range(2));
  for (auto _ : bench) {
    Backward ? head.backward() : head.forward();
    benchmark::ClobberMemory();
  }
  double const flops = 2 * (Backward ? 2.5 : 1) * head.multiply_adds() * static_cast<double>(bench.iterations());
  bench.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsRate);
  bench.counters["of_peak"] = benchmark::Counter(flops / peak_rate(), benchmark::Counter::kIsRate);
}

/// A whole call on P ranks: one token each, so that there is little but the scan of 8 states of 64 x 64.
template <class Schedule>
void scan_over_ranks(benchmark::State& bench, Schedule schedule) {
  int const ranks = static_cast<int>(bench.range(0));
  double seconds = 0;
  extent most_bytes = 0;
  constexpr int calls = 20;
  for (auto _ : bench) {
    run_ranks(ranks, [&](threads plain) {
      counters book;
      counted comm(plain, book);
      recurrence_plan run(recurrence(comm, schedule, decay<gating::per_token>{}),
                          make_recurrence<float>(contiguous(ranks, ranks), {.heads = 8, .dim = 64}));
      std::vector<float> q(8 * 64, 1), k = q, v = q, out = q, gates(8, -0.5F);
      auto const row = [](std::vector<float>& of) { return dense(of.data(), 1, 1, 8, 64); };
      auto const call = [&] { run.forward({row(q), row(k), row(v), dense(gates.data(), 1, 1, 8)}, row(out)); };
      call();
      book = {};
      auto const start = std::chrono::steady_clock::now();
      for (int i = 0; i < calls; ++i) call();
      if (comm.rank() == ranks - 1) {
        seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls;
      }
      if (comm.rank() == ranks / 2) most_bytes = book.total_bytes() / calls;
    });
    bench.SetIterationTime(seconds);
  }
  bench.counters["rounds"] = schedule.rounds(ranks);
  bench.counters["bytes"] = static_cast<double>(most_bytes);  // that the rank in the middle sends
}

void fma_peak(benchmark::State& bench) {
  for (auto _ : bench) benchmark::DoNotOptimize(peak_rate());
  bench.counters["GFLOP/s"] = peak_rate() * 1e-9;
}
BENCHMARK(fma_peak)->Iterations(1);

/// 256 tokens stay in cache, 64k do not.
void grid(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"tokens", "dim", "chunk"})->ArgsProduct({{256, 65536}, {64, 128}, {64, 128, 256}});
  bench->Unit(benchmark::kMillisecond)->MinTime(0.1);
}
BENCHMARK(chunks<gating::none, false>)->Name("forward/none")->Apply(grid);
BENCHMARK(chunks<gating::per_token, false>)->Name("forward/per_token")->Apply(grid);
BENCHMARK(chunks<gating::per_row, false>)->Name("forward/per_row")->Apply(grid);
BENCHMARK(chunks<gating::none, true>)->Name("backward/none")->Apply(grid);
BENCHMARK(chunks<gating::per_token, true>)->Name("backward/per_token")->Apply(grid);
BENCHMARK(chunks<gating::per_row, true>)->Name("backward/per_row")->Apply(grid);

void rank_grid(benchmark::internal::Benchmark* bench) {
  bench->ArgName("ranks")->DenseRange(2, 16, 2)->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(9);
}
BENCHMARK_CAPTURE(scan_over_ranks, chain, schedule::chain{})->Apply(rank_grid);
BENCHMARK_CAPTURE(scan_over_ranks, chain_of_8_pieces, schedule::chain{8})->Apply(rank_grid);
BENCHMARK_CAPTURE(scan_over_ranks, gather_ring, schedule::gather_ring{})->Apply(rank_grid);
BENCHMARK_CAPTURE(scan_over_ranks, gather_bruck, schedule::gather_bruck{})->Apply(rank_grid);
BENCHMARK_CAPTURE(scan_over_ranks, all_to_all, schedule::all_to_all{})->Apply(rank_grid);
BENCHMARK_CAPTURE(scan_over_ranks, hillis_steele, schedule::hillis_steele{})->Apply(rank_grid);
BENCHMARK_CAPTURE(scan_over_ranks, doubling_123, schedule::doubling_123{})->Apply(rank_grid);
BENCHMARK_CAPTURE(scan_over_ranks, recursive_doubling, schedule::recursive_doubling{})->Apply(rank_grid);

}  // namespace
