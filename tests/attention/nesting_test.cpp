// sanitize: off
#include <ringfold/attention/ring.hpp>

#include <doctest/doctest.h>

#include <ringfold/kernel/reference.hpp>

#include "support/schedules.hpp"

using namespace ringfold;

namespace {

// Runs an attention made by `make` over `ranks` threads and holds it against the definition.
template <class Make>
double error_of(int ranks, extent heads, Make make) {
  schedules::experiment<float> e(zigzag(37, ranks), {.batch = 2, .heads = heads, .kv_heads = heads / 2, .dim = 8},
                                 causal(), 1);
  auto const exact = e.exact();
  std::vector<float> o(exact.o.size());
  std::mutex guard;
  run_ranks(ranks, [&](threads comm) {
    int const me = comm.rank();
    extent const rows = e.tokens.rows(me);
    auto const bshd = sharded::memory_order::bshd;
    auto const q = sharded::scatter<float>(e.q, e.tokens, me, bshd, 2, heads, 8);
    auto const k = sharded::scatter<float>(e.k, e.tokens, me, bshd, 2, heads / 2, 8);
    auto const v = sharded::scatter<float>(e.v, e.tokens, me, bshd, 2, heads / 2, 8);
    std::vector<float> mine(static_cast<std::size_t>(2 * rows * heads * 8));
    auto attend = make(comm);
    plan run(attend, e.problem());
    run.forward(q, k, v, dense(mine.data(), 2, rows, heads, 8));
    std::lock_guard const lock(guard);
    sharded::gather(o, mine, e.tokens, me, 2, heads * 8);
  });
  return oracle::compare(o, exact.o).relative;
}

}  // namespace

TEST_CASE("ring attention and the double ring") {
  //! [ring]
  auto const ring_attention = [](threads comm) { return ring(comm, reference_kernel{}); };
  auto const double_ring = [](threads comm) {
    auto nodes_and_places = grid(comm, 3, 2);  // three nodes of two ranks
    return ring(nodes_and_places.col(), ring(nodes_and_places.row(), reference_kernel{}));
  };
  //! [ring]
  CHECK(error_of(5, 4, ring_attention) < 1e-6);
  CHECK(error_of(6, 4, double_ring) < 1e-6);
}

TEST_CASE("gathered attention, few heads or all at once") {
  //! [gather]
  auto const one_head_at_a_time = [](threads comm) { return gather(comm, reference_kernel{}); };
  auto const all_heads_at_once = [](threads comm) { return gather(comm, reference_kernel{}, 4); };
  //! [gather]
  CHECK(error_of(5, 8, one_head_at_a_time) < 1e-6);
  CHECK(error_of(5, 8, all_heads_at_once) < 1e-6);
}

TEST_CASE("gathered heads that no query head of an inner rank reads") {
  for (extent const at_once : {1, 3}) {
    CAPTURE(at_once);
    auto const gathered = [&](threads comm) {
      auto const g = grid(comm, 2, 2);
      return gather(g.col(), ulysses(g.row(), reference_kernel{}), at_once);
    };
    CHECK(error_of(4, 8, gathered) < 1e-6);  // of key heads 0 .. 3 each rank reads two
  }
}

TEST_CASE("Ulysses attention and USP") {
  //! [ulysses]
  auto const ulysses_attention = [](threads comm) { return ulysses(comm, reference_kernel{}); };
  auto const usp = [](threads comm) {
    auto ranks = grid(comm, 3, 2);  // heads are split over rows of two, and rings run down the columns
    return ulysses(ranks.row(), ring(ranks.col(), reference_kernel{}));
  };
  //! [ulysses]
  CHECK(error_of(4, 4, ulysses_attention) < 1e-6);
  CHECK(error_of(6, 4, usp) < 1e-6);
}

TEST_CASE("three levels nest: rows, columns and planes of a grid of eight, in any order") {
  auto const planes = [](threads comm, auto make) {
    auto const cut_rows = grid(comm, 4, 2);
    auto const rest = cut_rows.col();  // four ranks, every second
    auto const square = grid(rest, 2, 2);
    return make(cut_rows.row(), square.row(), square.col());
  };
  reference_kernel kernel;
  CHECK(error_of(8, 4, [&](threads comm) {
          return planes(comm, [&](auto a, auto b, auto c) { return ring(a, ring(b, ring(c, kernel))); });
        }) < 1e-6);
  CHECK(error_of(8, 4, [&](threads comm) {
          return planes(comm, [&](auto a, auto b, auto c) { return ulysses(a, ring(b, gather(c, kernel))); });
        }) < 1e-6);
  CHECK(error_of(8, 4, [&](threads comm) {
          return planes(comm, [&](auto a, auto b, auto c) { return ulysses(a, ulysses(b, ring(c, kernel))); });
        }) < 1e-6);
  CHECK(error_of(8, 4, [&](threads comm) {
          return planes(comm, [&](auto a, auto b, auto c) { return gather(c, ulysses(b, ring(a, kernel))); });
        }) < 1e-6);
}
