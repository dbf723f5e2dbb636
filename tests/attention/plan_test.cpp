#include <ringfold/attention/plan.hpp>

#include <doctest/doctest.h>

#include <array>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/canonical.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/documents.hpp>

#include "support/allocations.hpp"
#include "support/schedules.hpp"

using namespace ringfold;

TEST_CASE("a plan runs any number of times") {
  run_ranks(4, [](threads comm) {
    //! [plan]
    auto const problem = make_problem<float>(zigzag(64, comm.size()), {.heads = 4, .kv_heads = 2, .dim = 16}, causal());
    auto attend = ring(comm, reference_kernel{});
    plan run(attend, problem);  // checks, and takes all memory

    std::vector<float> q(16 * 4 * 16, 1), k(16 * 2 * 16, 1), v(16 * 2 * 16, 1), out(16 * 4 * 16);
    run.forward(dense(q.data(), 1, 16, 4, 16), dense(k.data(), 1, 16, 2, 16), dense(v.data(), 1, 16, 2, 16),
                dense(out.data(), 1, 16, 4, 16));
    //! [plan]
    if (out.front() != 1 || out.back() != 1) throw usage_error(say("a mean of ones is one"));
  });
}

TEST_CASE("no schedule allocates in a step once it has run before" * doctest::skip(!allocations::counted)) {
  schedules::experiment<bf16> e(striped(40, 4), {.heads = 4, .kv_heads = 2, .dim = 8}, causal(), 3);
  for (auto const which : schedules::names) {
    CAPTURE(static_cast<int>(which));
    run_ranks(4, [&](threads comm) {
      int const me = comm.rank();
      auto const order = sharded::memory_order::bhsd;
      auto const q = sharded::scatter<bf16>(e.q, e.tokens, me, order, 1, 4, 8);
      auto const k = sharded::scatter<bf16>(e.k, e.tokens, me, order, 1, 2, 8);
      auto const v = sharded::scatter<bf16>(e.v, e.tokens, me, order, 1, 2, 8);
      extent const rows = e.tokens.rows(me);
      auto const room = [&](extent heads) { return sharded::make_shard<bf16>(order, 1, rows, heads, 8); };
      auto const out = room(4), dq = room(4), dk = room(2), dv = room(2);
      std::vector<float> lses(static_cast<std::size_t>(rows * 4));
      auto const lse = dense(lses.data(), 1, rows, 4);
      schedules::with(which, comm, reference_kernel{}, [&](auto attend) {
        plan run(attend, e.problem());
        backward_plan back(attend, e.problem());
        auto const call = [&] {
          run.forward(q, k, v, out.whole, lse);
          back.backward(q, k, v, out.whole, lse, q, dq.whole, dk.whole, dv.whole);
        };
        // How far ranks run apart decides when the mailboxes have grown to what they need.
        for (int i = 0; i < 200; ++i) call();
        long const before = allocations::here;
        for (int i = 0; i < 30; ++i) call();
        if (allocations::here != before) {
          throw usage_error(say("schedule %d: %ld allocations", static_cast<int>(which), allocations::here - before));
        }
      });
    });
  }
}

TEST_CASE("chunks are opened and closed without allocating" * doctest::skip(!allocations::counted)) {
  auto const tokens = contiguous(40, 1);
  std::vector<float> memory[8], lses(40 * 4);
  for (auto& each : memory) each.resize(40 * 4 * 8, 0.5F);
  auto const tensor = [&](int i, extent heads) { return dense(memory[i].data(), 1, 40, heads, 8); };
  auto const q = tensor(0, 4), k = tensor(1, 2), v = tensor(2, 2), out = tensor(3, 4), dout = tensor(4, 4),
             dq = tensor(5, 4), dk = tensor(6, 2), dv = tensor(7, 2);
  auto const lse = dense(lses.data(), 1, 40, 4);
  auto const p = make_problem<float>(tokens, {.heads = 4, .kv_heads = 2, .dim = 8}, documents({13, 20}) & causal());
  auto const attend = canonical(reference_kernel{}, 4);
  plan run(attend, p);
  backward_plan back(attend, p);
  long const before = allocations::here;
  run.forward(q, k, v, out, lse);
  back.backward(q, k, v, out, lse, dout, dq, dk, dv);
  CHECK(allocations::here == before);
}

