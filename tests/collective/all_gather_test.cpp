#include <ringfold/collective/all_gather.hpp>

#include <doctest/doctest.h>

#include <vector>

#include <ringfold/comm/threads.hpp>
#include <ringfold/wrap/counted.hpp>

using namespace ringfold;

TEST_CASE("every rank gets every rank's rows, uneven and empty ones too") {
  for (int const size : {1, 2, 3, 4, 5, 7, 8, 9, 16}) {
    auto const place = [](int rank) {
      range at;
      for (int r = 0; r <= rank; ++r) at.first += at.count, at.count = r % 3;
      return at;
    };
    range const last = place(size - 1);
    extent const rows = last.first + last.count;
    std::vector<counters> books(static_cast<std::size_t>(size));
    run_ranks(size, [&](threads plain) {
      counted comm(plain, books[static_cast<std::size_t>(plain.rank())]);
      range const here = place(comm.rank());
      std::vector<int> storage;
      std::vector<float> mine(static_cast<std::size_t>(here.count * 2 + 1)),
          all(static_cast<std::size_t>(rows * 2 + 1), -1);
      auto const from = dense(mine.data(), here.count, 2);
      for (extent row = 0; row < here.count; ++row) {
        from(row, 0) = static_cast<float>(here.first + row), from(row, 1) = static_cast<float>(comm.rank());
      }
      posting lists;
      //! [all_gather]
      all_gather(comm, from, dense(all.data(), rows, 2), 0, place, lists, host_stream{}, role::state);
      //! [all_gather]
      for (int rank = 0; rank < size; ++rank) {
        for (extent row = place(rank).first; row < place(rank).first + place(rank).count; ++row) {
          bool const right = all[static_cast<std::size_t>(2 * row)] == static_cast<float>(row) &&
                             all[static_cast<std::size_t>(2 * row + 1)] == static_cast<float>(rank);
          if (!right) throw usage_error(say("rank %d: row %lld is wrong", comm.rank(), static_cast<long long>(row)));
        }
      }
    });
    for (int rank = 0; rank < size; ++rank) {
      CHECK(books[static_cast<std::size_t>(rank)].bytes[static_cast<int>(role::state)] ==
            (size - 1) * place(rank).count * 8);
    }
  }
}

TEST_CASE("an own part that does not fit is refused before it is copied") {
  run_ranks(2, [](threads comm) {
    std::vector<float> mine(100), all(10);
    posting lists;
    bool refused = false;
    try {
      all_gather(
          comm, dense(mine.data(), 50, 2), dense(all.data(), 5, 2), 0,
          [](int r) {
            return range{2 * r, 2};
          },
          lists, host_stream{});
    } catch (const shape_error&) {
      refused = true;
    }
    if (!refused) throw usage_error(say("accepted"));
  });
}
