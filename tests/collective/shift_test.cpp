#include <ringfold/collective/shift.hpp>

#include <doctest/doctest.h>

#include <ringfold/comm/threads.hpp>

using namespace ringfold;

TEST_CASE("views move by a distance, around the ends or not") {
  for (int const size : {1, 2, 3, 4, 5, 7, 8, 9, 16}) {
    for (int distance = -size - 1; distance <= size + 1; ++distance) {
      for (bool const wraps : {false, true}) {
        run_ranks(size, [&](threads comm) {
          int const me = comm.rank();
          float mine = static_cast<float>(me), got = -1;
          posting lists;
          //! [shift]
          bool const came = shift(comm, dense(&mine, 1), dense(&got, 1), distance, wraps, lists, host_stream{});
          //! [shift]
          int const source = wraps ? ((me - distance) % size + size) % size : me - distance;
          bool const expected = source >= 0 && source < size;
          if (came != expected || got != static_cast<float>(expected ? source : -1)) {
            throw usage_error(say("rank %d of %d, distance %d: got %g", me, size, distance, static_cast<double>(got)));
          }
        });
      }
    }
  }
}
