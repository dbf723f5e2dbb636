// One rank fails, at every point and on every rank: all others throw `poisoned` soon, run_ranks() throws the origin's
// exception, and no memory is freed while somebody reads it (the sanitizers look at that).
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>

#include <ringfold/comm/threads.hpp>

using namespace ringfold;
using std::chrono::milliseconds;
using clock_type = std::chrono::steady_clock;

namespace {

constexpr host_stream s{};
using memory = std::vector<double>;

piece piece_at(memory& m, int peer) {
  return piece_of(dense(m.data(), static_cast<extent>(m.size())), role::other, peer);
}
piece lent(std::size_t count, int peer) {
  return piece_of(dense(static_cast<double*>(nullptr), static_cast<extent>(count)), role::other, peer);
}
double sum(const piece& p) {
  auto const* const first = static_cast<const double*>(p.data);
  return std::accumulate(first, first + p.elements(), 0.0);
}
auto send(threads& comm, const piece& p) { return comm.post({{&p, 1}, {}}, s); }
auto receive(threads& comm, const piece& p) { return comm.post({{}, {&p, 1}}, s); }

enum class point { before_post, after_post, holding_a_loan, copying, sending_on };
constexpr point points[] = {point::before_post, point::after_post, point::holding_a_loan, point::copying,
                            point::sending_on};

/// A ring that lends and sends on, and beside it one that copies; fault(step, point) may throw.
template <class Fault>
void two_rings(threads comm, Fault fault) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  memory mine(300, me), own(300, me), other(300);
  threads::request home, moving[2], copied;
  piece held = piece_at(mine, next);
  for (int step = 0; step < 2 * size; ++step) {
    held.peer = next;
    piece const asked = lent(mine.size(), previous), out = piece_at(own, next), in = piece_at(other, previous);
    fault(step, point::before_post);
    threads::request& posted = step == 0 ? home : moving[step % 2];
    posted = comm.post({{&held, 1}, {&asked, 1}}, s);
    fault(step, point::after_post);
    posted.arrived(s);
    fault(step, point::holding_a_loan);
    copied = comm.post({{&out, 1}, {&in, 1}}, s);
    fault(step, point::copying);
    held = posted.received(0);
    if (sum(held) != 300.0 * (((me - step - 1) % size + size) % size)) throw std::logic_error("wrong data");
    if (step > 0) (step == 1 ? home : moving[(step - 1) % 2]).release(s);
    fault(step, point::sending_on);
    copied.arrived(s);
    copied.reusable(s);
  }
  for (auto* each : {&home, &moving[0], &moving[1]}) each->release(s);
}

struct outcome {
  bool poisoned = false;
  int origin = -1;
  std::string text;
  clock_type::time_point when{};
};

/// Runs f, in which `origin` throws "planned"; checks what everybody saw.
template <class Stream = host_stream, class F>
void check_poison(int ranks, int origin, F f) {
  std::vector<outcome> seen(static_cast<std::size_t>(ranks));
  std::string rethrown;
  try {
    run_ranks<Stream>(ranks, [&](basic_threads<Stream> comm) {
      auto& mine = seen[static_cast<std::size_t>(comm.rank())];
      try {
        f(comm);
      } catch (const poisoned& stopped) {
        mine = {true, stopped.where().origin, stopped.what(), clock_type::now()};
        throw;
      } catch (...) {
        mine.when = clock_type::now();
        throw;
      }
    });
  } catch (const std::runtime_error& cause) {
    rethrown = cause.what();
  }
  CHECK(rethrown == "planned");
  for (int rank = 0; rank < ranks; ++rank) {
    CAPTURE(rank);
    outcome const& one = seen[static_cast<std::size_t>(rank)];
    CHECK(one.poisoned == (rank != origin));
    if (rank == origin) continue;
    CHECK(one.origin == origin);
    CHECK(one.text == "rank " + std::to_string(origin) + " failed: planned");
    CHECK(one.when - seen[static_cast<std::size_t>(origin)].when < std::chrono::seconds(1));
  }
}

template <class Error>
Error thrown_by(int ranks, launch_options options, void (*f)(threads)) {
  try {
    run_ranks(ranks, f, options);
  } catch (const Error& error) {
    return error;
  }
  FAIL("nothing was thrown");
  throw std::logic_error("unreachable");
}

/// A rank waits for what does not come, and the other stays until it has given up, however long that takes.
std::atomic<bool> gave_up;
template <class F>
void in_vain(F wait) {
  try {
    wait();
  } catch (...) {
    gave_up = true;
    throw;
  }
}
void stay(int most = 20000) {
  for (int i = 0; i < most && !gave_up; ++i) std::this_thread::sleep_for(milliseconds(1));
}

}  // namespace

