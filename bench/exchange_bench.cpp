#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

#include <ringfold/collective/reshard.hpp>
#include <ringfold/comm/threads.hpp>

// What an exchange between two thread ranks costs: its latency, a block that is copied against one that is lent, and
// rows that become heads.

namespace {

using ringfold::dense;
using ringfold::extent;
using ringfold::piece;
using ringfold::piece_of;
using ringfold::role;
using ringfold::threads;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Rank 0 sends `rounds` messages of 8 bytes and receives each back; seconds per one-way trip.
double ping_pong(int rounds) {
  double seconds = 0;
  ringfold::run_ranks(2, [&](threads all) {
    ringfold::host_stream const s;
    double sent = 1, received = 0;
    int const peer = 1 - all.rank();
    piece const out = piece_of(dense(&sent, 1), role::other, peer),
                in = piece_of(dense(&received, 1), role::other, peer);
    auto const send = [&] { return all.post({{&out, 1}, {}}, s); };
    auto const receive = [&] { all.post({{}, {&in, 1}}, s).arrived(s); };
    auto const round = [&] {
      if (all.rank() == 0) {
        auto const on_its_way = send();
        receive();
      } else {
        receive();
        auto const on_its_way = send();
      }
    };
    for (int warm = 0; warm < 1000; ++warm) round();
    auto const start = std::chrono::steady_clock::now();
    for (int i = 0; i < rounds; ++i) round();
    if (all.rank() == 0) seconds = seconds_since(start) / (2.0 * rounds);
  });
  return seconds;
}

void one_way_latency(benchmark::State& state) {
  for (auto _ : state) state.SetIterationTime(ping_pong(20'000));
}
// The least of many: what else runs on the machine only ever adds.
double least(const std::vector<double>& times) { return *std::min_element(times.begin(), times.end()); }
BENCHMARK(one_way_latency)
    ->UseManualTime()
    ->Iterations(1)
    ->Repetitions(51)
    ->ComputeStatistics("min", least)
    ->ReportAggregatesOnly()
    ->Unit(benchmark::kNanosecond);

// Two ranks exchange blocks both ways; seconds per exchange.
double exchange_blocks(extent bytes, bool lent, int rounds) {
  double seconds = 0;
  ringfold::run_ranks(2, [&](threads all) {
    ringfold::host_stream const s;
    extent const count = bytes / static_cast<extent>(sizeof(float));
    std::vector<float> mine(static_cast<std::size_t>(count), 1.f), other(lent ? 0 : mine.size());
    int const peer = 1 - all.rank();
    piece const out = piece_of(dense(mine.data(), count), role::other, peer);
    piece const in = piece_of(dense(lent ? nullptr : other.data(), count), role::other, peer);
    auto const start = std::chrono::steady_clock::now();
    for (int i = 0; i < rounds; ++i) {
      auto request = all.post({{&out, 1}, {&in, 1}}, s);
      request.arrived(s);
      benchmark::DoNotOptimize(request.received(0).data);
      request.release(s);
      request.reusable(s);
    }
    if (all.rank() == 0) seconds = seconds_since(start) / rounds;
  });
  return seconds;
}

constexpr extent heads = 8, dim = 64;

// Two ranks turn their rows of all heads into all rows of half the heads, as Ulysses does; seconds per turn.
double reshard_blocks(extent bytes, int rounds) {
  double seconds = 0;
  ringfold::run_ranks(2, [&](threads all) {
    extent const rows = bytes / static_cast<extent>(sizeof(float)) / heads / dim;
    std::vector<float> mine(static_cast<std::size_t>(rows * heads * dim), 1.f), turned(mine.size());
    auto const half_of = [](extent whole) {
      return [whole](int rank) { return ringfold::range{rank * whole / 2, whole / 2}; };
    };
    ringfold::posting lists;
    auto const start = std::chrono::steady_clock::now();
    for (int i = 0; i < rounds; ++i) {
      ringfold::reshard(all, dense(mine.data(), 1, rows, heads, dim), dense(turned.data(), 1, 2 * rows, heads / 2, dim),
                        ringfold::cut{ringfold::head_axis, half_of(heads), ringfold::row_axis, half_of(2 * rows)},
                        lists, ringfold::host_stream{});
      benchmark::DoNotOptimize(turned.data());
    }
    if (all.rank() == 0) seconds = seconds_since(start) / rounds;
  });
  return seconds;
}

// Two threads copy such blocks with memcpy; seconds per block.
double copy_blocks(extent bytes, int rounds) {
  double seconds = 0;
  ringfold::run_ranks(2, [&](threads all) {
    std::vector<char> from(static_cast<std::size_t>(bytes), 1), to(from.size());
    auto const start = std::chrono::steady_clock::now();
    for (int i = 0; i < rounds; ++i) {
      std::memcpy(to.data(), from.data(), from.size());
      benchmark::DoNotOptimize(to.data());
      benchmark::ClobberMemory();
    }
    if (all.rank() == 0) seconds = seconds_since(start) / rounds;
  });
  return seconds;
}

// The copies of reshard_blocks by hand: what two cores can do that read each other's memory; seconds per turn.
double turn_by_hand(extent bytes, int rounds) {
  extent const run = heads / 2 * dim, rows = bytes / static_cast<extent>(sizeof(float)) / run / 2;
  std::vector<float> all[2] = {std::vector<float>(static_cast<std::size_t>(2 * rows * run), 1.f), {}};
  all[1] = all[0];
  std::atomic<int> arrived{0};
  double seconds = 0;
  auto const meet = [&](int before) {
    for (++arrived; arrived < before + 2;) continue;
  };
  ringfold::run_ranks(2, [&](threads self) {
    int const me = self.rank();
    std::vector<float> turned(all[0].size());
    auto const start = std::chrono::steady_clock::now();
    for (int i = 0; i < rounds; ++i) {
      meet(4 * i);
      for (int const from : {me, 1 - me}) {
        const float* source = all[from].data() + me * run;
        float* to = turned.data() + from * rows * run;
        for (extent row = 0; row < rows; ++row, source += 2 * run, to += run) {
          std::memcpy(to, source, static_cast<std::size_t>(run) * sizeof *to);
        }
      }
      benchmark::DoNotOptimize(turned.data());
      benchmark::ClobberMemory();
      meet(4 * i + 2);
    }
    if (me == 0) seconds = seconds_since(start) / rounds;
  });
  return seconds;
}

void exchange(benchmark::State& state, bool lent) {
  extent const bytes = state.range(0) << 10;
  int const rounds = static_cast<int>((extent{1} << 28) / bytes);
  double seconds = 0, copying = 0;
  for (auto _ : state) {
    double const once = exchange_blocks(bytes, lent, rounds);
    state.SetIterationTime(once);
    seconds += once;
    copying += copy_blocks(bytes, rounds);
  }
  state.counters["GB/s each way"] =
      static_cast<double>(bytes) * static_cast<double>(state.iterations()) / seconds * 1e-9;
  state.counters["of memcpy time"] = seconds / copying;
}
BENCHMARK_CAPTURE(exchange, copied, false)
    ->RangeMultiplier(8)
    ->Range(64, 8192)
    ->UseManualTime()
    ->Iterations(5)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(exchange, lent, true)
    ->RangeMultiplier(8)
    ->Range(64, 8192)
    ->UseManualTime()
    ->Iterations(5)
    ->Unit(benchmark::kMicrosecond);

void reshard(benchmark::State& state) {
  extent const bytes = state.range(0) << 10;
  int const rounds = static_cast<int>((extent{1} << 28) / bytes);
  std::vector<double> copying, by_hand;
  for (auto _ : state) {
    double const copy = copy_blocks(bytes, rounds), hand = turn_by_hand(bytes, rounds),
                 once = reshard_blocks(bytes, rounds);
    state.SetIterationTime(once);
    copying.push_back(copy / once), by_hand.push_back(hand / once);
  }
  auto const middle = [](std::vector<double>& of) {
    std::nth_element(of.begin(), of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2), of.end());
    return of[of.size() / 2];
  };
  state.counters["of memcpy rate"] = middle(copying);
  state.counters["of the rate by hand"] = middle(by_hand);
}
BENCHMARK(reshard)->RangeMultiplier(8)->Range(64, 32768)->UseManualTime()->Iterations(9)->Unit(benchmark::kMicrosecond);

}  // namespace
