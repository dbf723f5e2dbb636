// sanitize: threads
#include <ringfold/recurrence/plan.hpp>

#include <doctest/doctest.h>

#include <string>
#include <thread>

#include "support/allocations.hpp"
#include "support/recurrences.hpp"

using namespace ringfold;
using namespace recurrences;

namespace {

template <class T, gating Gates, class Schedule>
void check(const experiment& e, Schedule schedule, extent chunk, with_states with, sharded::memory_order order) {
  CAPTURE(e.tokens.ranks());
  CAPTURE(e.tokens.tokens());
  CAPTURE(chunk);
  auto const result = run<T, Gates>(e, schedule, chunk, with, order, false);
  CHECK(right<T>(e, result.made, with, false));
  if constexpr (Schedule::carries_states) {
    auto const bytes = chain_bytes(e.tokens, e.packed, state_bytes<T>(e), false);
    for (std::size_t rank = 0; rank < bytes.size(); ++rank) CHECK(result.forward[rank].total_bytes() == bytes[rank]);
  }
}

/// A decay whose work within chunks does not end before its rank has sent all it has to.
struct patient_decay : decay<gating::per_token> {
  counters* book;
  extent messages;

  patient_decay(counters* counts, extent sent) : decay<gating::per_token>{8}, book(counts), messages(sent) {}
  template <class W, class P, class Operands, class V, class F>
  void within(W& work, const P& p, const Operands& of, const V& out, F meanwhile) const {
    decay<gating::per_token>::within(work, p, of, out, meanwhile);
    for (long tries = 0; book->messages < messages; ++tries) {
      if (tries > 100'000'000) throw usage_error(say("a state waits for work that does not need it"));
      meanwhile();
      std::this_thread::yield();
    }
  }
};

}  // namespace

TEST_CASE("a recurrence over ranks") {
  run_ranks(4, [](threads comm) {
    //! [recurrence]
    // Two documents of 40 and 24 tokens on 4 ranks, 16 tokens each; a gate for each token, head and row of the state.
    auto const problem = make_recurrence<float>(contiguous(64, comm.size()), {.heads = 2, .dim = 4}, documents{40, 24});
    recurrence_plan run(recurrence(comm, schedule::chain{2}, decay<gating::per_row>{.chunk = 16}), problem);

    std::vector<float> q(16 * 2 * 4, 1), k(q), v(q), out(q), gates(q.size(), -0.5f), final(2 * 4 * 4);
    auto const tokens = [](std::vector<float>& of) { return dense(of.data(), 1, 16, 2, 4); };
    run.forward({tokens(q), tokens(k), tokens(v), tokens(gates)}, tokens(out),
                {.final = dense(final.data(), 1, 2, 4, 4)});
    //! [recurrence]
    // Rank 2 begins with the last 8 tokens of a document; its ninth row is the first of the next, and has seen one key.
    if (comm.rank() == 2 && out[8 * 8] != 2) throw usage_error(say("the first token of a document sees itself"));
    if (comm.rank() == 3 && !(final[0] > 2.5f && final[0] < 2.55f)) throw usage_error(say("1 / (1 - exp(-1/2))"));
  });
}

TEST_CASE("all element types: sums in float, rounded once") {
  for (int const ranks : {1, 3, 8}) {
    documents const packed{20, 1, 0, 44};
    experiment const e(zigzag(65, ranks), packed, {2, 3, 5, 6}, gating::per_row, 5);
    check<float, gating::per_row>(e, schedule::chain{}, 16, {}, sharded::memory_order::bhsd);
    check<bf16, gating::per_row>(e, schedule::chain{6}, 16, {}, sharded::memory_order::packed);
    check<f16, gating::per_row>(e, schedule::hillis_steele{}, 16, {}, sharded::memory_order::planar);
    experiment const f(zigzag(65, ranks), packed, {2, 3, 5, 6}, gating::per_token, 6);
    check<float, gating::per_token>(f, schedule::recursive_doubling{}, 7, {}, sharded::memory_order::bshd);
  }
}

