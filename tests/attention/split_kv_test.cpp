// sanitize: off
#include <ringfold/attention/split_kv.hpp>

#include <doctest/doctest.h>

#include <ringfold/attention/gather.hpp>
#include <ringfold/attention/query_ring.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/core/group.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/shifted.hpp>
#include <ringfold/testing/backward_laws.hpp>

#include "support/combinations.hpp"
#include "support/lending_hidden.hpp"

using namespace ringfold;

namespace {

constexpr reference_kernel kernel;
std::vector<int> const sizes = {1, 2, 3, 4, 5, 6, 9}, even_sizes = {4, 6};
constexpr reduction both[] = {reduction::all_to_all, reduction::tree};

template <class A>
void laws(const A& attend) {
  attention_laws<float>(attend);
  backward_laws<float>(attend);
}

/// Who owns the queries of a decoding step: one rank alone, or as many as there are.
layout owned(int kind, extent queries, int ranks) {
  std::vector<extent> lengths(static_cast<std::size_t>(ranks), 0);
  if (kind < 2) {
    (kind == 0 ? lengths.front() : lengths.back()) = queries;
    return uneven(queries, lengths);
  }
  return striped(queries, ranks);
}

}  // namespace

TEST_CASE("keys split over any number of ranks, both ways back, lent or received") {
  for (int const ranks : sizes) {
    run_ranks(ranks, [](threads comm) {
      for (auto const back : both) {
        laws(split_kv(comm, kernel, back));
        laws(split_kv(lending_hidden(comm), kernel, back));
      }
    });
  }
}

TEST_CASE("split keys nest over and under every other attention") {
  for (int const ranks : even_sizes) {
    run_ranks(ranks, [&](threads comm) {
      auto const g = grid(comm, ranks / 2, 2);
      auto const a = g.col(), b = g.row();
      for (auto const back : both) {
        laws(split_kv(a, ring(b, kernel), back));
        laws(ring(a, split_kv(b, kernel, back)));
        laws(split_kv(a, gather(b, kernel), back));
        laws(gather(a, split_kv(b, kernel, back), 2));
        laws(split_kv(a, ulysses(b, kernel), back));
        laws(ulysses(a, split_kv(b, kernel, back)));
        laws(split_kv(a, query_ring(b, kernel), back));
        laws(query_ring(a, split_kv(b, kernel, back)));
        laws(split_kv(b, split_kv(a, kernel, back), reduction::tree));
      }
    });
  }
  run_ranks(8, [](threads comm) {
    auto const nodes = grid(comm, 4, 2);
    auto const square = grid(nodes.col(), 2, 2);
    laws(split_kv(nodes.row(), query_ring(square.row(), ring(square.col(), kernel)), reduction::tree));
  });
}

TEST_CASE("decoding: every context from none on, some tokens at a time, whoever owns the queries") {
  std::uint64_t seed = 1;
  for (int const ranks : sizes) {
    for (extent const cached : {0, 1, ranks - 1, 20}) {
      for (extent const fresh : {1, 3}) {
        for (int owner = 0; owner < 3; ++owner) {
          extent const keys = cached + fresh;
          schedules::experiment<float> const e(
              owned(owner, fresh, ranks), striped(keys, ranks),
              {.batch = 2, .heads = 6, .kv_heads = owner + 1, .dim = 5, .value_dim = 3},
              bottom_right(causal(), fresh, keys), seed++);
          auto const exact = e.exact();
          for (auto const which : {schedules::name::split_kv, schedules::name::split_kv_by_tree}) {
            CAPTURE(ranks);
            CAPTURE(cached);
            CAPTURE(fresh);
            CAPTURE(owner);
            CAPTURE(static_cast<int>(which));
            auto const got = schedules::run(e, which, flash_kernel{}), again = schedules::run(e, which, flash_kernel{});
            CHECK(oracle::compare(got.o, exact.o).relative < 1e-6);
            CHECK(oracle::compare(got.lse, exact.lse).largest < 1e-5);
            CHECK(combinations::bitwise(got.o, again.o));
            CHECK(combinations::bitwise(got.lse, again.lse));
          }
        }
      }
    }
  }
}

