#include <benchmark/benchmark.h>

#include <algorithm>
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

// Two ranks turn their rows of all heads into all rows of half the heads, as Ulysses does; seconds per turn.
double reshard_blocks(extent bytes, int rounds) {
  double seconds = 0;
  ringfold::run_ranks(2, [&](threads all) {
    constexpr extent heads = 8, dim = 64;
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
  std::vector<double> rates;
  for (auto _ : state) {
    double const copying = copy_blocks(bytes, rounds), once = reshard_blocks(bytes, rounds);
    state.SetIterationTime(once);
    rates.push_back(copying / once);
  }
  std::nth_element(rates.begin(), rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2), rates.end());
  state.counters["of memcpy rate"] = rates[rates.size() / 2];
}
BENCHMARK(reshard)->RangeMultiplier(8)->Range(64, 32768)->UseManualTime()->Iterations(9)->Unit(benchmark::kMicrosecond);

}  // namespace
