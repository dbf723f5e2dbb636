// sanitize: off
#include <ringfold/attention/query_ring.hpp>

#include <doctest/doctest.h>

#include <ringfold/attention/gather.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/split_kv.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/core/group.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/testing/backward_laws.hpp>
#include <ringfold/wrap/counted.hpp>

#include "support/lending_hidden.hpp"
#include "support/schedules.hpp"

using namespace ringfold;

namespace {

constexpr reference_kernel kernel;
std::vector<int> const sizes = {1, 2, 3, 4, 5, 6, 9}, even_sizes = {4, 6};

/// Forward and backward against the definition, over layouts and masks.
template <class A>
void laws(const A& attend) {
  attention_laws<float>(attend);
  backward_laws<float>(attend);
}

}  // namespace

TEST_CASE("queries around rings of any size, lent or received") {
  for (int const ranks : sizes) {
    run_ranks(ranks, [](threads comm) {
      //! [query_ring]
      auto const attend = query_ring(comm, reference_kernel{});
      //! [query_ring]
      laws(attend);
      laws(query_ring(lending_hidden(comm), kernel));
    });
  }
}

TEST_CASE("a query ring nests over and under every other attention") {
  for (int const ranks : even_sizes) {
    run_ranks(ranks, [&](threads comm) {
      auto const g = grid(comm, ranks / 2, 2);
      auto const a = g.col(), b = g.row();
      laws(query_ring(a, ring(b, kernel)));
      laws(ring(a, query_ring(b, kernel)));
      laws(query_ring(a, gather(b, kernel)));
      laws(gather(a, query_ring(b, kernel), 2));
      laws(query_ring(a, ulysses(b, kernel)));
      laws(ulysses(a, query_ring(b, kernel)));
      laws(query_ring(b, query_ring(a, kernel)));
    });
  }
  run_ranks(8, [](threads comm) {
    auto const nodes = grid(comm, 4, 2);
    auto const square = grid(nodes.col(), 2, 2);
    laws(ring(nodes.row(), query_ring(square.row(), ulysses(square.col(), kernel))));
    auto const received = grid(lending_hidden(comm), 4, 2);
    laws(query_ring(received.row(), ring(received.col(), kernel)));
  });
}

TEST_CASE("its partials merge in the base that the caller asks for") {
  int const ranks = 3;
  auto const tokens = striped(11, ranks);
  schedules::experiment<double> e(tokens, {.heads = 2, .dim = 3}, causal(), 4);
  auto const exact = e.exact();
  std::vector<double> lse(exact.lse.size());
  std::mutex guard;
  run_ranks(ranks, [&](threads comm) {
    auto p = e.problem();
    p.owner = comm.rank();
    extent const rows = tokens.rows(p.owner);
    auto const shard = [&](const std::vector<double>& of) {
      return sharded::scatter<double>(of, tokens, p.owner, e.order, 1, 2, 3);
    };
    auto const q = shard(e.q), k = shard(e.k), v = shard(e.v);
    std::vector<double> o(static_cast<std::size_t>(rows * 6)), mine(static_cast<std::size_t>(rows * 2));
    auto const attend = query_ring(comm, kernel);
    arena<> measure;
    (void)attend.state(p, measure);
    sharded::workspace memory(measure.used());
    auto s = attend.state(p, memory.arena());
    attend.prepare(s, view<const double, 4>(q), {});
    attend.accumulate(s, block<double>{k, v, p.owner}, {});
    attend.close(s, partial<double, host_space, base_2>{dense(o.data(), 1, rows, 2, 3), dense(mine.data(), 1, rows, 2)},
                 {});
    std::lock_guard const lock(guard);
    sharded::gather(lse, mine, tokens, p.owner, 1, 2);
  });
  for (std::size_t i = 0; i < lse.size(); ++i) CHECK(lse[i] == doctest::Approx(exact.lse[i] * 1.4426950408889634));
}

TEST_CASE("with every key seen, what it sends is the published number, and both directions are busy at once") {
  extent const rows = 4, batch = 2, heads = 6, dim = 5, value_dim = 7;
  for (int const ranks : sizes) {
    CAPTURE(ranks);
    schedules::experiment<bf16> e(zigzag(rows * ranks, ranks),
                                  {.batch = batch, .heads = heads, .kv_heads = 2, .dim = dim, .value_dim = value_dim},
                                  full(), 2);
    std::vector<double> dout(static_cast<std::size_t>(batch * rows * ranks * heads * value_dim), 0.5),
        dlse(static_cast<std::size_t>(batch * rows * ranks * heads), 0.25);
    auto const forward = schedules::run(e, schedules::name::query_ring, kernel);
    auto const backward = schedules::run_backward(e, schedules::name::query_ring, kernel, dout, dlse);
    extent const each = (ranks - 1) * batch * rows * heads;
    extent const query = batch * rows * heads * dim * 2, result = batch * rows * heads * (value_dim + 1) * 4;
    for (int rank = 0; rank < ranks; ++rank) {
      auto const& book = forward.books[static_cast<std::size_t>(rank)];
      auto const& back = backward.books[static_cast<std::size_t>(rank)];
      CHECK(book.bytes[static_cast<int>(role::query)] == each * dim * 2);
      CHECK(book.bytes[static_cast<int>(role::output)] == each * value_dim * 4);
      CHECK(book.bytes[static_cast<int>(role::lse)] == each * 4);
      CHECK(book.total_bytes() == each * (dim * 2 + (value_dim + 1) * 4));
      CHECK(book.messages == (ranks - 1) * (1 + 2));
      CHECK(book.steps == 2 * (ranks - 1));
      CHECK(book.high_water == (ranks == 1 ? 0 : ranks == 2 ? std::max(query, result) : query + result));
      CHECK(back.bytes[static_cast<int>(role::query)] == each * dim * 2);
      CHECK(back.bytes[static_cast<int>(role::gradient)] == each * (value_dim * 2 + dim * 4));
      CHECK(back.bytes[static_cast<int>(role::lse)] == each * 2 * 4);
      CHECK(back.bytes[static_cast<int>(role::key)] + back.bytes[static_cast<int>(role::value)] == 0);
      CHECK(back.messages == (ranks - 1) * (4 + 1));
      CHECK(back.steps == 2 * (ranks - 1));
    }
  }
}

TEST_CASE("queries go no further than keys are seen: back over a window, and never on under a causal mask") {
  int const ranks = 5;
  extent const rows = 4, query = rows * 2 * 3 * 3 * 8, o = query, lse = rows * 2 * 3 * 8;  // bytes of a shard
  auto const sent = [&](band mask) {
    schedules::experiment<double> e(contiguous(rows * ranks, ranks), {.batch = 2, .heads = 3, .dim = 3}, mask, 5);
    return schedules::run(e, schedules::name::query_ring, kernel).books;
  };
  auto const halo = sent(window(rows)), all_before = sent(causal());
  for (int rank = 0; rank < ranks; ++rank) {
    CAPTURE(rank);
    auto const& near = halo[static_cast<std::size_t>(rank)];
    int const before = rank > 0, behind = rank + 1 < ranks;
    CHECK(near.total_bytes() == before * query + behind * (o + lse));
    CHECK(near.messages == before + 2 * behind);
    auto const& far = all_before[static_cast<std::size_t>(rank)];
    CHECK(far.bytes[static_cast<int>(role::query)] == (rank > 0 ? ranks - rank : 0) * query);
    CHECK(far.bytes[static_cast<int>(role::lse)] == (ranks - 1 - rank) * lse);
  }
}