TEST_CASE("bytes are those of the schedule: elements, or states") {
  for (int const ranks : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16}) {
    experiment const e(contiguous(37, ranks), documents{37}, {2, 2, 3, 4}, gating::per_row, 7);
    for_each_schedule([&](auto schedule) {
      auto const books = run<float, gating::per_row>(e, schedule, 4, {}, sharded::memory_order::bshd, false).forward;
      for (int rank = 0; rank < ranks; ++rank) {
        extent const messages = schedule.messages(ranks, rank);
        extent const bytes = schedule.carries_states ? (rank + 1 < ranks ? state_bytes<float>(e) : 0)
                                                     : messages * element_bytes<float>(e);
        auto const& book = books[static_cast<std::size_t>(rank)];
        CHECK(book.total_bytes() == bytes);
        CHECK(book.bytes[static_cast<int>(role::state)] == bytes);
        CHECK(book.messages == messages * (schedule.carries_states ? 1 : 2));
      }
    });
  }
}

TEST_CASE("chains are each other and the serial fold over the same slots, bit for bit") {
  for (int const ranks : {2, 3, 5, 8}) {
    for (int const kind : {0, 1, 2, 3, 4, 5}) {
      std::mt19937_64 random(static_cast<std::uint64_t>(10 * ranks + kind));
      documents const packed{13, 0, 20, 1, 7};
      auto const tokens = layout_of(kind, 41, ranks, packed, random);
      experiment const e(tokens, packed, {1, 2, 3, 4}, gating::per_row, 11);
      auto const whole = run<float, gating::per_row>(e, schedule::chain{});
      auto const pieces = run<float, gating::per_row>(e, schedule::chain{4});
      CHECK(whole.made == pieces.made);
      // The same slots, all on one rank: nothing is sent, and a fold is all that is left.
      std::vector<segment> slots;
      for (const token_slot& each : slots_in_order(tokens)) slots.push_back({each.first, 1, each.count});
      experiment const serial(layout(41, {slots}), packed, {1, 2, 3, 4}, gating::per_row, 11);
      auto const folded = run<float, gating::per_row>(serial, schedule::chain{});
      CHECK(whole.made == folded.made);
    }
  }
}

TEST_CASE("a sequence may be continued from its final state, bit for bit as if it had not been cut") {
  experiment e(contiguous(24, 1), documents{24}, {1, 2, 3, 4}, gating::per_token, 3, false);
  auto const part_of = [&](extent first, extent count, std::vector<double> initial) {
    experiment part(contiguous(count, 1), documents{count}, e.size, e.gates, 1);
    auto const cut = [&](const std::vector<double>& from, extent width) {
      return std::vector<double>(from.begin() + first * 2 * width, from.begin() + (first + count) * 2 * width);
    };
    part.in.q = cut(e.in.q, 3), part.in.k = cut(e.in.k, 3), part.in.v = cut(e.in.v, 4);
    part.in.gates = cut(e.in.gates, 1), part.in.initial = std::move(initial);
    return run<float, gating::per_token>(part, schedule::chain{}).made;
  };
  auto const first = part_of(0, 12, e.in.initial), second = part_of(12, 12, first.final);
  experiment two(contiguous(24, 2), documents{24}, {1, 2, 3, 4}, gating::per_token, 3, false);
  auto const whole = run<float, gating::per_token>(two, schedule::chain{}).made;
  CHECK(std::equal(first.out.begin(), first.out.end(), whole.out.begin()));
  CHECK(std::equal(second.out.begin(), second.out.end(), whole.out.begin() + static_cast<long>(first.out.size())));
  CHECK(second.final == whole.final);
}

