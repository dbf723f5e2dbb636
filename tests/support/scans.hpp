#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <ringfold/algebra/affine.hpp>
#include <ringfold/collective/scan.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/wrap/counted.hpp>

#include "sanitized.hpp"
#include "sharded.hpp"

/// \file
/// Experiments with scans: elements for slots of any owners, the serial recurrence, and runs of a schedule.

namespace scans {

using namespace ringfold;

inline constexpr transition transitions[] = {transition::identity, transition::scalar, transition::diagonal,
                                             transition::elementwise, transition::dense};

/// An affine algebra whose transition is chosen at run time, so that a schedule is compiled once for all of them.
struct any_affine {
  using number = double;
  using space = host_space;
  using element = affine_element<double>;
  using state = view<double, 4>;

  transition kind;
  extent batch, heads, rows, columns;

  extent gate_rows() const { return kind == transition::scalar ? 1 : rows; }
  extent gate_columns() const {
    return kind == transition::dense ? rows : kind == transition::elementwise ? columns : 1;
  }
  extent gate_batch() const { return kind == transition::identity ? 0 : batch; }
  extent states() const { return batch * heads * rows * columns; }
  extent gates() const { return gate_batch() * heads * gate_rows() * gate_columns(); }

  state take_state(arena<>& memory) const { return memory.take_view<double>(batch, heads, rows, columns); }
  element take_element(arena<>& memory) const {
    return {memory.take_view<double>(gate_batch(), heads, gate_rows(), gate_columns()), take_state(memory)};
  }
  static std::array<state, 1> views(const state& s) { return {s}; }
  static std::array<state, 2> views(const element& e) { return {e.gate, e.value}; }
  static const state& value_of(const element& e) { return e.value; }
  template <class Number>
  static view<Number, 4> part(const view<Number, 4>& s, int index, int count) {
    return affine<double, transition::dense>::part(s, index, count);
  }
  element part(const element& e, int index, int count) const {
    return {kind == transition::elementwise ? part(e.gate, index, count) : e.gate, part(e.value, index, count)};
  }
  extent most_parts() const { return columns; }
  any_affine of_part(int index, int count) const {
    return {kind, batch, heads, rows, columns / count + (index < columns % count ? 1 : 0)};
  }

  template <class F>
  void as_typed(F f) const {
    switch (kind) {
      case transition::identity: return f(affine<double, transition::identity>{batch, heads, rows, columns});
      case transition::scalar: return f(affine<double, transition::scalar>{batch, heads, rows, columns});
      case transition::diagonal: return f(affine<double, transition::diagonal>{batch, heads, rows, columns});
      case transition::elementwise: return f(affine<double, transition::elementwise>{batch, heads, rows, columns});
      case transition::dense: return f(affine<double, transition::dense>{batch, heads, rows, columns});
    }
  }
  void apply(host_stream on, const state& s, const element& e, const state& into) const {
    as_typed([&](auto typed) { typed.apply(on, s, e, into); });
  }
  void compose(host_stream on, const element& first, const element& then, const element& into) const {
    as_typed([&](auto typed) { typed.compose(on, first, then, into); });
  }
};

/// Numbers of every slot's element, and of the seed, the same on all ranks. Elements that nobody needs are NaN.
struct experiment {
  any_affine of;
  scan_slots slots;
  std::vector<std::vector<double>> gates, values;
  std::vector<double> seed;

  experiment(any_affine a, scan_slots s, std::uint64_t draw) : of(a), slots(std::move(s)) {
    std::mt19937_64 random(draw);
    std::uniform_real_distribution<double> numbers(-1, 1);
    auto const some = [&](extent count, double low, double high) {
      std::vector<double> made;
      for (extent i = 0; i < count; ++i) made.push_back(low + (high - low) * (numbers(random) + 1) / 2);
      return made;
    };
    for (int slot = 0; slot < slots.count(); ++slot) {
      // Slow, strong and no decay; a matrix may do anything.
      double const strength[] = {0, -1e-3, -3, -200};
      gates.push_back(a.kind == transition::dense ? some(a.gates(), -0.5, 0.5)
                                                  : some(a.gates(), strength[random() % 4], 0));
      values.push_back(some(a.states(), -1, 1));
      bool const needed = slot + 1 < slots.count() && !slots.fresh_at(slot + 1);
      double const nan = std::numeric_limits<double>::quiet_NaN();
      if (!needed) gates.back().assign(gates.back().size(), nan), values.back().assign(values.back().size(), nan);
    }
    seed = some(a.states(), -1, 1);
  }