TEST_CASE("a plan asks for the memory that it takes, and takes it from the caller") {
  run_ranks(3, [](threads comm) {
    auto const problem = make_problem<f16>(contiguous(10, 3), {.heads = 3, .dim = 4});
    auto attend = ulysses(comm, reference_kernel{});
    extent const bytes = workspace_bytes(attend, problem);
    std::vector<unsigned char> memory(static_cast<std::size_t>(bytes + 64));
    void* start = memory.data();
    std::size_t room = memory.size();
    std::align(64, static_cast<std::size_t>(bytes), start, room);
    if (plan(attend, problem, start, bytes).workspace() != bytes) throw usage_error(say("asked for another size"));
    bool refused = false;
    try {
      plan(attend, problem, start, bytes - 64);
    } catch (const usage_error& e) {
      refused = std::string(e.what()).find("workspace_bytes()") != std::string::npos;
    }
    if (!refused) throw usage_error(say("too little memory was accepted"));
  });
}

TEST_CASE("tensors that lie in a plan's scratch are refused, however little of them") {
  alignas(64) static unsigned char memory[1 << 14];
  auto const problem = make_problem<float>(contiguous(6, 1), {.heads = 2, .dim = 4});
  reference_kernel const attend;
  std::vector<float> a(48), b(48), c(48), lses(12);
  auto const tensor = [](float* at) { return dense(at, 1, 6, 2, 4); };
  auto const q = tensor(a.data()), out = tensor(b.data()), dout = tensor(c.data());
  auto const lse = dense(lses.data(), 1, 6, 2);
  auto const refusal = [](auto call) -> std::string {
    try {
      call();
    } catch (const alias_error& e) {
      return e.what();
    }
    return "accepted";
  };
  auto const end_of = [&](extent bytes) { return reinterpret_cast<float*>(memory + bytes); };
  {
    extent const bytes = workspace_bytes(attend, problem);
    plan run(attend, problem, memory, bytes);
    auto const call = [&](auto in, auto to, auto sums) { return refusal([&] { run.forward(in, q, q, to, sums); }); };
    std::string const in_scratch = "forward: the plan's scratch overlaps ", why = "; outputs need memory of their own";
    CHECK(call(q, out, lse) == "accepted");
    CHECK(call(q, tensor(end_of(bytes)), lse) == "accepted");
    CHECK(call(q, tensor(end_of(bytes) - 1), lse) == in_scratch + "out" + why);
    CHECK(call(tensor(end_of(0)), out, lse) == in_scratch + "q" + why);
    CHECK(call(q, out, dense(end_of(0), 1, 6, 2)) == in_scratch + "lse" + why);
  }
  extent const bytes = backward_workspace_bytes(attend, problem);
  backward_plan back(attend, problem, memory, bytes);
  std::vector<float> gradients(96);
  auto const call = [&](float* to) {
    return refusal([&] {
      back.backward(q, q, q, out, lse, dout, tensor(to), tensor(gradients.data()), tensor(gradients.data() + 48));
    });
  };
  CHECK(call(end_of(bytes)) == "accepted");
  CHECK(call(end_of(bytes) - 1) == "backward: the plan's scratch overlaps dq; outputs need memory of their own");
}

