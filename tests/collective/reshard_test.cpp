#include <ringfold/collective/reshard.hpp>

#include <doctest/doctest.h>

#include <vector>

#include <ringfold/comm/threads.hpp>
#include <ringfold/wrap/counted.hpp>

using namespace ringfold;

namespace {

constexpr extent batch = 2, dim = 3;
extent rows_of(int rank) { return rank % 4; }  // uneven, some empty
range rows_at(int rank) {                      // where they lie in the whole
  range place;
  for (int r = 0; r <= rank; ++r) place.first += place.count, place.count = rows_of(r);
  return place;
}
float number_of(extent b, extent row, extent head, extent d) {
  return static_cast<float>(((b * 100 + row) * 20 + head) * 4 + d);
}

}  // namespace

TEST_CASE("rows become heads and heads become rows again, whoever holds how many") {
  for (int const size : {1, 2, 3, 4, 5, 7, 8, 9, 16}) {
    for (extent const heads : {extent{16}, extent{19}}) {
      std::vector<counters> books(static_cast<std::size_t>(size));
      run_ranks(size, [&](threads plain) {
        counted comm(plain, books[static_cast<std::size_t>(plain.rank())]);
        int const me = comm.rank();
        range const here = rows_at(me), all = rows_at(size - 1);
        extent const rows = all.first + all.count;
        auto const heads_at = [&](int rank) {
          extent const each = heads / size, more = heads % size;
          return range{rank * each + (rank < more ? rank : more), each + (rank < more)};
        };
        range const mine = heads_at(me);
        std::vector<float> sequence(static_cast<std::size_t>(batch * rows_of(me) * heads * dim + 1)), back(sequence),
            share(static_cast<std::size_t>(batch * rows * mine.count * dim + 1));
        auto const from = dense(sequence.data(), batch, rows_of(me), heads, dim);
        // Heads outermost: strided pieces on the receiving side.
        auto const to = transposed(dense(share.data(), batch, mine.count, rows, dim), row_axis, head_axis);
        for (extent b = 0; b < batch; ++b) {
          for (extent row = 0; row < rows_of(me); ++row) {
            for (extent h = 0; h < heads; ++h) {
              for (extent d = 0; d < dim; ++d) from(b, row, h, d) = number_of(b, here.first + row, h, d);
            }
          }
        }
        posting lists;
        //! [reshard]
        reshard(comm, from, to, cut{head_axis, heads_at, row_axis, rows_at}, lists, host_stream{}, role::query);
        //! [reshard]
        int wrong = 0;
        for (extent b = 0; b < batch; ++b) {
          for (extent row = 0; row < rows; ++row) {
            for (extent h = 0; h < mine.count; ++h) {
              for (extent d = 0; d < dim; ++d) wrong += to(b, row, h, d) != number_of(b, row, mine.first + h, d);
            }
          }
        }
        auto const home = dense(back.data(), batch, rows_of(me), heads, dim);
        reshard(comm, to, home, cut{row_axis, rows_at, head_axis, heads_at}, lists, host_stream{}, role::output);
        if (wrong != 0 || back != sequence) throw usage_error(say("rank %d: %d wrong numbers", me, wrong));
      });
      for (int rank = 0; rank < size; ++rank) {
        const counters& book = books[static_cast<std::size_t>(rank)];
        extent const each = heads / size + (rank < heads % size), all = rows_at(size - 1).first + rows_of(size - 1);
        CHECK(book.bytes[static_cast<int>(role::query)] == batch * rows_of(rank) * (heads - each) * dim * 4);
        CHECK(book.bytes[static_cast<int>(role::output)] == batch * (all - rows_of(rank)) * each * dim * 4);
      }
    }
  }
}

TEST_CASE("any axis pair: batch becomes dim") {
  run_ranks(3, [](threads comm) {
    int const me = comm.rank();
    // Rank r holds batches 2r, 2r+1 of 6 with all of 6 dims; then all 6 batches with dims 2r, 2r+1.
    std::vector<double> mine(2 * 5 * 6), got(6 * 5 * 2);
    auto const from = dense(mine.data(), 2, 5, 6), to = dense(got.data(), 6, 5, 2);
    for (int b = 0; b < 2; ++b) {
      for (int i = 0; i < 5; ++i) {
        for (int d = 0; d < 6; ++d) from(b, i, d) = (me * 2 + b) * 100 + i * 10 + d;
      }
    }
    auto const pair = [](int rank) { return range{2 * rank, 2}; };
    posting lists;
    reshard(comm, from, to, cut{2, pair, 0, pair}, lists, host_stream{});
    for (int b = 0; b < 6; ++b) {
      for (int i = 0; i < 5; ++i) {
        for (int d = 0; d < 2; ++d) {
          if (to(b, i, d) != b * 100 + i * 10 + me * 2 + d) throw usage_error(say("wrong"));
        }
      }
    }
  });
}
