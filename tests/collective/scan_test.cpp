#include <ringfold/collective/scan.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include <ringfold/algebra/affine.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/wrap/counted.hpp>

#include "sharded.hpp"

using namespace ringfold;

namespace {

/// Numbers of every slot's element, and of the seed, the same on all ranks.
template <transition Kind>
struct experiment {
  using algebra = affine<double, Kind>;
  using element = typename algebra::element;
  algebra of;
  scan_slots slots;
  std::vector<std::vector<double>> gates, values;
  std::vector<double> seed;

  experiment(algebra a, scan_slots s, std::uint64_t draw) : of(a), slots(std::move(s)) {
    std::mt19937_64 random(draw);
    std::uniform_real_distribution<double> numbers(-1, 1);
    auto const some = [&](extent count, double low, double high) {
      std::vector<double> made;
      for (extent i = 0; i < count; ++i) made.push_back(low + (high - low) * (numbers(random) + 1) / 2);
      return made;
    };
    extent const states = a.batch * a.heads * a.rows * a.columns;
    extent const gate =
        a.batch * a.heads * (Kind == transition::scalar ? 1 : a.rows) * (Kind == transition::dense ? a.rows : 1);
    for (int slot = 0; slot < slots.count(); ++slot) {
      // Slow, strong and no decay; a matrix may do anything.
      double const strength[] = {0, -1e-3, -3, -200};
      gates.push_back(Kind == transition::dense ? some(gate, -0.5, 0.5) : some(gate, strength[random() % 4], 0));
      values.push_back(some(states, -1, 1));
    }
    seed = some(states, -1, 1);
  }

  element of_slot(int slot) {
    auto const at = static_cast<std::size_t>(slot);
    return {dense(gates[at].data(), Kind == transition::identity ? 0 : of.batch, of.heads,
                  Kind == transition::scalar ? extent{1} : of.rows, Kind == transition::dense ? of.rows : extent{1}),
            dense(values[at].data(), of.batch, of.heads, of.rows, of.columns)};
  }

  /// What enters each slot, by applying one element after the other.
  std::vector<std::vector<double>> serial(bool seeded) {
    std::vector<std::vector<double>> before;
    std::vector<double> now = seeded ? seed : std::vector<double>(seed.size());
    auto const view = [&](std::vector<double>& v) { return dense(v.data(), of.batch, of.heads, of.rows, of.columns); };
    for (int slot = 0; slot < slots.count(); ++slot) {
      if (slots.fresh_at(slot)) now.assign(now.size(), 0.0);
      before.push_back(now);
      std::vector<double> enters = slots.forgets_at(slot) ? std::vector<double>(now.size()) : now, after(now.size());
      of.apply(host_stream{}, view(enters), of_slot(slot), view(after));
      now = after;
    }
    return before;
  }
};

struct outcome {
  std::vector<std::vector<double>> before;
  std::vector<counters> books;
};

template <class Schedule, class E>
outcome run(Schedule schedule, E& e, int ranks, bool seeded, int repeats = 2) {
  outcome all{std::vector<std::vector<double>>(static_cast<std::size_t>(e.slots.count())),
              std::vector<counters>(static_cast<std::size_t>(ranks))};
  std::mutex guard;
  run_ranks(ranks, [&](threads comm) {
    counters book;
    arena<> measuring;
    auto const wire = counted(comm, book);
    (void)scan(schedule, e.of, wire, e.slots, measuring);
    sharded::workspace memory(measuring.used());
    auto scanning = scan(schedule, e.of, wire, e.slots, memory.arena());
    auto const own = e.slots.of(comm.rank());
    std::vector<typename E::element> mine;
    {
      std::lock_guard const lock(guard);
      for (int const slot : own) mine.push_back(e.of_slot(slot));
    }
    // Who does not own slot 0 has no seed.
    bool const has_seed = seeded && !own.empty() && own.front() == 0;
    auto const seed = dense(e.seed.data(), e.of.batch, e.of.heads, e.of.rows, e.of.columns);
    for (int i = 0; i < repeats; ++i) {
      book = {};
      scanning.start(mine, has_seed ? &seed : nullptr, {});
      scanning.finish({});
    }
    std::lock_guard const lock(guard);
    for (std::size_t i = 0; i < own.size(); ++i) {
      auto const& state = scanning.before(static_cast<int>(i));
      all.before[static_cast<std::size_t>(own[i])].assign(state.data, state.data + state.size());
    }
    all.books[static_cast<std::size_t>(comm.rank())] = book;
  });
  return all;
}

double apart(const std::vector<double>& a, const std::vector<double>& b) {
  double most = a.size() == b.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < b.size() && i < a.size(); ++i) {
    most = std::fmax(most, std::isfinite(a[i]) ? std::fabs(a[i] - b[i]) / (1 + std::fabs(b[i])) : INFINITY);
  }
  return most;
}