TEST_CASE("what does not fit is refused with one line before anything is sent") {
  counters book;
  run_ranks(1, [&](threads plain) {
    counted comm(plain, book);
    auto attend = ring(comm, reference_kernel{});
    auto const problem = make_problem<float>(contiguous(6, 1), {.batch = 2, .heads = 4, .kv_heads = 2, .dim = 8});
    plan run(attend, problem);
    std::vector<float> a(1000), b(1000), c(1000), d(1000), l(100);
    auto const q = dense(a.data(), 2, 6, 4, 8), k = dense(b.data(), 2, 6, 2, 8), v = dense(c.data(), 2, 6, 2, 8),
               out = dense(d.data(), 2, 6, 4, 8);
    auto const text_of = [&](auto... views) -> std::string {
      try {
        run.forward(views...);
      } catch (const usage_error& e) {
        return e.what();
      }
      return "accepted";
    };
    auto const lse = dense(l.data(), 2, 6, 4);
    CHECK(text_of(q, k, v, out, lse) == "accepted");
    CHECK(text_of(dense(a.data(), 1, 6, 4, 8), k, v, out) == "forward: q has 1 batch, the problem has 2");
    CHECK(text_of(q, dense(b.data(), 2, 5, 2, 8), v, out) == "forward: k has 5 rows, the problem has 6");
    CHECK(text_of(q, k, dense(c.data(), 2, 6, 4, 8), out) == "forward: v has 4 heads, the problem has 2");
    CHECK(text_of(q, k, v, dense(d.data(), 2, 6, 4, 9)) == "forward: out has 9 dim, the problem has 8");
    CHECK(text_of(q, k, v, out, dense(l.data(), 2, 6, 3)) == "forward: lse has 3 heads, the problem has 4");
    CHECK(text_of(q, dense(static_cast<float*>(nullptr), 2, 6, 2, 8), v, out) == "forward: k has no memory");
    CHECK(text_of(q, k, v, q) == "forward: out overlaps q; outputs need memory of their own");
    CHECK(text_of(q, k, v, dense(c.data() + 191, 2, 6, 4, 8)) ==
          "forward: out overlaps v; outputs need memory of their own");
    CHECK(text_of(q, k, v, out, dense(d.data() + 383, 2, 6, 4)) ==
          "forward: lse overlaps out; outputs need memory of their own");
    CHECK(text_of(q, k, v, dense(c.data() + 192, 2, 6, 4, 8)) == "accepted");
    CHECK_THROWS_WITH_AS(plan(attend, make_problem<float>(contiguous(6, 2), {.dim = 8})),
                         "plan: the layout is for 2 ranks, the attention spans 1", usage_error);
  });
  CHECK(book.steps == 0);
  CHECK_THROWS_WITH_AS(run_ranks(3,
                                 [](threads comm) {
                                   plan(ulysses(comm, reference_kernel{}),
                                        make_problem<float>(contiguous(6, 3), {.heads = 2, .dim = 8}));
                                 }),
                       "ulysses: 3 ranks share 2 query heads; use at most 2 ranks here", usage_error);
  run_ranks(1, [](threads comm) {
    CHECK_THROWS_WITH_AS(gather(comm, reference_kernel{}, 0), "gather: 0 heads at once; at least 1 is needed",
                         usage_error);
  });
}

TEST_CASE("two plans in turn on one communicator do not mix") {
  schedules::experiment<float> first(contiguous(33, 3), {.heads = 3, .dim = 4}, causal(), 11);
  schedules::experiment<float> second(striped(20, 3), {.heads = 3, .dim = 6}, full(), 12);
  auto const exact_first = first.exact(), exact_second = second.exact();
  std::vector<float> got_first(exact_first.o.size()), got_second(exact_second.o.size());
  std::mutex guard;
  run_ranks(3, [&](threads comm) {
    auto const shards = [&](auto& e) {
      auto const order = sharded::memory_order::bshd;
      extent const heads = e.shape.heads, dim = e.shape.dim;
      return std::array{sharded::scatter<float>(e.q, e.tokens, comm.rank(), order, 1, heads, dim),
                        sharded::scatter<float>(e.k, e.tokens, comm.rank(), order, 1, heads, dim),
                        sharded::scatter<float>(e.v, e.tokens, comm.rank(), order, 1, heads, dim),
                        sharded::make_shard<float>(order, 1, e.tokens.rows(comm.rank()), heads, dim)};
    };
    auto const a = shards(first), b = shards(second);
    auto around = ring(comm, reference_kernel{});
    auto across = ulysses(comm, reference_kernel{});
    plan one(around, first.problem());
    plan two(across, second.problem());
    for (int i = 0; i < 4; ++i) {
      one.forward(a[0], a[1], a[2], a[3].whole);
      two.forward(b[0], b[1], b[2], b[3].whole);
    }
    std::lock_guard const lock(guard);
    auto rows_of = [](auto shard) {
      shard.memory.pop_back();
      return shard.memory;
    };
    sharded::gather(got_first, rows_of(a[3]), first.tokens, comm.rank(), 1, 12);
    sharded::gather(got_second, rows_of(b[3]), second.tokens, comm.rank(), 1, 18);
  });
  CHECK(oracle::compare(got_first, exact_first.o).relative < 1e-6);
  CHECK(oracle::compare(got_second, exact_second.o).relative < 1e-6);
}

