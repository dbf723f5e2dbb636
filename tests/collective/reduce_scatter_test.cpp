#include <ringfold/collective/reduce_scatter.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <ringfold/comm/threads.hpp>
#include <ringfold/wrap/counted.hpp>

using namespace ringfold;

namespace {
float term(int rank, extent row, extent column) {
  return std::sin(static_cast<float>(rank * 31 + row * 7 + column)) * 1e3F;
}
}  // namespace

TEST_CASE("each rank gets its part of the sum, added in the order of ranks to the last bit") {
  for (int const size : {1, 2, 3, 4, 5, 7, 8, 9, 16}) {
    auto const place = [](int rank) {
      range at;
      for (int r = 0; r <= rank; ++r) at.first += at.count, at.count = (r + 1) % 3;
      return at;
    };
    extent const rows = place(size - 1).first + place(size - 1).count;
    std::vector<counters> books(static_cast<std::size_t>(size));
    run_ranks(size, [&](threads plain) {
      counted comm(plain, books[static_cast<std::size_t>(plain.rank())]);
      range const here = place(comm.rank());
      std::vector<float> all(static_cast<std::size_t>(rows * 3 + 1)),
          mine(static_cast<std::size_t>(here.count * 3 + 1));
      auto const from = dense(all.data(), rows, 3);
      for (extent row = 0; row < rows; ++row) {
        for (extent c = 0; c < 3; ++c) from(row, c) = term(comm.rank(), row, c);
      }
      auto const before = all;
      posting lists;
      alignas(64) unsigned char memory[8192];
      arena<> scratch(memory, sizeof memory);
      auto const to = dense(mine.data(), here.count, 3);
      //! [reduce_scatter]
      reduce_scatter(comm, from, to, 0, place, lists, scratch, host_stream{});
      //! [reduce_scatter]
      for (extent row = 0; row < here.count; ++row) {
        for (extent c = 0; c < 3; ++c) {
          float sum = term(0, here.first + row, c);
          for (int rank = 1; rank < size; ++rank) sum += term(rank, here.first + row, c);
          if (to(row, c) != sum) throw usage_error(say("rank %d: a wrong sum", comm.rank()));
        }
      }
      if (all != before) throw usage_error(say("an input was written"));
    });
    for (int rank = 0; rank < size; ++rank) {
      CHECK(books[static_cast<std::size_t>(rank)].total_bytes() == (rows - place(rank).count) * 12);
    }
  }
}