TEST_CASE("strong gates over many tokens: products underflow, and nothing else happens") {
  extent const tokens = 20000;
  for (bool const by_row : {false, true}) {
    experiment e(contiguous(tokens, 4), documents{tokens}, {1, 2, 2, 2}, by_row ? gating::per_row : gating::per_token,
                 9, false);
    extent const width = e.gate_width();
    for (std::size_t i = 0; i < e.in.gates.size(); ++i) {
      e.in.gates[i] = i / static_cast<std::size_t>(width) % 2 == 0 ? -5 : -0x1p-10;  // one head strong, one slow
    }
    e.define();
    auto const at = sharded::memory_order::bshd;
    if (by_row) {
      check<float, gating::per_row>(e, schedule::doubling_123{}, 64, {}, at);
      check<float, gating::per_row>(e, schedule::chain{}, 64, {}, at);
    } else {
      check<float, gating::per_token>(e, schedule::recursive_doubling{}, 64, {}, at);
      check<float, gating::per_token>(e, schedule::chain{}, 64, {}, at);
    }
  }
}

TEST_CASE("states travel while the work within chunks is done") {
  for_each_schedule([&](auto schedule) {
    run_ranks(5, [&](threads comm) {
      counters book;
      auto const p = make_recurrence<float>(contiguous(30, 5), {.heads = 1, .dim = 4});
      patient_decay const rule(&book, schedule.messages(5, comm.rank()) * (schedule.carries_states ? 1 : 2));
      recurrence_plan run(recurrence(counted(comm, book), schedule, rule), p);
      std::vector<float> q(6 * 4, 1), k(q), v(q), out(q), gates(6, -1);
      auto const tokens = [](std::vector<float>& of) { return dense(of.data(), 1, 6, 1, 4); };
      run.forward({tokens(q), tokens(k), tokens(v), dense(gates.data(), 1, 6, 1)}, tokens(out));
    });
  });
}

TEST_CASE("a call allocates nothing once it has run before" * doctest::skip(!allocations::counted)) {
  documents const packed{20, 21};
  experiment const e(zigzag(41, 4), packed, {1, 2, 3, 4}, gating::per_head, 3);
  auto const check_schedule = [&](auto schedule) {
    run_ranks(4, [&](threads comm) {
      auto const p = make_recurrence<bf16>(e.tokens, {.heads = 2, .dim = 3, .value_dim = 4}, packed);
      auto const over = recurrence(comm, schedule, decay<gating::per_head>{8});
      recurrence_plan forward(over, p);
      recurrence_backward_plan backward(over, p);
      auto const order = sharded::memory_order::bhsd;
      int const me = comm.rank();
      auto const q = sharded::scatter<bf16>(e.in.q, e.tokens, me, order, 1, 2, 3);
      auto const k = sharded::scatter<bf16>(e.in.k, e.tokens, me, order, 1, 2, 3);
      auto const v = sharded::scatter<bf16>(e.in.v, e.tokens, me, order, 1, 2, 4);
      auto const out = sharded::make_shard<bf16>(order, 1, e.tokens.rows(me), 2, 4);
      auto const dq = sharded::make_shard<bf16>(order, 1, e.tokens.rows(me), 2, 3);
      auto const dv = sharded::make_shard<bf16>(order, 1, e.tokens.rows(me), 2, 4);
      auto const dk = sharded::make_shard<bf16>(order, 1, e.tokens.rows(me), 2, 3);
      std::vector<float> gates{-1, -0.5f}, dgates(2), kept(static_cast<std::size_t>(forward.slots()) * 2 * 3 * 4);
      auto const entered = dense(kept.data(), forward.slots(), 2, 3, 4);
      auto const step = [&] {
        forward.forward({q, k, v, dense(gates.data(), 2)}, out.whole, {.entered = entered});
        backward.backward({q, k, v, dense(gates.data(), 2)}, entered, out.whole,
                          {dq.whole, dk.whole, dv.whole, dense(dgates.data(), 2)});
      };
      for (int i = 0; i < 100; ++i) step();
      long const before = allocations::here;
      for (int i = 0; i < 20; ++i) step();
      if (allocations::here != before) throw usage_error(say("%ld allocations", allocations::here - before));
    });
  };
  check_schedule(schedule::chain{2}), check_schedule(schedule::doubling_123{});
}