/// Slots in order, dealt as contiguous, zigzag, cyclic and by chance; some ranks may have none.
std::vector<int> owners(int kind, int ranks, std::mt19937_64& random) {
  std::vector<int> made;
  int const slots = kind == 0 ? ranks : kind == 1 ? 2 * ranks : 3 * ranks - 1;
  for (int slot = 0; slot < slots; ++slot) {
    switch (kind) {
      case 0: made.push_back(slot); break;
      case 1: made.push_back(slot < ranks ? slot : 2 * ranks - 1 - slot); break;
      case 2: made.push_back(slot % ranks); break;
      default: made.push_back(static_cast<int>(random() % static_cast<unsigned>(ranks)));
    }
  }
  return made;
}

template <transition Kind, class Schedule>
void check(Schedule schedule, int ranks, int kind, bool documents, bool seeded, std::uint64_t draw) {
  CAPTURE(ranks);
  CAPTURE(kind);
  CAPTURE(documents);
  CAPTURE(seeded);
  std::mt19937_64 random(draw);
  scan_slots slots(owners(kind, ranks, random));
  if (documents) {
    auto forgets = slots.forgets, fresh = slots.fresh;
    for (std::size_t i = 1; i < forgets.size(); ++i) forgets[i] = random() % 3 == 0, fresh[i] = random() % 4 == 0;
    slots = scan_slots(slots.owners, forgets, fresh);
  }
  if (draw % 2 == 1) slots = slots.reversed();
  experiment<Kind> e({2, 3, 4, 5}, slots, draw);
  auto const wanted = e.serial(seeded);
  auto const got = run(schedule, e, ranks, seeded);
  for (std::size_t slot = 0; slot < wanted.size(); ++slot) {
    CAPTURE(slot);
    if (Schedule::keeps_order) {
      CHECK(got.before[slot] == wanted[slot]);
    } else {
      CHECK(apart(got.before[slot], wanted[slot]) <= 1e-13);
    }
  }
  if (documents) return;
  // Bytes are those of the schedule's messages, less what stays on its rank.
  extent const state = 2 * 3 * 4 * 5 * 8;
  extent const gate = Kind == transition::identity ? 0
                                                   : 2 * 3 * 8 *
                                                         (Kind == transition::scalar     ? 1
                                                          : Kind == transition::diagonal ? 4
                                                                                         : 16);
  extent const parts = Kind == transition::identity || Schedule::carries_states ? 1 : 2;
  for (int rank = 0; rank < ranks; ++rank) {
    extent bytes = 0;
    for (int const slot : e.slots.of(rank)) {
      if constexpr (Schedule::carries_states) {
        bool const leaves = slot + 1 < e.slots.count() && e.slots.owner(slot + 1) != rank;
        bytes += leaves ? state : 0;
      } else {
        for (int round = 0; round < schedule.rounds(e.slots.count()); ++round) {
          int const to = schedule.at(e.slots.count(), slot, round).to;
          bytes += to >= 0 && e.slots.owner(to) != rank ? state + gate : 0;
        }
      }
    }
    CHECK(got.books[static_cast<std::size_t>(rank)].total_bytes() == bytes);
    CHECK(got.books[static_cast<std::size_t>(rank)].in_flight == 0);
    if (kind != 0) continue;
    CHECK(got.books[static_cast<std::size_t>(rank)].messages == parts * schedule.messages(ranks, e.slots.of(rank)[0]));
    if (!Schedule::carries_states) CHECK(got.books[static_cast<std::size_t>(rank)].steps <= schedule.rounds(ranks));
  }
}

