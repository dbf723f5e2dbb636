#include <ringfold/collective/ring_pass.hpp>

#include <doctest/doctest.h>

#include <numeric>
#include <vector>

#include <ringfold/comm/threads.hpp>
#include <ringfold/wrap/counted.hpp>

#include "support/lending_hidden.hpp"

using namespace ringfold;

namespace {

constexpr extent rows_of(int origin) { return (origin * 3) % 5; }
constexpr float number_of(int origin, extent row) { return static_cast<float>(origin * 100 + row); }

// Passes parcels of different lengths around; every rank checks what it is shown.
template <class C, class Wanted>
void pass(C comm, counters& book, Wanted wanted) {
  counted counted_comm(comm, book);
  int const me = comm.rank(), size = comm.size();
  std::vector<float> mine(static_cast<std::size_t>(rows_of(me)));
  std::vector<double> twice(mine.size());
  for (extent row = 0; row < rows_of(me); ++row) {
    mine[static_cast<std::size_t>(row)] = number_of(me, row);
    twice[static_cast<std::size_t>(row)] = 2 * number_of(me, row);
  }
  float buffers[2][5];
  double double_buffers[2][5];
  auto const describe = [](float* data, double* doubled, int origin) {
    return parcel<2>{
        {piece_of(dense(data, rows_of(origin)), role::key), piece_of(dense(doubled, rows_of(origin)), role::value)}};
  };
  auto const receive = [&](int origin, int slot) {
    bool const borrows = lends<C>;
    return describe(borrows ? nullptr : buffers[slot], borrows ? nullptr : double_buffers[slot], origin);
  };
  std::vector<int> order;
  int wrong = 0;
  //! [ring_pass]
  ring_pass(
      counted_comm, describe(mine.data(), twice.data(), me), receive, wanted,
      [&](int origin, const parcel<2>* held) {
        order.push_back(origin);
        bool const expected = origin == me || held != nullptr;
        wrong += !expected && wanted(me, origin);
        if (held == nullptr) return;
        auto const numbers = view_of<const float, 1>(held->pieces[0]);
        auto const doubled = view_of<const double, 1>(held->pieces[1]);
        for (extent row = 0; row < numbers.extents[0]; ++row) {
          wrong += numbers(row) != number_of(origin, row) || doubled(row) != 2 * numbers(row);
        }
      },
      host_stream{});
  //! [ring_pass]
  if (wrong != 0) throw usage_error(say("rank %d saw %d wrong numbers", me, wrong));
  for (int step = 0; step < size; ++step) {
    if (order[static_cast<std::size_t>(step)] != (me + size - step) % size) throw usage_error(say("order"));
  }
}

template <class Wrap>
void check(Wrap wrap) {
  for (int const size : {1, 2, 3, 4, 5, 7, 8, 9, 16}) {
    std::vector<counters> books(static_cast<std::size_t>(size)), few(books);
    run_ranks(size, [&](threads comm) {
      pass(wrap(comm), books[static_cast<std::size_t>(comm.rank())], [](int, int) { return true; });
      // Only the rank behind the owner, and the one three further on, want a parcel.
      pass(wrap(comm), few[static_cast<std::size_t>(comm.rank())],
           [size](int rank, int origin) { return rank == (origin + 1) % size || rank == (origin + 3) % size; });
    });
    for (int rank = 0; rank < size; ++rank) {
      extent bytes = 0, few_bytes = 0;
      for (int step = 0; step + 1 < size; ++step) {
        int const origin = (rank + size - step) % size;
        bytes += rows_of(origin) * 12;
        // Hop number step + 1 is made when somebody at that distance or further wants the parcel.
        if (step == 0 || (step < 3 && size > 3)) few_bytes += rows_of(origin) * 12;
      }
      CAPTURE(size);
      CAPTURE(rank);
      CHECK(books[static_cast<std::size_t>(rank)].total_bytes() == bytes);
      CHECK(books[static_cast<std::size_t>(rank)].steps == size - 1);
      CHECK(few[static_cast<std::size_t>(rank)].total_bytes() == few_bytes);
    }
  }
}

}  // namespace

TEST_CASE("every rank is shown every parcel in ring order, over lent memory") {
  check([](threads comm) { return comm; });
}

TEST_CASE("every rank is shown every parcel in ring order, through two buffers") {
  check([](threads comm) { return lending_hidden<threads>(comm); });
}

TEST_CASE("a visit that throws ends every rank, with its text") {
  for (int const size : {2, 3, 5, 8}) {
    for (int thrower = 0; thrower < size; ++thrower) {
      for (int at = 0; at < size; ++at) {
        std::vector<std::string> texts(static_cast<std::size_t>(size));
        auto const one = [&](threads comm) {
          std::vector<float> mine(1000, 1.0F);
          auto const describe = [](float* data) { return parcel<1>{{piece_of(dense(data, extent{1000}), role::key)}}; };
          int visits = 0;
          try {
            ring_pass(
                comm, describe(mine.data()), [&](int, int) { return describe(nullptr); }, [](int, int) { return true; },
                [&](int, const parcel<1>*) {
                  if (comm.rank() == thrower && visits++ == at) throw usage_error(say("no room at step %d", at));
                },
                host_stream{});
          } catch (const error& e) {
            texts[static_cast<std::size_t>(comm.rank())] = e.what();
            throw;
          }
        };
        std::string const text = "no room at step " + std::to_string(at);
        CHECK_THROWS_WITH_AS(run_ranks(size, one, {.deadline = std::chrono::seconds(5)}), text.c_str(), usage_error);
        for (const std::string& each : texts) CHECK((each.empty() || each.find(text) != std::string::npos));
      }
    }
  }
}