  view<double, 4> state(std::vector<double>& of_numbers) const {
    return dense(of_numbers.data(), of.batch, of.heads, of.rows, of.columns);
  }
  any_affine::element of_slot(int slot) {
    auto const at = static_cast<std::size_t>(slot);
    return {dense(gates[at].data(), of.gate_batch(), of.heads, of.gate_rows(), of.gate_columns()), state(values[at])};
  }

  /// What enters each slot, by applying one element after the other.
  std::vector<std::vector<double>> serial(bool seeded) {
    std::vector<std::vector<double>> before;
    std::vector<double> now = seeded ? seed : std::vector<double>(seed.size());
    for (int slot = 0; slot < slots.count(); ++slot) {
      if (slots.fresh_at(slot)) now.assign(now.size(), 0.0);
      before.push_back(now);
      std::vector<double> enters = slots.forgets_at(slot) ? std::vector<double>(now.size()) : now, after(now.size());
      of.apply(host_stream{}, state(enters), of_slot(slot), state(after));
      now = after;
    }
    return before;
  }

  /// Bytes of a state, of a transition, and the columns.
  schedule::scan_sizes sizes() const {
    return {of.states() * 8, of.gates() * 8, of.columns, of.kind == transition::elementwise};
  }
};

struct outcome {
  std::vector<std::vector<double>> before;
  std::vector<counters> books;
};

/// Runs a schedule on every rank, twice, and the second time counts. Who does not own slot 0 has a seed of
/// NaN, which nobody may look at.
template <class Schedule, class Wrap>
outcome run(Schedule schedule, experiment& e, int ranks, bool seeded, Wrap wrapped) {
  outcome all{std::vector<std::vector<double>>(static_cast<std::size_t>(e.slots.count())),
              std::vector<counters>(static_cast<std::size_t>(ranks))};
  std::mutex guard;
  run_ranks(ranks, [&](threads comm) {
    counters book;
    arena<> measuring;
    auto const wire = counted(wrapped(comm), book);
    (void)scan(schedule, e.of, wire, e.slots, measuring);
    sharded::workspace memory(measuring.used());
    auto scanning = scan(schedule, e.of, wire, e.slots, memory.arena());
    auto const own = e.slots.of(comm.rank());
    std::vector<any_affine::element> mine;
    for (int const slot : own) mine.push_back(e.of_slot(slot));
    bool const has_first = !own.empty() && own.front() == 0;
    std::vector<double> nobodys(e.seed.size(), std::numeric_limits<double>::quiet_NaN());
    auto const seed = e.state(has_first ? e.seed : nobodys);
    for (int i = 0; i < 2; ++i) {
      book = {};
      scanning.start(mine, seeded || !has_first ? &seed : nullptr, {});
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
template <class Schedule>
outcome run(Schedule schedule, experiment& e, int ranks, bool seeded) {
  return run(schedule, e, ranks, seeded, [](threads comm) { return comm; });
}

inline double apart(const std::vector<double>& a, const std::vector<double>& b) {
  double most = a.size() == b.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < b.size() && i < a.size(); ++i) {
    most = std::fmax(most, std::isfinite(a[i]) ? std::fabs(a[i] - b[i]) / (1 + std::fabs(b[i])) : INFINITY);
  }
  return most;
}

/// Slots in order, dealt as contiguous, zigzag, cyclic and by chance; some ranks may have none.
inline std::vector<int> owners(int kind, int ranks, std::mt19937_64& random) {
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

/// Where slots begin documents is drawn.
inline scan_slots with_documents(const scan_slots& slots, std::mt19937_64& random) {
  auto forgets = slots.forgets, fresh = slots.fresh;
  for (std::size_t i = 1; i < forgets.size(); ++i) forgets[i] = random() % 3 == 0, fresh[i] = random() % 4 == 0;
  return {slots.owners, forgets, fresh};
}

/// Of how many draws one is run.
inline constexpr std::uint64_t one_of = sanitized ? 11 : 1;

/// Every number of ranks, dealing of slots and transition, with and without documents and seed, every other one reversed:
/// the states must be those of the serial recurrence; then calls check(experiment, outcome, ranks, documents, kind).
template <class Schedule, class Wrap, class Check>
void check_all(Schedule schedule, Wrap wrapped, Check check) {
  std::uint64_t draw = 0;
  for (int const ranks : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16}) {
    for (int const kind : {0, 1, 2, 3}) {
      for (bool const documents : {false, true}) {
        for (bool const seeded : {false, true}) {
          for (transition const each : transitions) {
            CAPTURE(ranks);
            CAPTURE(kind);
            CAPTURE(documents);
            CAPTURE(seeded);
            CAPTURE(static_cast<int>(each));
            if (++draw % one_of != 0) continue;
            std::mt19937_64 random(draw);
            scan_slots slots(owners(kind, ranks, random));
            if (documents) slots = with_documents(slots, random);
            if (draw % 3 == 1) slots = slots.reversed();
            experiment e({each, 2, 3, 4, 5}, slots, draw);
            auto const wanted = e.serial(seeded);
            auto const got = run(schedule, e, ranks, seeded, wrapped);
            for (std::size_t slot = 0; slot < wanted.size(); ++slot) {
              CAPTURE(slot);
              if (Schedule::keeps_order) {
                CHECK(got.before[slot] == wanted[slot]);
              } else {
                CHECK(apart(got.before[slot], wanted[slot]) <= 1e-13);
              }
            }
            for (const counters& book : got.books) CHECK(book.in_flight == 0);
            check(e, got, ranks, documents, kind);
          }
        }
      }
    }
  }
}
template <class Schedule, class Check>
void check_all(Schedule schedule, Check check) {
  check_all(
      schedule, [](threads comm) { return comm; }, check);
}

/// Where each rank owns one slot in order, or from the last to the first, and no document begins, a schedule publishes
/// what ranks send. Returns the most steps that a rank took.
template <class Schedule>
extent check_published(const Schedule& schedule, const experiment& e, const outcome& got, int ranks) {
  extent most = 0;
  for (int slot = 0; slot < ranks; ++slot) {
    counters const& book = got.books[static_cast<std::size_t>(e.slots.owner(slot))];
    CAPTURE(slot);
    CHECK(book.total_bytes() == schedule.bytes(ranks, slot, e.sizes()));
    most = book.steps > most ? book.steps : most;
  }
  return most;
}

/// Whether every rank of five has all it asked for, and has sent all that others wait for, without finish().
template <class Schedule>
bool travels(Schedule schedule) {
  bool all[5] = {};
  run_ranks(5, [&](threads comm) {
    sharded::workspace memory(1 << 14);
    double own = comm.rank() + 1;
    any_affine const sum{transition::identity, 1, 1, 1, 1};
    auto before = scan(schedule, sum, comm, scan_slots({0, 1, 2, 3, 4}), memory.arena());
    affine_element<double> const mine{{}, dense(&own, 1, 1, 1, 1)};
    before.start({&mine, 1}, nullptr, {});
    for (long tries = 0; !before.advance({}); ++tries) {
      if (tries > 100'000'000) throw usage_error(say("nothing was handed on"));
      std::this_thread::yield();
    }
    int const rank = comm.rank();
    all[rank] = before.before(0)(0, 0, 0, 0) == rank * (rank + 1) / 2;
    before.finish({});
  });
  return all[0] && all[1] && all[2] && all[3] && all[4];
}

}  // namespace scans
