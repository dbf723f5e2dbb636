// sanitize: threads
// Conformance, communication: cases that implementations of sequence parallelism have failed.
#include <doctest/doctest.h>

#include <ringfold/kernel/reference.hpp>

#include "support/coordinates.hpp"
#include "support/definition.hpp"
#include "support/lending_hidden.hpp"
#include "support/sanitized.hpp"
#include "support/shaken.hpp"

using namespace ringfold;

namespace {

using experiment = schedules::experiment<float>;
using definition::same;

}  // namespace

TEST_CASE("15. backward works with the keys of each step, and every gradient comes home to its owner") {
  for (int const ranks : {2, 3, 4, 5, 6}) {
    for (auto const which : schedules::names) {
      for (any_mask const& mask : {any_mask(full()), any_mask(causal()), any_mask(window(4, 2))}) {
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(which));
        coordinates::check(schedules::experiment<double>(contiguous(3 * ranks + 1, ranks),
                                                         {.heads = 6, .kv_heads = 3, .dim = 2}, mask, 1),
                           which);
      }
    }
  }
}

TEST_CASE("15. gradients that come from one rank alone reach all others, and queries without any get exactly 0") {
  int const ranks = 4;
  for (auto const which : schedules::names) {
    experiment const e(zigzag(16, ranks), {.heads = 4, .dim = 3}, any_mask(full()), 6);
    for (int source = 0; source < ranks; ++source) {
      CAPTURE(static_cast<int>(which));
      CAPTURE(source);
      std::vector<double> dout(e.q.size(), 0.0), dlse(e.q.size() / 3, 0.0);
      e.tokens.for_each_position(source, [&](extent, extent position) {
        for (extent i = 0; i < 12; ++i)
          dout[static_cast<std::size_t>(position * 12 + i)] = 1.0 + 0.25 * static_cast<double>(i);
      });
      auto const exact = oracle::backward(e.sizes(), e.q, e.k, e.v, dout, dlse, [](extent, extent) { return true; });
      auto const got = schedules::run_backward(e, which, reference_kernel{}, dout, dlse);
      CHECK(oracle::compare(got.dq, exact.dq).relative < 1e-6);
      CHECK(oracle::compare(got.dk, exact.dk).relative < 1e-6);
      CHECK(oracle::compare(got.dv, exact.dv).relative < 1e-6);
      for (int other = 0; other < ranks; ++other) {
        e.tokens.for_each_position(other, [&](extent, extent position) {
          if (other != source) CHECK(definition::is(got.dq, 1, 16, position, 0));
        });
      }
    }
  }
}

TEST_CASE(
    "16. threads: late messages, eager and late sends, garbage in what receives: the same bits, nothing left over") {
  int const rounds = sanitized ? 2 : 6;
  for (int const ranks : {2, 3, 6}) {
    if (sanitized && ranks != 3) continue;
    for (auto const which : schedules::names) {
      experiment const e(zigzag(25, ranks), {.batch = 2, .heads = 6, .kv_heads = 3, .dim = 3}, any_mask(causal()), 8);
      definition::cotangents const of(e);
      auto const calm = schedules::run_backward(e, which, reference_kernel{}, of.out, of.lse);
      for (int round = 0; round < rounds; ++round) {
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(which));
        CAPTURE(round);
        auto const how = round % 2 == 0 ? delivery::late : delivery::eager;
        auto const seed = static_cast<std::uint64_t>(round);
        // Several calls on one wire, so that the last messages of one meet the first of the next.
        auto const lent = schedules::run_backward(
            e, [&](auto comm, auto kernel, auto f) { schedules::with(which, shaken(comm, how, seed), kernel, f); },
            reference_kernel{}, of.out, of.lse, 3);
        auto const copied = schedules::run_backward(
            e,
            [&](auto comm, auto kernel, auto f) {
              schedules::with(which, shaken(lending_hidden(comm), how, seed), kernel, f);
            },
            reference_kernel{}, of.out, of.lse, 3);
        CHECK(same(lent, calm));
        CHECK(same(copied, calm));
        for (const auto* each : {&lent, &copied}) {
          for (const auto& book : each->books) CHECK(book.in_flight == 0);
        }
      }
    }
  }
}