TEST_CASE("whoever throws, wherever: the others learn who and why") {
  for (int const ranks : {1, 2, 3, 4, 5, 8}) {
    for (int origin = 0; origin < ranks; ++origin) {
      for (int const step : {0, 1, ranks - 1, 2 * ranks - 1}) {
        for (point const where : points) {
          INFO("ranks ", ranks, ", origin ", origin, ", step ", step, ", point ", static_cast<int>(where));
          check_poison(ranks, origin, [&](threads comm) {
            two_rings(comm, [&](int at, point here) {
              if (comm.rank() == origin && at == step && here == where) throw std::runtime_error("planned");
            });
            if (comm.rank() != origin) two_rings(comm, [](int, point) {});  // who was not stopped yet is stopped here
          });
        }
      }
    }
  }
}

TEST_CASE("memory outlives its readers when its owner throws") {
  // Copies in two halves, slowly, so that the owner throws in between.
  struct slow_stream : host_stream {
    void copy(piece to, piece from) const {
      auto* const out = static_cast<double*>(to.data);
      auto const* const in = static_cast<const double*>(from.data);
      extent const half = from.elements() / 2;
      std::copy(in, in + half, out);
      std::this_thread::sleep_for(milliseconds(40));
      for (extent i = half; i < from.elements(); ++i) out[i] = in[i];
    }
  };
  for (bool const borrow : {false, true}) {
    check_poison<slow_stream>(3, 0, [&](basic_threads<slow_stream> comm) {
      if (comm.rank() == 0) {
        auto const large = std::make_unique<memory>(1 << 12, 1.0);
        piece const out[] = {piece_at(*large, 1), piece_at(*large, 2)};
        auto lent = comm.post({out, {}}, {});
        std::this_thread::sleep_for(milliseconds(15));
        throw std::runtime_error("planned");
      }
      memory copy(1 << 12);
      piece const in = borrow ? lent(copy.size(), 0) : piece_at(copy, 0), more = piece_at(copy, 0);
      auto received = comm.post({{}, {&in, 1}}, {});
      received.arrived({});
      if (borrow) std::this_thread::sleep_for(milliseconds(40));
      if (sum(received.received(0)) != 1 << 12) throw std::logic_error("wrong data");
      comm.post({{}, {&more, 1}}, {}).arrived({});
    });
  }
}

TEST_CASE("poison() stops all ranks before anything unwinds") {
  check_poison(4, 2, [](threads comm) {
    memory one(100);
    if (comm.rank() == 2) or_poison(comm, [] { throw std::runtime_error("planned"); });
    receive(comm, piece_at(one, 2)).arrived(s);
  });
}

TEST_CASE("an exception that unwinds an exchange and is caught poisons too") {
  std::string text;
  auto const error = thrown_by<transport_error>(2, {}, [](threads comm) {
    memory one(100);
    if (comm.rank() == 0) {
      try {
        auto live = receive(comm, piece_at(one, 1));
        throw std::runtime_error("caught");
      } catch (const std::runtime_error&) {}
      CHECK_THROWS_AS(send(comm, piece_at(one, 1)), poisoned);
    } else {
      CHECK_THROWS_AS(receive(comm, piece_at(one, 0)).arrived(s), poisoned);
    }
  });
  CHECK(std::string(error.what()) == "rank 0 caught an exception that unwound a live exchange");
}

TEST_CASE("an exception without live exchanges may be caught and forgotten") {
  run_ranks(2, [](threads comm) {
    try {
      throw std::runtime_error("caught");
    } catch (const std::runtime_error&) {}
    two_rings(comm, [](int, point) {});
  });
}

TEST_CASE("anything may be thrown") {
  CHECK_THROWS_AS(run_ranks(3,
                            [](threads comm) {
                              memory one(100);
                              if (comm.rank() == 1) throw 42;
                              receive(comm, piece_at(one, 1)).arrived(s);
                            }),
                  int);
}

TEST_CASE("a wait that passes its deadline names who waited, for whom and for what") {
  gave_up = false;
  SUBCASE("for a message") {
    auto const error = thrown_by<timeout_error>(2, {.deadline = milliseconds(60)}, [](threads comm) {
      memory one(100);
      if (comm.rank() == 0) in_vain([&] { receive(comm, piece_at(one, 1)).arrived(s); });
      if (comm.rank() == 1) {
        stay();
        CHECK_THROWS_AS(send(comm, piece_at(one, 0)), poisoned);
      }
    });
    CHECK(std::string(error.what()) == "rank 0, exchange 0: waited 0.06 s for receive 0, and rank 1 did not send it");
    CHECK(error.where().rank == 0);
    CHECK(error.where().peer == 1);
    CHECK(error.where().step == 0);
  }
  SUBCASE("for a receive") {
    auto const error = thrown_by<timeout_error>(2, {.deadline = milliseconds(60)}, [](threads comm) {
      memory one(100);
      if (comm.rank() == 0) in_vain([&] { send(comm, piece_at(one, 1)).reusable(s); });
      if (comm.rank() == 1) stay();
    });
    CHECK(std::string(error.what()) == "rank 0, exchange 0: waited 0.06 s for rank 1 to receive what was sent to it");
  }
  SUBCASE("for a release") {
    auto const error = thrown_by<timeout_error>(2, {.deadline = milliseconds(60)}, [](threads comm) {
      memory one(100);
      if (comm.rank() == 0) in_vain([&] { send(comm, piece_at(one, 1)).reusable(s); });
      if (comm.rank() == 1) {
        auto borrowed = receive(comm, lent(100, 0));
        borrowed.arrived(s);
        stay(500);  // rank 0 gives its memory up when it is released, and not before
      }
    });
    CHECK(std::string(error.what()) ==
          "rank 0, exchange 0: waited 0.06 s for rank 1, or whom it sent it on to, to release what it was lent");
  }
  SUBCASE("in a destructor") {
    auto const error = thrown_by<timeout_error>(2, {.deadline = milliseconds(60)}, [](threads comm) {
      memory one(100);
      if (comm.rank() == 0) {
        static_cast<void>(send(comm, piece_at(one, 1)));
        gave_up = true;
      }
      if (comm.rank() == 1) stay();
    });
    CHECK(error.where().peer == 1);
  }
}