TEST_CASE("what does not fit is refused with one line before anything is sent") {
  counters book;
  run_ranks(1, [&](threads plain) {
    counted comm(plain, book);
    auto const over = recurrence(comm, schedule::chain{}, decay<gating::per_token>{});
    auto const problem = make_recurrence<float>(contiguous(6, 1), {.batch = 2, .heads = 3, .dim = 4, .value_dim = 5});
    recurrence_plan run(over, problem);
    std::vector<float> a(1000), b(1000), c(1000), d(1000), g(100), s(1000);
    auto const q = dense(a.data(), 2, 6, 3, 4), k = dense(b.data(), 2, 6, 3, 4), v = dense(c.data(), 2, 6, 3, 5),
               out = dense(d.data(), 2, 6, 3, 5), state = dense(s.data(), 2, 3, 4, 5);
    auto const gates = dense(g.data(), 2, 6, 3);
    using none = view<float, 4>;
    auto const text_of = [&](auto q_of, auto k_of, auto v_of, auto gates_of, auto out_of, none initial = {},
                             none final = {}, none entered = {}) -> std::string {
      try {
        run.forward({q_of, k_of, v_of, gates_of}, out_of, {initial, final, entered});
      } catch (const usage_error& e) {
        return e.what();
      }
      return "accepted";
    };
    CHECK(text_of(q, k, v, gates, out, state, state) == "accepted");
    CHECK(text_of(q, dense(b.data(), 2, 6, 3, 3), v, gates, out) == "forward: k has 3 dim, the problem has 4");
    CHECK(text_of(q, k, v, dense(g.data(), 2, 5, 3), out) == "forward: gates has 5 rows, the problem has 6");
    CHECK(text_of(q, k, v, gates, q) == "forward: out has 4 dim, the problem has 5");
    CHECK(text_of(q, k, v, gates, v) == "forward: out overlaps v; outputs need memory of their own");
    CHECK(text_of(q, k, v, gates, out, dense(s.data(), 2, 3, 5, 4)) ==
          "forward: initial has 5 state rows, the problem has 4");
    CHECK(text_of(q, k, v, gates, out, state, dense(c.data(), 2, 3, 4, 5)) ==
          "forward: final overlaps v; outputs need memory of their own");
    CHECK(text_of(q, k, v, gates, out, state, state, state) ==
          "forward: entered overlaps initial; outputs need memory of their own");
    g[17] = 0.25f;
    CHECK(text_of(q, k, v, gates, out) ==
          "forward: gates hold 0.25; they are logarithms of decays, so allowed: at most 0");
    g[17] = NAN;
    CHECK(text_of(q, k, v, gates, out).substr(0, 19) == "forward: gates hold");
    recurrence_plan plain_run(recurrence(comm, schedule::chain{}, decay<gating::none>{}), problem);
    CHECK_THROWS_WITH_AS(plain_run.forward({q, k, v, dense(g.data(), 3)}, out),
                         "forward: gates given to a rule that has none; pass {}", usage_error);

    auto const tokens = contiguous(6, 1);
    CHECK_THROWS_WITH_AS(make_recurrence<float>(tokens, {.dim = 4}, documents{2, 3}),
                         "recurrence: documents of 5 tokens in a sequence of 6; they must tile it", shape_error);
    CHECK_THROWS_WITH_AS(make_recurrence<float>(tokens, {.heads = 4, .kv_heads = 2, .dim = 4}),
                         "recurrence: 4 heads with 2 kv heads; each head has a state of its own, so allowed: 4",
                         shape_error);
    CHECK_THROWS_WITH_AS(recurrence_plan(over, make_recurrence<float>(contiguous(6, 2), {.dim = 4})),
                         "recurrence: the layout is for 2 ranks, the communicator has 1", usage_error);
    CHECK_THROWS_WITH_AS(recurrence(comm, schedule::chain{}, decay<gating::none>{0}),
                         "decay: a chunk of 0 tokens; at least 1 is needed", usage_error);
    CHECK_THROWS_WITH_AS(recurrence_plan(recurrence(comm, schedule::chain{6}, decay<gating::none>{}), problem),
                         "scan: a state in 6 pieces; allowed: 1 to 5", usage_error);
  });
  CHECK(book.steps == 0);
}
