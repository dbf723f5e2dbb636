#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <vector>

#include <ringfold/comm/self.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/core/workspace.hpp>
#include <ringfold/executor/thread_pool.hpp>
#include <ringfold/recurrence/backward_plan.hpp>
#include <ringfold/wrap/counted.hpp>

#include "../examples/support/rules/convolved.hpp"
#include "../examples/support/rules/diagonal.hpp"
#include "../examples/support/rules/matrices.hpp"
#include "../examples/support/rules/memory_cell.hpp"
#include "../examples/support/rules/selective.hpp"
#include "support/in_turn.hpp"

/// \file
/// Chunks of one head on one core, as a part of its multiply-add peak; heads shared among workers; and scans of states
/// over thread ranks.

using namespace ringfold;
using rules::matrices, rules::writing;

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
template <writing Writing, gating Gates>
class one_head {
  using spec = matrices<Writing, Gates>;
  using rule = decltype(spec().rule());

 public:
  one_head(extent tokens, extent dim, extent chunk)
      : tokens_(tokens),
        spec_{dim, dim, chunk},
        problem_(spec_.template problem<float>(contiguous(tokens, 1), documents{tokens}, 1, 1)),
        memory_(bytes()),
        at_(memory_.data(), bytes()),
        work_(spec_.rule().forward_workspace(problem(), tokens, at_)),
        backward_work_(spec_.rule().backward_workspace_for(problem(), tokens, at_)) {
    for (const rules::input& each : spec_.inputs()) {
      extent const count = each.of_tokens ? tokens * each.width : each.width;
      // Slow gates, keys and betas that keep states as they are.
      bool const gates = each.high == 0;
      in_.push_back(drawn(count, gates ? -0.05F : static_cast<float>(each.low), static_cast<float>(each.high)));
      gradients_.emplace_back(static_cast<std::size_t>(count));
    }
  }

  void whole() { spec_.rule().within_and_carry(work_, problem(), operands(), state(), rows(out_)); }
  void split() {
    spec_.rule().within(work_, problem(), operands(), rows(out_), [] {});
    spec_.rule().carry(work_, problem(), operands(), state(), rows(out_));
  }
  void backward() {
    view<const float, 4> const dout = rows(dout_);
    auto const to = tensors<typename rule::template gradients<float>>(gradients_);
    spec_.rule().within_backward(backward_work_, problem(), operands(), dout, to, [] {});
    spec_.rule().carry_backward(backward_work_, problem(), operands(), dout, state(), state(), to);
  }

  /// Multiply-adds: (chunk + 1) / 2 pairs of a token, of both widths, and what it reads of the state and writes into it;
  /// tokens that also read what they write do so twice, and pair with both.
  double multiply_adds() const {
    double const chunk = static_cast<double>(std::min(spec_.chunk, tokens_)), dim = static_cast<double>(spec_.dim);
    bool const solves = Writing != writing::adds;
    return static_cast<double>(tokens_) * ((solves ? 4 : 1) * (chunk + 1) / 2 * 2 * dim + (solves ? 4 : 2) * dim * dim);
  }

 private:
  const recurrence_problem<float>& problem() const { return problem_; }
  extent bytes() const {
    arena<> nowhere;
    (void)spec_.rule().forward_workspace(problem(), tokens_, nowhere);
    (void)spec_.rule().backward_workspace_for(problem(), tokens_, nowhere);
    return nowhere.used();
  }
  view<float, 4> rows(std::vector<float>& of) const { return dense(of.data(), 1, tokens_, 1, spec_.value_dim); }
  view<const float, 4> state() { return dense(state_.data(), 1, 1, spec_.dim, spec_.value_dim); }
  template <class Tensors>
  auto tensors(std::vector<std::vector<float>>& of) const {
    auto const kinds = spec_.inputs();
    std::vector<view<float, 4>> views;
    for (std::size_t i = 0; i < of.size(); ++i)
      views.push_back(dense(of[i].data(), 1, kinds[i].of_tokens ? tokens_ : 1, 1, kinds[i].width));
    return spec_.template tensors<Tensors>(views, views).operands(problem(), tokens_);
  }
  auto operands() { return tensors<typename rule::template inputs<float>>(in_); }

  extent tokens_;
  spec spec_;
  recurrence_problem<float> problem_;
  std::vector<std::vector<float>> in_, gradients_;
  std::vector<float> out_ = drawn(tokens_ * spec_.value_dim, -1, 1), dout_ = out_,
                     state_ = drawn(spec_.dim * spec_.value_dim, -1, 1);
  detail::scratch_memory<host_space> memory_;
  arena<> at_;
  decltype(rule().forward_workspace(std::declval<recurrence_problem<float>>(), 1, at_)) work_;
  decltype(rule().backward_workspace_for(std::declval<recurrence_problem<float>>(), 1, at_)) backward_work_;
};

/// Forward in one pass where the state is there, or in two around its coming.
enum class verbs { whole, split, backward };