TEST_CASE("a rank that returned is not waited for") {
  SUBCASE("to send") {
    auto const error = thrown_by<contract_violation>(3, {}, [](threads comm) {
      memory one(100);
      if (comm.rank() == 0) receive(comm, piece_at(one, 2)).arrived(s);
    });
    CHECK(std::string(error.what()) == "rank 0, exchange 0: rank 2 returned and never sent receive 0");
  }
  SUBCASE("to receive") {
    auto const error = thrown_by<contract_violation>(3, {}, [](threads comm) {
      memory one(100);
      if (comm.rank() == 0) send(comm, piece_at(one, 2)).reusable(s);
    });
    CHECK(std::string(error.what()) == "rank 0, exchange 0: rank 2 returned and never received what was sent to it");
  }
}

TEST_CASE("ranks that disagree about a message are told both sides") {
  SUBCASE("extents") {
    auto const error = thrown_by<contract_violation>(2, {}, [](threads comm) {
      memory one(100);
      if (comm.rank() == 0) send(comm, piece_at(one, 1)).reusable(s);
      one.resize(99);
      if (comm.rank() == 1) receive(comm, piece_at(one, 0)).arrived(s);
    });
    CHECK(std::string(error.what()) ==
          "rank 1, exchange 0: receive 0 from rank 0 is f64 [1, 1, 1, 99], but rank 0 sent f64 [1, 1, 1, 100] in its "
          "exchange 0");
  }
  SUBCASE("type, of a small message") {
    auto const error = thrown_by<contract_violation>(2, {}, [](threads comm) {
      double wide = 0;
      float pair[2] = {};
      piece const out = piece_of(dense(&wide, 1), role::other, 1), in = piece_of(dense(pair, 2), role::other, 0);
      if (comm.rank() == 0) send(comm, out).reusable(s);
      if (comm.rank() == 1) receive(comm, in).arrived(s);
    });
    CHECK(std::string(error.what()).find("is f32 [1, 1, 1, 2], but rank 0 sent f64 [1, 1, 1, 1]") != std::string::npos);
  }
}

TEST_CASE("a usage error sends nothing and leaves the communicator good") {
  CHECK_THROWS_AS(run_ranks(0, [](threads) {}), usage_error);
  CHECK_THROWS_AS(run_ranks(-3, [](threads) {}), usage_error);
  CHECK_THROWS_AS(run_ranks(1, [](threads) {}, {.deadline = milliseconds(-1)}), usage_error);
  run_ranks(2, [](threads comm) {
    memory one(100), other(100);
    piece const there = piece_at(one, 1 - comm.rank()), nowhere = piece_at(one, 2);
    piece const both[] = {there, nowhere};
    CHECK_THROWS_WITH_AS(comm.post({both, {}}, s), "post: send 1 names peer 2; allowed are 0..1", usage_error);
    CHECK_THROWS_WITH_AS(comm.post({{}, both}, s), "post: receive 1 names peer 2; allowed are 0..1", usage_error);
    CHECK_THROWS_WITH_AS(send(comm, lent(4, 0)), "post: send 0 has no memory; only a receive may be without",
                         usage_error);
    piece huge = there;
    huge.extents[0] = huge.extents[1] = extent{1} << 40;
    CHECK_THROWS_AS(send(comm, huge), size_overflow);
    auto posted = receive(comm, piece_at(other, 1 - comm.rank()));
    CHECK_THROWS_AS(posted.received(0), usage_error);
    CHECK_THROWS_AS(posted.received(1), usage_error);
    send(comm, there).reusable(s);
    posted.arrived(s);
    two_rings(comm, [](int, point) {});
  });
}

TEST_CASE("two threads on one rank are refused") {
  run_ranks(2, [](threads comm) {
    memory one(100);
    if (comm.rank() == 1) {
      std::this_thread::sleep_for(milliseconds(100));
      send(comm, piece_at(one, 0)).reusable(s);
      return;
    }
    std::thread other([&] {
      std::this_thread::sleep_for(milliseconds(30));
      CHECK_THROWS_AS(send(comm, piece_at(one, 1)), usage_error);
    });
    receive(comm, piece_at(one, 1)).arrived(s);
    other.join();
  });
}