TEST_CASE("16. threads: blocks and gradients of two levels on two wires at once, each with an order of its own") {
  experiment const e(zigzag(25, 6), {.heads = 2, .dim = 3}, any_mask(causal()), 9);
  definition::cotangents const of(e);
  auto const one_wire = definition::check(e, schedules::name::double_ring, reference_kernel{});
  schedules::backward_outcome<float> two_wires(e);
  std::mutex guard;
  run_ranks(6, [&](threads comm) {
    threads const second = split(comm);
    auto const make = [&](auto first, auto kernel, auto f) {
      shaken const inner(first, delivery::late, 1);
      shaken const outer(second, delivery::late, 2);
      f(ring(grid(outer, 3, 2).col(), ring(grid(inner, 3, 2).row(), kernel)));
    };
    schedules::run_rank_backward(e, make, comm, reference_kernel{}, of.out, of.lse, two_wires, guard, 4);
  });
  CHECK(same(one_wire, two_wires));
}

TEST_CASE("16. threads: what was lent is the owner's again once a call returns, however late the others are") {
  for (auto const which : schedules::names) {
    experiment const e(contiguous(24, 4), {.heads = 4, .dim = 2}, any_mask(full()), 10);
    auto const exact = schedules::run(e, which, reference_kernel{});
    std::atomic<int> wrong{0};
    run_ranks(4, [&](threads comm) {
      int const me = comm.rank();
      auto const order = sharded::memory_order::bshd;
      auto const shard = [&](const std::vector<double>& of) {
        return sharded::scatter<float>(of, e.tokens, me, order, 1, 4, 2);
      };
      auto q = shard(e.q), k = shard(e.k), v = shard(e.v);
      auto const before = std::array{q.memory, k.memory, v.memory};
      auto out = sharded::make_shard<float>(order, 1, 6, 4, 2);
      counters book;
      schedules::with(which, shaken(counted(comm, book), delivery::late, 5), reference_kernel{}, [&](auto attend) {
        plan run(attend, e.problem());
        for (int call = 0; call < 5; ++call) {
          q.memory = before[0], k.memory = before[1], v.memory = before[2];
          run.forward(q, k, v, out.whole);
          for (auto* each : {&q, &k, &v}) std::fill(each->memory.begin(), each->memory.end(), NAN);
          std::vector<float> got(exact.o.size());
          schedules::keep(got, out, e.tokens, me);
          for (std::size_t i = 0; i < 6 * 8; ++i) {
            std::size_t const at = static_cast<std::size_t>(me) * 6 * 8 + i;
            wrong += std::memcmp(&got[at], &exact.o[at], sizeof(float)) != 0;
          }
        }
      });
    });
    CAPTURE(static_cast<int>(which));
    CHECK(wrong == 0);
  }
}

TEST_CASE("17. blocks that nobody needs are skipped by sender and receiver alike, whoever needs whom") {
  std::mt19937_64 random(4);
  for (int round = 0; round < (sanitized ? 10 : 60); ++round) {
    int const ranks = 2 + round % 5;
    // Whether the queries of a rank see keys of another: any pattern at all, and of a needed block few pairs.
    std::vector<std::vector<int>> needs(static_cast<std::size_t>(ranks),
                                        std::vector<int>(static_cast<std::size_t>(ranks)));
    for (auto& row : needs) {
      for (int& each : row) each = static_cast<int>(random() % 3 == 0 ? 1 + random() % 4 : 0);
    }
    layout const tokens = contiguous(3 * ranks, ranks);
    any_mask const mask([=](extent i, extent j) {
      int const need = needs[static_cast<std::size_t>(i / 3)][static_cast<std::size_t>(j / 3)];
      return need == 4 || (need > 0 && i % 3 == need - 1 && j % 3 == 2);
    });
    for (auto const which : schedules::names) {
      CAPTURE(round);
      CAPTURE(static_cast<int>(which));
      definition::check(experiment(tokens, {.heads = 6, .kv_heads = 2, .dim = 3}, mask, random()), which,
                        reference_kernel{});
    }
  }
}