/// Backward takes 2.5 times the products of forward: a pair's weight again, its slope, and three gradients; likewise with
/// the state.
template <writing Writing, gating Gates>
void chunks(benchmark::State& bench, verbs of) {
  one_head<Writing, Gates> head(bench.range(0), bench.range(1), bench.range(2));
  for (auto _ : bench) {
    of == verbs::whole ? head.whole() : of == verbs::split ? head.split() : head.backward();
    benchmark::ClobberMemory();
  }
  double const flops =
      2 * (of == verbs::backward ? 2.5 : 1) * head.multiply_adds() * static_cast<double>(bench.iterations());
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

/// A whole call of one rank, its 8 heads shared among workers. Arguments: workers, dim.
enum class pass { forward, backward };
template <class Spec>
void shared(benchmark::State& bench, pass which) {
  constexpr extent heads = 8, tokens = 4096;
  Spec spec;
  if constexpr (requires { spec.chunk; }) spec.chunk = 64;
  if constexpr (requires { spec.channels; }) spec.channels = bench.range(1);
  if constexpr (requires { spec.value_dim; }) spec.dim = spec.value_dim = bench.range(1);
  auto const p = spec.template problem<float>(contiguous(tokens, 1), documents{tokens}, 1, heads);
  std::vector<std::vector<float>> numbers;
  std::vector<view<float, 4>> in, gradients;
  auto const more = [&](extent rows, extent width, float low, float high) {
    numbers.push_back(drawn(rows * heads * width, low, high));
    return dense(numbers.back().data(), 1, rows, heads, width);
  };
  for (const rules::input& each : spec.inputs()) {
    extent const rows = each.of_tokens ? tokens : 1;
    float const low = each.high == 0 ? -0.05F : static_cast<float>(each.low);  // slow gates
    for (auto* const to : {&in, &gradients}) to->push_back(more(rows, each.width, low, static_cast<float>(each.high)));
  }
  auto const out = more(tokens, spec.out_width(), -1, 1), dout = more(tokens, spec.out_width(), -1, 1);
  arena<> nowhere;
  auto entered = spec.rule().algebra_for(p, nowhere).take_state(nowhere);
  numbers.emplace_back(static_cast<std::size_t>(entered.size()));
  entered.data = numbers.back().data();
  using rule = decltype(spec.rule());
  auto const read = spec.template tensors<typename rule::template inputs<float>>(in, in);
  auto const to = spec.template tensors<typename rule::template gradients<float>>(gradients, gradients);

  int const workers = static_cast<int>(bench.range(0));
  thread_pool const pool(workers);
  auto const one = recurrence(self{}, schedule::chain{}, spec.rule());
  auto const many = one.on(pool);
  recurrence_plan alone(one, p);
  recurrence_plan together(many, p);
  if (which == pass::forward) {
    in_turn::compare(
        bench, workers, [&] { alone.forward(read, out); }, [&] { together.forward(read, out); });
  } else {
    recurrence_backward_plan back(one, p);
    recurrence_backward_plan back_together(many, p);
    alone.forward(read, out, {.entered = entered});
    in_turn::compare(
        bench, workers, [&] { back.backward(read, entered, dout, to); },
        [&] { back_together.backward(read, entered, dout, to); });
  }
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
template <writing Writing, gating Gates>
int all_verbs(const char* name) {
  using std::string;
  benchmark::RegisterBenchmark((string("forward/") + name).c_str(), chunks<Writing, Gates>, verbs::whole)->Apply(grid);
  benchmark::RegisterBenchmark((string("split/") + name).c_str(), chunks<Writing, Gates>, verbs::split)->Apply(grid);
  benchmark::RegisterBenchmark((string("backward/") + name).c_str(), chunks<Writing, Gates>, verbs::backward)
      ->Apply(grid);
  return 0;
}
[[maybe_unused]] int const registered =
    all_verbs<writing::adds, gating::none>("none") + all_verbs<writing::adds, gating::per_token>("per_token") +
    all_verbs<writing::adds, gating::per_row>("per_row") + all_verbs<writing::corrects, gating::per_token>("delta") +
    all_verbs<writing::of_low_rank, gating::per_row>("rwkv7");

template <class Spec>
int on_workers(const char* name) {
  for (auto const which : {pass::forward, pass::backward}) {
    auto const verb = std::string(which == pass::forward ? "shared/forward/" : "shared/backward/");
    benchmark::RegisterBenchmark((verb + name).c_str(), shared<Spec>, which)
        ->ArgNames({"workers", "dim"})
        ->ArgsProduct({{1, 2}, {64, 128}})
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond)
        ->MinTime(0.2);
  }
  return 0;
}
[[maybe_unused]] int const registered_shared =
    on_workers<matrices<writing::adds, gating::per_token>>("per_token") +
    on_workers<matrices<writing::corrects, gating::per_token>>("delta") +
    on_workers<matrices<writing::of_low_rank, gating::per_row>>("rwkv7") + on_workers<rules::memory_cell>("mlstm") +
    on_workers<rules::selective>("selective") + on_workers<rules::diagonal<field::real>>("diagonal") +
    on_workers<rules::convolved>("convolution");

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
