// sanitize: off
// Conformance, what a call costs: cases that implementations of sequence parallelism have failed.
#include <doctest/doctest.h>

#include <ringfold/attention/canonical.hpp>
#include <ringfold/kernel/reference.hpp>

#include "support/definition.hpp"
#include "support/lending_hidden.hpp"

using namespace ringfold;

TEST_CASE("20. a ring keeps two blocks, and backward four gradients more, on any number of ranks; gathered keys grow") {
  extent const rows = 8, block_bytes = rows * 2 * (16 + 32) * 2, gradient_bytes = 2 * block_bytes;
  extent gathered_before = 0;
  for (int const ranks : {3, 4, 8, 16}) {
    CAPTURE(ranks);
    auto const of = [&](int size) {
      return make_problem<bf16>(contiguous(rows * size, size), {.heads = 4, .kv_heads = 2, .dim = 16, .value_dim = 32});
    };
    extent const alone = workspace_bytes(reference_kernel{}, of(1)),
                 alone_back = backward_workspace_bytes(reference_kernel{}, of(1));
    std::atomic<extent> gathered{0};
    std::vector<counters> forward(static_cast<std::size_t>(ranks)), backward(forward);
    run_ranks(ranks, [&](threads plain) {
      auto const me = static_cast<std::size_t>(plain.rank());
      counters book;
      auto const comm = counted(lending_hidden(plain), book);
      auto const attend = ring(comm, reference_kernel{});
      auto const expect = [&](const char* what, extent got, extent wanted) {
        if (got != wanted)
          throw usage_error(
              say("%s: %lld bytes, not %lld", what, static_cast<long long>(got), static_cast<long long>(wanted)));
      };
      auto const p = of(ranks);
      plan run(attend, p);
      backward_plan back(attend, p);
      expect("forward", run.workspace(), alone + 2 * block_bytes);
      expect("backward", back.workspace(), alone_back + 2 * block_bytes + 4 * gradient_bytes);
      gathered = workspace_bytes(gather(comm, reference_kernel{}), p) - alone;

      std::vector<bf16> memory[7];
      std::vector<float> lses(rows * 4);
      auto const tensor = [&](int i, extent heads, extent dim) {
        memory[i].resize(static_cast<std::size_t>(rows * heads * dim));
        return dense(memory[i].data(), 1, rows, heads, dim);
      };
      auto const q = tensor(0, 4, 16), k = tensor(1, 2, 16), v = tensor(2, 2, 32), out = tensor(3, 4, 32),
                 dq = tensor(4, 4, 16), dk = tensor(5, 2, 16), dv = tensor(6, 2, 32);
      auto const lse = dense(lses.data(), 1, rows, 4);
      run.forward(q, k, v, out, lse);
      forward[me] = book, book = {};
      back.backward(q, k, v, out, lse, out, dq, dk, dv);
      backward[me] = book;
    });
    CHECK(gathered > gathered_before);
    gathered_before = gathered;
    for (std::size_t rank = 0; rank < forward.size(); ++rank) {
      CHECK(forward[rank].high_water == block_bytes);
      CHECK(backward[rank].high_water <= block_bytes + 2 * gradient_bytes);
    }
  }
}

TEST_CASE("21. a canonical kernel gives the same bits on any number of ranks, by any schedule that takes it") {
  schedules::experiment<float> e(zigzag(45, 1, 4), {.heads = 16, .kv_heads = 4, .dim = 3}, causal(), 12);
  definition::cotangents const of(e);
  auto const kernel = canonical(reference_kernel{}, 4);
  auto const one = schedules::run_backward(e, schedules::name::ring, kernel, of.out, of.lse);
  for (int const ranks : {2, 3, 4, 7, 16}) {
    for (const layout& tokens : {zigzag(45, ranks, 4), contiguous(45, ranks, 4), striped(45, ranks, 4)}) {
      e.tokens = tokens;
      for (auto const which : schedules::names) {
        if (!schedules::takes_canonical(which)) continue;
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(which));
        CHECK(definition::same(schedules::run_backward(e, which, kernel, of.out, of.lse), one));
      }
    }
  }
}

TEST_CASE("22. what is sent is what the papers count, role by role: no wasted hop, nothing widened, no head twice") {
  using schedules::name;
  extent const n = 2, batch = 2, heads = 24, kv_heads = 12, dim = 5, value_dim = 3;
  double const keys = static_cast<double>(batch * n * kv_heads), queries = static_cast<double>(batch * n * heads);
  double const element = 2, sum = 4, d = static_cast<double>(dim), dv = static_cast<double>(value_dim);
  for (int const ranks : {1, 2, 3, 4, 6, 12}) {
    double const P = ranks, C = schedules::columns(ranks), R = P / C;
    schedules::experiment<bf16> const e(
        contiguous(n * ranks, ranks),
        {.batch = batch, .heads = heads, .kv_heads = kv_heads, .dim = dim, .value_dim = value_dim}, full(), 1);
    definition::cotangents const of(e);
    for (auto const which : {name::ring, name::gather, name::direct, name::ulysses, name::usp, name::double_ring,
                             name::query_ring, name::split_kv, name::split_kv_by_tree}) {
      // How often what a rank has of keys goes to another rank as a whole, and so of queries.
      double const ring_of_keys = which == name::ulysses || merges(which) ? 0 : which == name::usp ? R - 1 : P - 1;
      double const exchanged = which == name::ulysses ? (P - 1) / P : which == name::usp ? (C - 1) / C : 0;
      double const of_keys = ring_of_keys + exchanged, of_queries = merges(which) ? P - 1 : exchanged;
      auto const got = schedules::run_backward(e, which, reference_kernel{}, of.out, of.lse);
      for (int rank = 0; rank < ranks; ++rank) {
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(which));
        auto const sent = [&](const counters& book, role what, double wanted) {
          CAPTURE(static_cast<int>(what));
          CHECK(book.bytes[static_cast<int>(what)] == std::llround(wanted));
        };
        auto const& forward = got.forward.books[static_cast<std::size_t>(rank)];
        sent(forward, role::key, of_keys * keys * d * element);
        sent(forward, role::value, of_keys * keys * dv * element);
        sent(forward, role::query, of_queries * queries * d * element);
        sent(forward, role::output, of_queries * queries * dv * sum);
        sent(forward, role::lse, of_queries * queries * sum);
        auto const& backward = got.books[static_cast<std::size_t>(rank)];
        sent(backward, role::key, of_keys * keys * d * element);
        sent(backward, role::value, of_keys * keys * dv * element);
        sent(backward, role::query, of_queries * queries * d * element);
        sent(backward, role::lse, of_queries * queries * 2 * sum);
        // Gradients of keys go as far as keys went, in the accumulation type; dout goes there and dq comes back.
        sent(backward, role::gradient,
             of_keys * keys * (d + dv) * sum + of_queries * queries * (dv * element + d * sum));
      }
    }
  }
}