TEST_CASE("groups that leave ranks out, or hold some twice, are refused; a group can be a world of its own") {
  auto const problem = make_problem<float>(contiguous(8, 2), {.dim = 4});
  run_ranks(4, [&](threads comm) {
    auto const g = grid(comm, 2, 2);
    auto const text_of = [](auto attend, const auto& p) -> std::string {
      try {
        plan(attend, p);
      } catch (const usage_error& e) {
        return e.what();
      }
      return "accepted";
    };
    auto const expect = [](const std::string& text, const char* part) {
      if (text.find(part) == std::string::npos) throw usage_error(say("not refused so: %s", text.c_str()));
    };
    reference_kernel const kernel;
    auto const four = make_problem<float>(contiguous(8, 4), {.dim = 4});
    expect(text_of(ring(g.col(), kernel), problem), "rank 2 of them is not one of them");
    expect(text_of(ring(g.row(), ring(g.row(), kernel)), four), "there twice");
    expect(text_of(ring(comm, ring(g.row(), kernel)), make_problem<float>(contiguous(8, 8), {.dim = 4})),
           "there twice");
    // Two rings at once, each of every second rank, on one wire.
    std::vector<float> q(4 * 4, static_cast<float>(comm.rank() % 2)), out(q.size());
    auto const tensor = [](auto& of) { return dense(of.data(), 1, 4, 1, 4); };
    plan(ring(g.col().as_whole(), kernel), problem).forward(tensor(q), tensor(q), tensor(q), tensor(out));
    if (out != q) throw usage_error(say("rank %d: a mean of equal values is that value", comm.rank()));
    auto const three = make_problem<float>(contiguous(8, 4), {.heads = 3, .dim = 4});
    expect(text_of(ulysses(g.row(), ulysses(g.col(), kernel)), three), "ulysses: 4 ranks share 3 query heads");
  });
}

TEST_CASE("outputs whose elements share memory, and scratch at no address, are refused") {
  run_ranks(1, [](threads comm) {
    plan run(ring(comm, reference_kernel{}), make_problem<float>(contiguous(6, 1), {.heads = 2, .dim = 4}));
    std::vector<float> a(48), b(48);
    auto const q = dense(a.data(), 1, 6, 2, 4);
    auto out = dense(b.data(), 1, 6, 2, 4);
    out.strides[row_axis] = 0;
    CHECK_THROWS_WITH_AS(run.forward(q, q, q, out), doctest::Contains("out has a stride of 0 along axis 1"),
                         alias_error);
    out = dense(b.data(), 1, 6, 2, 4);
    out.strides[head_axis] = 2;
    CHECK_THROWS_WITH_AS(run.forward(q, q, q, out), doctest::Contains("out has a stride of 2 along axis 2"),
                         alias_error);
    out = transposed(dense(b.data(), 1, 2, 6, 4), row_axis, head_axis);
    run.forward(q, q, q, out);
    // Side by side in one packed tensor they share none.
    std::vector<float> together(6 * 4 * 2 * 4, 1);
    auto const packed = dense(together.data(), 1, 6, 8, 4);
    auto const part = [&](extent first) { return slice(packed, head_axis, first, 2); };
    run.forward(part(0), part(2), part(4), part(6));
    CHECK_THROWS_WITH_AS(run.forward(part(0), part(2), part(4), part(5)),
                         "forward: out overlaps v; outputs need memory of their own", alias_error);
    CHECK_THROWS_WITH_AS(plan(ring(comm, reference_kernel{}), run.described(), nullptr, 4096),
                         doctest::Contains("scratch at no address"), usage_error);
  });
}
