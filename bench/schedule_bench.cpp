#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include <ringfold/attention/direct.hpp>
#include <ringfold/attention/gather.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/core/group.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/wrap/counted.hpp>

/// \file
/// Every schedule on thread ranks against the same work on one rank, measured in turn in the same run.
/// `ratio` is the time of one rank divided by the time of P ranks and by the cores they had: 1 is ideal.
/// `of_cores` is the ratio by that of multiply-adds in registers, alone and on as many cores at once.

#include "support/peak.hpp"

using namespace ringfold;

namespace {

/// Measured once for each number of cores.
double scaling(int cores) {
  static std::map<int, double> known;
  auto const [at, is_new] = known.try_emplace(cores);
  if (is_new) at->second = peak::scaling(cores);
  return at->second;
}

using seconds = std::chrono::duration<double>;
constexpr shape work{.heads = 4, .kv_heads = 2, .dim = 64};

/// Random shards of one rank, and its forward call.
class shards {
 public:
  explicit shards(extent rows) : rows_(rows) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> numbers(-1.7F, 1.7F);
    for (auto* each : {&q_, &k_, &v_, &out_}) {
      each->resize(static_cast<std::size_t>(rows * work.heads * work.dim));
      for (float& number : *each) number = numbers(random);
    }
  }
  template <class Plan>
  void forward(Plan& run) {
    auto const keys = [this](std::vector<float>& of) { return dense(of.data(), 1, rows_, work.kv_heads, work.dim); };
    auto const queries = [this](std::vector<float>& of) { return dense(of.data(), 1, rows_, work.heads, work.dim); };
    run.forward(queries(q_), keys(k_), keys(v_), queries(out_));
  }

 private:
  extent rows_;
  std::vector<float> q_, k_, v_, out_;
};

template <class F>
double seconds_of(F f) {
  auto const start = std::chrono::steady_clock::now();
  f();
  return seconds(std::chrono::steady_clock::now() - start).count();
}

/// The time of all work on one rank, the best of a few.
double alone(extent tokens, band mask) {
  plan run(flash_kernel{}, make_problem<float>(contiguous(tokens, 1), work, mask));
  shards mine(tokens);
  double best = 1e9;
  for (int i = 0; i < 3; ++i) best = std::min(best, seconds_of([&] { mine.forward(run); }));
  return best;
}

/// Arguments: ranks, tokens, causal. Causal work is spread by a zigzag layout.
template <class Make>
void schedule(benchmark::State& bench, Make make) {
  int const ranks = static_cast<int>(bench.range(0));
  extent const tokens = bench.range(1);
  band const mask = bench.range(2) != 0 ? causal() : full();
  auto const p = make_problem<float>(zigzag(tokens, ranks), work, mask);
  double const single = alone(tokens, mask);
  std::vector<counters> books(static_cast<std::size_t>(ranks));
  std::vector<double> times;
  run_ranks(ranks, [&](threads plain) {
    counters& book = books[static_cast<std::size_t>(plain.rank())];
    counted comm(plain, book);
    auto attend = make(comm);
    plan run(attend, p);
    shards mine(p.queries.rows(plain.rank()));
    mine.forward(run);
    // Rank 0 leads: it tells the others whether there is another round.
    float more = 0, told = 0;
    auto const tell = [&](float number) {
      more = number;
      posting lists;
      for (int peer = 1; peer < plain.size() && plain.rank() == 0; ++peer) {
        lists.send(piece_of(dense(&more, 1), role::other, peer));
      }
      if (plain.rank() != 0) lists.receive(piece_of(dense(&told, 1), role::other, 0));
      lists.run(plain, host_stream{});
      return plain.rank() == 0 ? number : told;
    };
    if (plain.rank() == 0) {
      for (auto _ : bench) {
        tell(1);
        book = {};
        double const took = seconds_of([&] { mine.forward(run); });
        bench.SetIterationTime(took);
        times.push_back(took);
      }
      tell(0);
    } else {
      while (tell(0) != 0) {
        book = {};
        mine.forward(run);
      }
    }
  });
  extent most_bytes = 0, most_steps = 0;
  for (const counters& book : books) {
    most_bytes = std::max(most_bytes, book.total_bytes());
    most_steps = std::max(most_steps, book.steps);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  int const cores = std::min(ranks, static_cast<int>(std::thread::hardware_concurrency()));
  bench.counters["bytes"] = static_cast<double>(most_bytes);
  bench.counters["steps"] = static_cast<double>(most_steps);
  double const ratio = single / times[times.size() / 2] / cores;
  bench.counters["ratio"] = ratio;
  bench.counters["of_cores"] = ratio / scaling(cores);
}

void arguments(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"ranks", "tokens", "causal"})->UseManualTime()->Unit(benchmark::kMillisecond);
  for (int const ranks : {1, 2, 4}) {
    for (int const tokens : {1024, 4096}) {
      for (int const is_causal : {0, 1}) bench->Args({ranks, tokens, is_causal});
    }
  }
}

template <class C>
auto columns_of(const C& comm) {
  int const columns = comm.size() % 2 == 0 ? 2 : 1;
  return grid(comm, comm.size() / columns, columns);
}

BENCHMARK_CAPTURE(schedule, ring, [](auto comm) { return ring(comm, flash_kernel{}); }) -> Apply(arguments);
BENCHMARK_CAPTURE(schedule, gather, [](auto comm) { return gather(comm, flash_kernel{}); }) -> Apply(arguments);
BENCHMARK_CAPTURE(schedule, direct, [](auto comm) { return direct(comm, flash_kernel{}); }) -> Apply(arguments);
BENCHMARK_CAPTURE(schedule, ulysses, [](auto comm) { return ulysses(comm, flash_kernel{}); }) -> Apply(arguments);
BENCHMARK_CAPTURE(schedule, usp, [](auto comm) {
  auto const g = columns_of(comm);
  return ulysses(g.row(), ring(g.col(), flash_kernel{}));
}) -> Apply(arguments);
BENCHMARK_CAPTURE(schedule, double_ring, [](auto comm) {
  auto const g = columns_of(comm);
  return ring(g.col(), ring(g.row(), flash_kernel{}));
}) -> Apply(arguments);

}  // namespace