template <class Schedule>
void check_all(Schedule schedule) {
  std::uint64_t draw = 1;
  for (int const ranks : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16}) {
    for (int const kind : {0, 1, 2, 3}) {
      for (bool const documents : {false, true}) {
        for (bool const seeded : {false, true}) {
          check<transition::identity>(schedule, ranks, kind, documents, seeded, draw++);
          check<transition::scalar>(schedule, ranks, kind, documents, seeded, draw++);
          check<transition::diagonal>(schedule, ranks, kind, documents, seeded, draw++);
          check<transition::dense>(schedule, ranks, kind, documents, seeded, draw++);
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("states handed on, whole and in pieces, are the serial recurrence bit for bit") {
  check_all(schedule::chain{});
  check_all(schedule::chain{2});
  check_all(schedule::chain{5});
}

TEST_CASE("elements joined in few rounds give the same states") {
  check_all(schedule::hillis_steele{});
  check_all(schedule::doubling_123{});
  check_all(schedule::recursive_doubling{});
}

TEST_CASE("order matters: exchanging two elements changes the result") {
  experiment<transition::dense> e({1, 1, 3, 2}, scan_slots({0, 1, 2, 3}), 3);
  auto const before = e.serial(true);
  std::swap(e.gates[0], e.gates[1]), std::swap(e.values[0], e.values[1]);
  CHECK(apart(e.serial(true)[3], before[3]) > 1e-2);
}

TEST_CASE("long products of strong decays underflow to nothing, and nothing else happens") {
  experiment<transition::scalar> e({1, 2, 3, 4}, scan_slots({0, 1, 2, 3, 0, 1, 2, 3}), 5);
  for (auto& gate : e.gates) gate.assign(gate.size(), -5e5);
  auto const wanted = e.serial(true);
  CHECK(run(schedule::chain{2}, e, 4, true).before == wanted);
  CHECK(run(schedule::hillis_steele{}, e, 4, true).before == wanted);
  CHECK(run(schedule::doubling_123{}, e, 4, true).before == wanted);
  CHECK(run(schedule::recursive_doubling{}, e, 4, true).before == wanted);
}

TEST_CASE("rounds are those that are published") {
  for (int slots = 3; slots < 300; ++slots) {
    CHECK(schedule::chain{}.rounds(slots) == slots - 1);
    CHECK(schedule::chain{7}.rounds(slots) == slots + 5);
    CHECK(schedule::hillis_steele::rounds(slots) == 1 + static_cast<int>(std::ceil(std::log2(slots - 1))));
    CHECK(schedule::doubling_123::rounds(slots) ==
          static_cast<int>(std::ceil(std::log2(slots - 1) + std::log2(4 / 3.0))));
    CHECK(schedule::recursive_doubling::rounds(slots) == static_cast<int>(std::ceil(std::log2(slots))));
  }
}

TEST_CASE("a scan is begun, other work is done, and it is finished") {
  std::vector<double> sums(4);
  run_ranks(4, [&](threads comm) {
    sharded::workspace memory(4096);
    double own = comm.rank() + 1;
    //! [scan]
    affine<double, transition::identity> const sum{1, 1, 1, 1};
    auto before = scan(schedule::doubling_123{}, sum, comm, scan_slots({0, 1, 2, 3}), memory.arena());
    affine_element<double> const mine{{}, dense(&own, 1, 1, 1, 1)};
    before.start({&mine, 1}, nullptr, {});
    before.advance({});  // now and then, between what needs no state
    before.finish({});
    double const entered = before.before(0)(0, 0, 0, 0);
    //! [scan]
    sums[static_cast<std::size_t>(comm.rank())] = entered;
  });
  CHECK(sums == std::vector<double>{0, 1, 3, 6});
}

TEST_CASE("states and elements travel while other work is done: nobody waits for finish()") {
  auto const travels = [](auto schedule) {
    std::vector<double> sums(5);
    run_ranks(5, [&](threads comm) {
      sharded::workspace memory(1 << 14);
      counters book;
      double own = comm.rank() + 1;
      affine<double, transition::identity> const sum{1, 1, 1, 1};
      auto before = scan(schedule, sum, counted(comm, book), scan_slots({0, 1, 2, 3, 4}), memory.arena());
      affine_element<double> const mine{{}, dense(&own, 1, 1, 1, 1)};
      before.start({&mine, 1}, nullptr, {});
      if (comm.rank() == 0 && book.messages == 0) throw usage_error(say("the first slot waits for nobody"));
      extent const sent = schedule.messages(5, comm.rank());
      for (long tries = 0; book.messages < sent; ++tries) {
        if (tries > 100'000'000) throw usage_error(say("nothing was handed on"));
        before.advance({});
        std::this_thread::yield();
      }
      before.finish({});
      sums[static_cast<std::size_t>(comm.rank())] = before.before(0)(0, 0, 0, 0);
    });
    CHECK(sums == std::vector<double>{0, 1, 3, 6, 10});
  };
  travels(schedule::chain{});
  travels(schedule::hillis_steele{});
  travels(schedule::doubling_123{});
  travels(schedule::recursive_doubling{});
}

TEST_CASE("what cannot be is refused before anything is sent") {
  run_ranks(1, [](threads comm) {
    sharded::workspace memory(1 << 16);
    affine<double, transition::identity> const sum{1, 1, 1, 3};
    CHECK_THROWS_WITH_AS(scan(schedule::chain{4}, sum, comm, scan_slots({0}), memory.arena()),
                         "scan: a state in 4 pieces; allowed: 1 to 3", usage_error);
    CHECK_THROWS_WITH_AS(scan(schedule::hillis_steele{}, sum, comm, scan_slots({0, 1}), memory.arena()),
                         "scan: slot 1 belongs to rank 1; there are ranks 0..0", usage_error);
    CHECK_THROWS_WITH_AS(scan_slots({0, 0}, {0}, {0, 0}),
                         "scan_slots: 2 owners, 1 slots that forget, 2 fresh ones; give the same number of each",
                         shape_error);
  });
}
