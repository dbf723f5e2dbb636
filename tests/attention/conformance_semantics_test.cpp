// sanitize: off
// Conformance, what a call means: cases that implementations of sequence parallelism have failed.
#include <doctest/doctest.h>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/alibi.hpp>
#include <ringfold/sequence/bias.hpp>
#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/dropout.hpp>

#include "support/definition.hpp"

using namespace ringfold;
using combinations::bitwise;

namespace {

/// The line of a refusal; "accepted" where there is none.
template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (const usage_error& e) {
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE(
    "23. what cannot be is refused with one line: masks, documents, scores and layouts, before there is a problem") {
  CHECK(refusal([] { window(-1, 2); }) == "window: widths -1, 2; none may be negative");
  CHECK(refusal([] { documents{3, -1}; }) == "documents: a length of -1; none may be negative");
  std::vector<extent> const unsorted = {0, 5, 3}, late = {1, 5};
  CHECK(refusal([&] { documents::between(unsorted); }) ==
        "documents: boundary 2 is 3 behind 5; they begin with 0 and never descend");
  CHECK(refusal([&] { documents::between(late); }) ==
        "documents: boundary 0 is 1 behind 0; they begin with 0 and never descend");
  CHECK(refusal([] {
          top_left(causal(), documents{3, 4}, documents{7});
        }) == "packed: 2 documents of queries, 1 of keys; both need the same number");
  CHECK(refusal([] { zigzag(documents{5, 6}, 10, 2); }) == "zigzag: documents of 11 tokens in a sequence of 10");
  CHECK(refusal([] { uneven(10, {4, 5}); }) == "uneven: the lengths add up to 9, but the sequence has 10 tokens");
  CHECK(refusal([] { dropout(1.0, 1); }) == "dropout: a probability of 1; it must be in [0, 1)");
  CHECK(refusal([] { dropout(-0.25, 1); }) == "dropout: a probability of -0.25; it must be in [0, 1)");
  CHECK(refusal([] { dropout(std::nan(""), 1); }) == "dropout: a probability of nan; it must be in [0, 1)");
  CHECK(refusal([] { softcap(0); }) == "softcap: a cap of 0; it must be in [1e-30, 1e30]");
  CHECK(refusal([] { alibi(0); }) == "alibi: 0 heads; at least 1 is needed");
  CHECK(refusal([] { scaled{0.5} | scaled{2.0}; }) == "score: scales of 0.5 and 2; give one");

  auto const with = [](auto score) {
    return refusal([&] { make_problem<float>(contiguous(8, 2), {.batch = 2, .heads = 4, .dim = 4}, causal(), score); });
  };
  std::vector<float> numbers(2 * 4 * 8 * 8), gradient(8);
  auto const biased = [&](extent b, extent h, extent i, extent j) {
    return with(bias(dense(numbers.data(), b, h, i, j), dense(gradient.data(), 1, 1, 1, 1)));
  };
  CHECK(biased(2, 4, 8, 8) == "accepted");
  CHECK(biased(1, 4, 1, 8) == "accepted");
  CHECK(biased(3, 4, 8, 8) == "bias: 3 batches do not broadcast to 2; 1 and 2 do");
  CHECK(biased(2, 2, 8, 8) == "bias: 2 heads do not broadcast to 4; 1 and 4 do");
  CHECK(biased(2, 4, 4, 8) == "bias: 4 queries do not broadcast to 8; 1 and 8 do");
  CHECK(biased(2, 4, 8, 0) == "bias: 0 keys do not broadcast to 8; 1 and 8 do");
  CHECK(with(bias(dense(numbers.data(), 1, 1, 1, 1), dense(gradient.data(), 1, 3, 1, 1))) ==
        "bias gradient: 3 heads do not broadcast to 4; 1 and 4 do");
  CHECK(with(bias(dense(numbers.data(), 1, 4, 1, 1), dense(numbers.data(), 1, 4, 1, 1))) ==
        "bias: its gradient overlaps it; give it memory of its own");
  CHECK(with(bias(dense(static_cast<float*>(nullptr), 1, 1, 1, 1))) == "bias: it has no memory");
  CHECK(with(alibi(3)) == "alibi: slopes for 3 heads, the problem has 4");
  CHECK(with(scaled{INFINITY}) == "problem: a scale of inf; it must be in [-1e30, 1e30]");
  CHECK(refusal([] { make_problem<float>(contiguous(8, 2), contiguous(8, 4), {.dim = 4}); }) ==
        "problem: queries lie on 2 ranks, keys on 4; both need the same number, at least 1");
  CHECK(refusal([] {
          make_problem<float>(contiguous(8, 2), {.dim = 4}, documents{5, 4} & causal());
        }) == "queries: documents of 9 tokens in a sequence of 8");
}

TEST_CASE("23. and in calls, on every rank, before anything is sent; the communicator stays good") {
  for (auto const which : schedules::names) {
    CAPTURE(static_cast<int>(which));
    std::vector<counters> books(2);
    std::vector<std::vector<std::string>> lines(2);
    run_ranks(2, [&](threads plain) {
      auto const me = static_cast<std::size_t>(plain.rank());
      schedules::with(which, counted(plain, books[me]), reference_kernel{}, [&](auto attend) {
        std::vector<double> memory[8], numbers(4 * 4), more(numbers);
        auto const tensor = [&](int i) {
          memory[i].resize(4 * 4 * 3);
          return dense(memory[i].data(), 1, 4, 4, 3);
        };
        auto const q = tensor(0), k = tensor(1), v = tensor(2), out = tensor(3), dout = tensor(4), dq = tensor(5),
                   dk = tensor(6), dv = tensor(7);
        auto const lse = dense(numbers.data(), 1, 4, 4), none = view<double, 3>{};
        auto const heads = [&](extent count) { return dense(more.data(), count); };
        auto const of_heads = [&](extent count) { return dense(more.data() + 8, count); };
        auto const p = make_problem<double>(contiguous(8, 2), {.heads = 4, .dim = 3}, causal());
        plan run(attend, p);
        backward_plan back(attend, p);
        auto const told = [&](auto f) { lines[me].push_back(refusal(f)); };
        told([&] { plan(attend, make_problem<double>(contiguous(8, 3), {.heads = 4, .dim = 3}, causal())); });
        told([&] { run.forward(q, dense(memory[1].data(), 1, 3, 4, 3), v, out); });
        told([&] { run.forward(q, k, v, out, lse, heads(3)); });
        told([&] { run.forward(q, k, v, q); });
        told([&] { back.backward(q, k, v, out, lse, dout, dq, dk, dv, none, heads(5)); });
        told([&] { back.backward(q, k, v, out, lse, dout, dq, dk, dv, none, heads(4), of_heads(2)); });
        told([&] { back.backward(q, k, v, out, lse, dout, dq, dk, dv, none, {}, of_heads(4)); });
        told([&] { back.backward(q, k, v, out, none, dout, dq, dk, dv); });
        told([&] { back.backward(q, k, v, out, lse, dout, dq, dk, dk); });
        lines[me].push_back(books[me].steps == 0 && books[me].messages == 0 ? "nothing sent" : "sent");
        run.forward(q, k, v, out, lse);
        back.backward(q, k, v, out, lse, dout, dq, dk, dv);
      });
    });
    std::vector<std::string> const expected = {
        "plan: the layout is for 3 ranks, the attention spans 2",
        "forward: k has 3 rows, the problem has 4",
        "forward: sinks has 3 heads, the problem has 4",
        "forward: out overlaps q; outputs need memory of their own",
        "backward: sinks has 5 heads, the problem has 4",
        "backward: dsinks has 2 heads, the problem has 4",
        "backward: dsinks asked for without sinks; give those of the forward call",
        "backward: lse has 0 batch, the problem has 1",
        "backward: dk overlaps dv; outputs need memory of their own",
        "nothing sent"};
    for (const auto& told : lines) {
      REQUIRE(told.size() == expected.size());
      for (std::size_t i = 0; i < told.size(); ++i) CHECK(told[i] == expected[i]);
    }
    CHECK(books[0].steps > 0);
  }
}

TEST_CASE("26. a rank of padding may hold anything, and its loss be no number: nobody's gradients learn of it") {
  int const ranks = 3;
  extent const n = 12, real = 7;  // the last rank has padding only, the one before some
  schedules::experiment<float> const clean(contiguous(n, ranks), {.heads = 3, .dim = 4, .value_dim = 5},
                                           documents{3, 4} & causal(), 2);
  definition::cotangents const of(clean);
  for (double const garbage : std::initializer_list<double>{NAN, INFINITY, -INFINITY, 1e300}) {
    auto dirty = clean;
    auto dout = of.out, dlse = of.lse;
    for (auto* each : {&dirty.q, &dirty.k, &dirty.v, &dout, &dlse}) {
      for (std::size_t i = each->size() * real / n; i < each->size(); ++i) (*each)[i] = garbage;
    }
    for (auto const which : schedules::names) {
      CAPTURE(garbage);
      CAPTURE(static_cast<int>(which));
      auto const expect = [&](auto by, auto kernel) {
        auto const a = schedules::run_backward(clean, by, kernel, of.out, of.lse),
                   b = schedules::run_backward(dirty, by, kernel, dout, dlse);
        CHECK(bitwise(a.forward.o, b.forward.o));
        CHECK(bitwise(a.forward.lse, b.forward.lse));
        CHECK(bitwise(a.dq, b.dq));
        CHECK(bitwise(a.dk, b.dk));
        CHECK(bitwise(a.dv, b.dv));
        for (extent token = real; token < n; ++token) {
          CHECK(definition::is(b.dq, 1, n, token, 0));
          CHECK(definition::is(b.dk, 1, n, token, 0));
          CHECK(definition::is(b.dv, 1, n, token, 0));
        }
      };
      expect(which, flash_kernel{});
      if (which != schedules::name::ring) continue;
      expect([](auto comm, auto kernel, auto f) { f(ring(comm, kernel)); }, reference_kernel{});
    }
  }
}

TEST_CASE("27. every two-level ring is the flat one: the same bits where it merges in the same order") {
  for (int const ranks : {4, 6, 8}) {
    for (band const mask : {full(), causal(), window(5, 2)}) {
      schedules::experiment<double> const e(zigzag(3 * ranks + 1, ranks), {.heads = 2, .dim = 3}, mask, 5);
      definition::cotangents const of(e);
      auto const flat = schedules::run_backward(e, schedules::name::ring, reference_kernel{}, of.out, of.lse);
      for (int across = 1; across <= ranks; ++across) {
        if (ranks % across != 0) continue;
        CAPTURE(ranks);
        CAPTURE(across);
        auto const got = definition::check(
            e,
            [&](auto comm, auto kernel, auto f) {
              auto const g = grid(comm, comm.size() / across, across);
              f(ring(g.col(), ring(g.row(), kernel)));
            },
            reference_kernel{});
        bool const whole = across == 1 || across == ranks;
        if (whole) {
          CHECK(bitwise(got.dk, flat.dk));
          CHECK(bitwise(got.dv, flat.dv));
        }
        // The last rank of a row goes down its row, then down the row before it: in the flat ring's order.
        for (int rank = 0; rank < ranks; ++rank) {
          if (!whole && rank % across != across - 1) continue;
          e.tokens.for_each_position(rank, [&](extent, extent position) {
            for (std::size_t i = 0; i < 6; ++i) {
              std::size_t const at = static_cast<std::size_t>(position) * 6 + i;
              CHECK(got.forward.o[at] == flat.forward.o[at]);
              CHECK(got.forward.lse[at / 3] == flat.forward.lse[at / 3]);
              CHECK(got.dq[at] == flat.dq[at]);
            }
          });
        }
      }
    }
  }
}
