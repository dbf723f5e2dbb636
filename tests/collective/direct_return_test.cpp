#include <ringfold/collective/direct_return.hpp>

#include <doctest/doctest.h>

#include <vector>

#include <ringfold/wrap/counted.hpp>

#include "support/lending_hidden.hpp"

using namespace ringfold;

namespace {

constexpr extent rows_of_rank(int rank) { return 1 + rank * 3 % 5; }
double made_of(double number, int rank) { return number * 16 + rank; }

// Passes numbers around; every rank makes another of each, and owners write down what comes home, in order.
template <class Ring, class C, class Wanted>
void run(C plain, counters& book, Wanted wanted) {
  counted comm(plain, book);
  int const me = comm.rank(), size = comm.size();
  double mine[5], buffers[2][5], results[2][5], coming[5], home[5] = {};
  for (double& each : mine) each = me;
  auto const parcel_at = [](double* at, extent rows) {
    return parcel<1>{{rows_of(dense(at, 1, rows, 1, 1), role::other)}};
  };
  auto const buffer = [](double* at) { return lends<C> ? nullptr : at; };
  auto const number = [](const parcel<1>& of, extent row) -> double& {
    return view_of<double, 4>(of.pieces[0])(0, row, 0, 0);
  };
  std::vector<double> order;
  auto const fold = [&](const parcel<1>& into, const parcel<1>& from) {
    for (extent row = 0; row < rows_of_rank(me); ++row) number(into, row) += number(from, row);
    order.push_back(number(from, 0));
  };
  //! [direct_return]
  direct_return back(Ring{}, comm, parcel_at(home, rows_of_rank(me)), parcel_at(buffer(coming), rows_of_rank(me)),
                     wanted, fold, host_stream{});
  int step = 0;
  ring_pass<Ring>(
      comm, parcel_at(mine, rows_of_rank(me)),
      [&](int origin, int slot) { return parcel_at(buffer(buffers[slot]), rows_of_rank(origin)); }, wanted,
      [&](int origin, const parcel<1>* held) {
        if (origin == me) return;
        auto const result = parcel_at(results[++step % 2], rows_of_rank(origin));
        for (extent row = 0; row < rows_of_rank(origin) && wanted(me, origin); ++row) {
          number(result, row) = made_of(number(*held, row), me);
        }
        back.step(step, result);
      },
      host_stream{});
  back.finish();
  //! [direct_return]
  std::vector<double> expected;
  double sum = 0;
  for (int distance = 1; distance < size; ++distance) {
    int const reader = Ring::holder(me, size, distance);
    if (!wanted(reader, me)) continue;
    expected.push_back(made_of(me, reader));
    sum += expected.back();
  }
  if (order != expected) throw usage_error(say("rank %d: %zu came home, or in another order", me, order.size()));
  for (extent row = 0; row < rows_of_rank(me); ++row) {
    if (home[row] != sum) throw usage_error(say("rank %d: row %d is %g", me, static_cast<int>(row), home[row]));
  }
}

template <class Ring, class Wanted>
void check(int size, Wanted wanted) {
  std::vector<counters> books(static_cast<std::size_t>(size)), others(books);
  run_ranks(size, [&](threads comm) {
    auto const me = static_cast<std::size_t>(comm.rank());
    run<Ring>(comm, books[me], wanted);
    run<Ring>(lending_hidden(comm), others[me], wanted);
  });
  for (int rank = 0; rank < size; ++rank) {
    extent rows = 0;
    for (int origin = 0; origin < size; ++origin) {
      bool travels = false;  // to the next rank, which holds it one step later
      for (int step = 1; step < size; ++step) {
        if (Ring::holder(origin, size, step - 1) == rank) travels = true;
        if (travels && wanted(Ring::holder(origin, size, step), origin)) {
          rows += rows_of_rank(origin);
          break;
        }
      }
      if (rank != origin && wanted(rank, origin)) rows += rows_of_rank(origin);
    }
    CAPTURE(size);
    CAPTURE(rank);
    CHECK(books[static_cast<std::size_t>(rank)].total_bytes() == rows * 8);
    CHECK(others[static_cast<std::size_t>(rank)].total_bytes() == rows * 8);
  }
}

}  // namespace

TEST_CASE("what ranks make of parcels comes home once, by distance, whoever wants them, around both rings") {
  for (int const size : {1, 2, 3, 4, 5, 8, 9}) {
    auto const all = [](int, int) { return true; };
    auto const before = [](int rank, int origin) { return rank < origin; };
    auto const some = [](int rank, int origin) { return (rank * 5 + origin * 3) % 4 == 0; };
    check<schedule::ring>(size, all), check<schedule::reversed_ring>(size, all);
    check<schedule::ring>(size, before), check<schedule::reversed_ring>(size, before);
    check<schedule::ring>(size, some), check<schedule::reversed_ring>(size, some);
  }
}