TEST_CASE("queries that are the same on all ranks: each rank brings some of the rows, and gathers the outputs") {
  extent const heads = 4, dim = 6, context = 17;
  for (int const ranks : {1, 2, 3, 5, 8}) {
    schedules::experiment<float> const whole(contiguous(context, 1), {.heads = heads, .dim = dim}, causal(), 6);
    auto const exact = whole.exact();
    run_ranks(ranks, [&](threads comm) {
      posting lists;
      extent tokens = 0;
      for (extent const fresh : {1, 5, 1, 1, 7, 2}) {  // prefill and decode by turns
        extent const before = tokens;
        tokens += fresh;
        auto const replicated = [&](const std::vector<double>& of) {
          std::vector<float> made;
          for (extent i = before * heads * dim; i < tokens * heads * dim; ++i) {
            made.push_back(static_cast<float>(of[static_cast<std::size_t>(i)]));
          }
          return made;
        };
        std::vector<float> q_memory = replicated(whole.q), out_memory(q_memory.size()), part_memory(q_memory.size());
        view<const float, 4> const q = dense(q_memory.data(), 1, fresh, heads, dim);
        auto const out = dense(out_memory.data(), 1, fresh, heads, dim);
        auto const k_memory = sharded::scatter<float>(whole.k, striped(context, ranks), comm.rank(), whole.order, 1,
                                                      heads, dim),
                   v_memory = sharded::scatter<float>(whole.v, striped(context, ranks), comm.rank(), whole.order, 1,
                                                      heads, dim);
        auto const cached = [&](const auto& of) {
          return slice(view<const float, 4>(of), row_axis, 0, striped(tokens, ranks).rows(comm.rank()));
        };
        auto const k = cached(k_memory), v = cached(v_memory);
        //! [split_kv]
        layout const cache = striped(tokens, comm.size());   // token t is on rank t mod P: some may hold none yet
        layout const rows = contiguous(fresh, comm.size());  // of the new tokens' queries, which every rank has
        auto const mine = [&](int rank) {
          return range{rows.rows(rank) > 0 ? rows.segments(rank)[0].first : 0, rows.rows(rank)};
        };
        plan attend(
            split_kv(comm, reference_kernel{}, reduction::tree),
            make_problem<float>(rows, cache, {.heads = heads, .dim = dim}, bottom_right(causal(), fresh, tokens)));
        auto const part = dense(part_memory.data(), 1, mine(comm.rank()).count, heads, dim);
        attend.forward(slice(q, row_axis, mine(comm.rank())), k, v, part);
        all_gather(comm, part, out, row_axis, mine, lists, host_stream{});
        //! [split_kv]
        std::vector<double> const wanted(exact.o.begin() + before * heads * dim,
                                         exact.o.begin() + tokens * heads * dim);
        if (oracle::compare(out_memory, wanted).relative > 1e-6) throw usage_error(say("rank %d: not it", comm.rank()));
      }
    });
  }
}

TEST_CASE("with every key seen, both ways back send the published number, and no keys") {
  extent const rows = 3, batch = 2, heads = 6, dim = 5, value_dim = 7;
  for (int const ranks : sizes) {
    CAPTURE(ranks);
    int rounds = 0;
    while (1 << rounds < ranks) ++rounds;
    schedules::experiment<bf16> e(contiguous(rows * ranks, ranks), striped(50, ranks),
                                  {.batch = batch, .heads = heads, .kv_heads = 2, .dim = dim, .value_dim = value_dim},
                                  full(), 2);
    std::vector<double> dout(static_cast<std::size_t>(batch * rows * ranks * heads * value_dim), 0.5),
        dlse(static_cast<std::size_t>(batch * rows * ranks * heads), 0.25);
    extent const each = (ranks - 1) * batch * rows * heads;
    for (auto const which : {schedules::name::split_kv, schedules::name::split_kv_by_tree}) {
      extent const steps = which == schedules::name::split_kv ? 2 * (ranks > 1) : (ranks > 1) + rounds;
      auto const forward = schedules::run(e, which, kernel);
      auto const backward = schedules::run_backward(e, which, kernel, dout, dlse);
      for (int rank = 0; rank < ranks; ++rank) {
        auto const& book = forward.books[static_cast<std::size_t>(rank)];
        auto const& back = backward.books[static_cast<std::size_t>(rank)];
        CHECK(book.bytes[static_cast<int>(role::query)] == each * dim * 2);
        CHECK(book.bytes[static_cast<int>(role::output)] == each * value_dim * 4);
        CHECK(book.bytes[static_cast<int>(role::lse)] == each * 4);
        CHECK(book.total_bytes() == each * (dim * 2 + (value_dim + 1) * 4));
        CHECK(book.messages == (ranks - 1) * (1 + 2));
        CHECK(book.steps == steps);
        CHECK(back.total_bytes() == each * ((dim + value_dim) * 2 + 2 * 4 + dim * 4));
        CHECK(back.messages == (ranks - 1) * (4 + 1));
        CHECK(back.steps == steps);
      }
    }
  }
}

TEST_CASE("queries gather once for any number of blocks, and only where keys see them") {
  // Two nodes of two ranks; each rank's own and the other node's keys come by, and its queries travel once.
  schedules::experiment<float> const e(contiguous(8, 4), {.heads = 2, .dim = 4}, full(), 3);
  std::vector<counters> books(4), windows(4);
  run_ranks(4, [&](threads plain) {
    auto const me = static_cast<std::size_t>(plain.rank());
    auto const shard = [&](const std::vector<double>& of) {
      return sharded::scatter<float>(of, e.tokens, plain.rank(), e.order, 1, 2, 4);
    };
    auto const q = shard(e.q), k = shard(e.k), v = shard(e.v);
    std::vector<float> out(2 * 2 * 4);
    auto const call = [&](auto attend, const auto& p) {
      plan(attend, p).forward(q, k, v, dense(out.data(), 1, 2, 2, 4));
    };
    auto const g = grid(counted(plain, books[me]), 2, 2);
    call(ring(g.col(), split_kv(g.row(), kernel)), e.problem());
    call(split_kv(counted(plain, windows[me]), kernel), make_problem<float>(e.tokens, e.shape, window(2)));
  });
  for (std::size_t rank = 0; rank < 4; ++rank) {
    CHECK(books[rank].bytes[static_cast<int>(role::query)] == 2 * 2 * 4 * 4);
    CHECK(books[rank].bytes[static_cast<int>(role::output)] == 2 * 2 * 4 * 4);
    CHECK(windows[rank].bytes[static_cast<int>(role::query)] == (rank > 0) * 2 * 2 * 4 * 4);
    CHECK(windows[rank].bytes[static_cast<int>(role::output)] == (rank < 3) * 2 * 2 * 4 * 4);
  }
}
