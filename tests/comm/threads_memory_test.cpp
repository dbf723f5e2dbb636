// What threads do with memory: lent memory is the sender's own, a steady exchange allocates nothing, nothing but the
// stream touches data, and more ranks than cores are no slower than their work.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <new>
#include <stdexcept>

#include <ringfold/comm/self.hpp>
#include <ringfold/comm/threads.hpp>

#include "support/allocations.hpp"

using namespace ringfold;

namespace {

constexpr host_stream s{};

piece block(double* memory, extent count, int peer) { return piece_of(dense(memory, count), role::other, peer); }

/// Sends what it holds on around the ring, `steps` times; only two requests live.
template <class Look>
void ring(threads& comm, double* mine, extent count, int steps, Look look) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  threads::request home, moving[2];
  piece held = block(mine, count, next);
  for (int step = 0; step < steps; ++step) {
    threads::request& posted = step == 0 ? home : moving[step % 2];
    held.peer = next;
    piece const asked = block(nullptr, count, previous);
    posted = comm.post({{&held, 1}, {&asked, 1}}, s);
    posted.arrived(s);
    held = posted.received(0);
    look(held, ((me - step - 1) % size + size) % size);
    if (step > 0) (step == 1 ? home : moving[(step - 1) % 2]).release(s);
  }
  for (auto* each : {&home, &moving[0], &moving[1]}) each->release(s);
  home.reusable(s);
}

/// One exchange with both neighbours, copied.
void swap(threads& comm, double* mine, double* other, extent count) {
  int const me = comm.rank(), size = comm.size();
  piece const out[] = {block(mine, count, (me + 1) % size), block(mine, 2, (me + size - 1) % size)};
  piece const in[] = {block(other, count, (me + size - 1) % size), block(other + count, 2, (me + 1) % size)};
  auto posted = comm.post({out, in}, s);
  posted.arrived(s);
  posted.reusable(s);
}

/// All ranks get here before one goes on.
void meet(threads& comm) {
  double nothing = 0, got = 0;
  for (int peer = 0; peer < comm.size(); ++peer) {
    piece const out = block(&nothing, 1, peer), in = block(&got, 1, peer);
    comm.post({{&out, 1}, {&in, 1}}, s).arrived(s);
  }
}

}  // namespace

TEST_CASE("a block goes around the ring a thousand times without a copy") {
  for (int const ranks : {1, 2, 5, 16}) {
    double const* owners[16] = {};
    run_ranks(ranks, [&](threads comm) {
      std::vector<double> mine(64, comm.rank());
      owners[comm.rank()] = mine.data();
      meet(comm);
      ring(comm, mine.data(), 64, 1000, [&](const piece& held, int origin) {
        if (held.data != owners[origin]) throw std::logic_error("not the owner's memory");
      });
    });
  }
}

TEST_CASE("a steady exchange allocates nothing" * doctest::skip(!allocations::counted)) {
  for (int const ranks : {1, 2, 4}) {
    CAPTURE(ranks);
    std::atomic<long> counted{0};
    run_ranks(ranks, [&](threads comm) {
      std::vector<double> mine(400), other(404);
      threads second = split(comm);
      auto const work = [&](int times) {
        for (int i = 0; i < times; ++i) {
          swap(comm, mine.data(), other.data(), 400);
          ring(second, mine.data(), 400, 10, [](const piece&, int) {});
        }
      };
      work(100);
      for (int warm = 0; warm < 2; ++warm) meet(comm);
      long const before = allocations::everywhere;
      meet(comm);
      work(100);
      meet(comm);
      counted += allocations::everywhere - before;
      meet(comm);
    });
    CHECK(counted.load() == 0);
  }
}

TEST_CASE("self allocates nothing either" * doctest::skip(!allocations::counted)) {
  self comm;
  double mine[100] = {}, other[100] = {};
  auto const work = [&] {
    for (int i = 0; i < 10; ++i) {
      piece const out[] = {block(mine, 100, 0), block(mine, 50, 0)},
                  in[] = {block(other, 100, 0), block(nullptr, 50, 0)};
      auto posted = comm.post({out, in}, s);
      posted.arrived(s);
      if (posted.received(1).data != mine) throw std::logic_error("not the owner's memory");
    }
  };
  work();
  long const before = allocations::everywhere;
  work();
  CHECK(allocations::everywhere == before);
}

TEST_CASE("a thousand messages may wait to be received") {
  run_ranks(2, [](threads comm) {
    std::vector<double> values(1000), got(1000);
    std::vector<threads::request> posted;
    for (int i = 0; i < 1000; ++i) {
      auto const at = static_cast<std::size_t>(i);
      values[at] = i;
      piece const out = block(&values[at], 1, 1), in = block(&got[at], 1, 0);
      if (comm.rank() == 0) posted.push_back(comm.post({{&out, 1}, {}}, s));
      if (comm.rank() == 1) posted.push_back(comm.post({{}, {&in, 1}}, s));
    }
    posted.clear();
    if (comm.rank() == 1 && got != values) throw std::logic_error("messages were mixed up");
  });
}

TEST_CASE("memory of another space is touched by its stream only") {
  using phantoms = basic_threads<phantom_stream>;
  auto* const nowhere = reinterpret_cast<double*>(std::uintptr_t{1} << 54);
  run_ranks<phantom_stream>(4, [&](phantoms comm) {
    for (extent const count : {1, 4, 1000}) {
      int const next = (comm.rank() + 1) % 4, previous = (comm.rank() + 3) % 4;
      piece const out[] = {block(nowhere, count, next), block(nowhere, count, next)};
      piece const in[] = {block(nowhere, count, previous), block(nullptr, count, previous)};
      auto posted = comm.post({out, in}, {});
      posted.arrived({});
      if (posted.received(1).data != nowhere) throw std::logic_error("not the owner's memory");
      posted.release({});
      posted.reusable({});
    }
  });
}

TEST_CASE("a stream that fails to copy poisons") {
  struct failing_stream : host_stream {
    void copy(const piece&, const piece&) const { throw std::runtime_error("no copy"); }
  };
  int stopped = 0;
  CHECK_THROWS_WITH_AS(
      run_ranks<failing_stream>(
          2,
          [&](basic_threads<failing_stream> comm) {
            double memory[100] = {};
            piece const p = block(memory, 100, 1 - comm.rank());
            auto posted = comm.rank() == 0 ? comm.post({{&p, 1}, {}}, {}) : comm.post({{}, {&p, 1}}, {});
            try {
              comm.rank() == 0 ? posted.reusable({}) : posted.arrived({});
            } catch (const poisoned&) {
              ++stopped;
            }
          }),
      "no copy", std::runtime_error);
  CHECK(stopped == 1);
}

TEST_CASE("sixteen ranks on a few cores are quick") {
  auto const start = std::chrono::steady_clock::now();
  run_ranks(16, [](threads comm) {
    std::vector<double> mine(100), other(104);
    for (int i = 0; i < 300; ++i) swap(comm, mine.data(), other.data(), 100);
  });
  double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CAPTURE(seconds);
  CHECK(seconds < 10);
}
