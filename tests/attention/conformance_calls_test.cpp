// sanitize: threads
// Conformance, calls: cases that implementations of sequence parallelism have failed.
#include <doctest/doctest.h>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>

#include "support/definition.hpp"

using namespace ringfold;

namespace {

using experiment = schedules::experiment<float>;
using combinations::bitwise;
using definition::same;

/// Memory for plans, given to one after the other as they left it.
struct scratch {
  std::vector<unsigned char> memory;
  void* of(extent bytes) {
    memory.resize(std::max(memory.size(), static_cast<std::size_t>(bytes) + 64));
    void* start = memory.data();
    std::size_t room = memory.size();
    return std::align(64, static_cast<std::size_t>(bytes), start, room);
  }
};

}  // namespace

TEST_CASE("18. any strides give the same bits: heads or tokens outside, padded rows, dims outermost") {
  for (auto const which : schedules::names) {
    experiment e(zigzag(22, 4), {.batch = 2, .heads = 4, .kv_heads = 2, .dim = 6, .value_dim = 5}, causal(), 2);
    definition::cotangents const of(e);
    auto const dense_rows = definition::check(e, which, flash_kernel{});
    for (auto const order : sharded::memory_orders) {
      e.order = order;
      CAPTURE(static_cast<int>(which));
      CAPTURE(static_cast<int>(order));
      CHECK(same(schedules::run_backward(e, which, flash_kernel{}, of.out, of.lse), dense_rows));
    }
  }
}

TEST_CASE(
    "18. q, k and v in one packed buffer, a slice of a larger output, log-sum-exps by head, one head read as many") {
  experiment e(contiguous(20, 4), {.heads = 4, .dim = 6}, causal(), 3);
  for (auto* each : {&e.k, &e.v}) {
    for (std::size_t i = 0; i < each->size(); ++i) (*each)[i] = (*each)[i / 24 * 24 + i % 6];  // all heads alike
  }
  for (auto const which : schedules::names) {
    auto const wanted = schedules::run(e, which, flash_kernel{});
    std::vector<float> o(wanted.o.size()), lses(wanted.lse.size());
    std::mutex guard;
    run_ranks(4, [&](threads comm) {
      int const me = comm.rank();
      std::vector<float> buffer(5 * 3 * 4 * 6), room(7 * 4 * 9), lse(4 * 5 + 3, -1.0F);
      auto const packed = [&](extent part) {
        return transposed(slice(dense(buffer.data(), 5, 3, 4, 6), 1, part, 1), 0, 1);
      };
      auto const fill = [&](extent part, const std::vector<double>& from) {
        auto const rows = sharded::scatter<float>(from, e.tokens, me, e.order, 1, 4, 6);
        host_stream{}.copy(piece_of(packed(part), role::other), piece_of(rows.whole, role::other));
      };
      fill(0, e.q), fill(1, e.k), fill(2, e.v);
      auto k = slice(packed(1), head_axis, 0, 1);
      k.extents[head_axis] = 4, k.strides[head_axis] = 0;
      auto const out = slice(slice(dense(room.data(), 1, 7, 4, 9), row_axis, 1, 5), dim_axis, 2, 6);
      auto const by_head = transposed(dense(lse.data() + 3, 1, 4, 5), 1, 2);
      schedules::with(which, comm, flash_kernel{},
                      [&](auto attend) { plan(attend, e.problem()).forward(packed(0), k, packed(2), out, by_head); });
      std::lock_guard const lock(guard);
      schedules::keep(o, {{}, out}, e.tokens, me);
      for (extent row = 0; row < 5; ++row) {
        for (extent h = 0; h < 4; ++h) lses[static_cast<std::size_t>((me * 5 + row) * 4 + h)] = by_head(0, row, h);
      }
    });
    CAPTURE(static_cast<int>(which));
    CHECK(bitwise(o, wanted.o));
    CHECK(bitwise(lses, wanted.lse));
  }
}

TEST_CASE("19. plans of different shapes in the same memory, one after the other, see nothing of each other") {
  experiment const all[] = {
      experiment(zigzag(31, 3), {.batch = 2, .heads = 4, .kv_heads = 2, .dim = 8, .value_dim = 5}, causal(), 1),
      experiment(striped(7, 3), {.heads = 3, .dim = 3}, full(), 2)};
  for (auto const which : schedules::names) {
    CAPTURE(static_cast<int>(which));
    std::vector<std::vector<float>> got[2];
    std::mutex guard;
    for (auto& each : got) each.resize(3);
    for (int turn = 0; turn < 3; ++turn) {
      for (std::size_t i = 0; i < 2; ++i) got[i][static_cast<std::size_t>(turn)].resize(all[i].exact().o.size());
    }
    run_ranks(3, [&](threads comm) {
      scratch room;
      schedules::with(which, comm, flash_kernel{}, [&](auto attend) {
        for (std::size_t turn = 0; turn < 6; ++turn) {
          auto const& e = all[turn % 2];
          auto const& s = e.shape;
          auto const shard = [&](const std::vector<double>& of, extent heads, extent dim) {
            return sharded::scatter<float>(of, e.tokens, comm.rank(), e.order, s.batch, heads, dim);
          };
          auto const p = e.problem();
          extent const bytes = workspace_bytes(attend, p);
          auto out = sharded::make_shard<float>(e.order, s.batch, e.tokens.rows(comm.rank()), s.heads, s.value_dim);
          plan(attend, p, room.of(bytes), bytes)
              .forward(shard(e.q, s.heads, s.dim), shard(e.k, s.kv_heads, s.dim), shard(e.v, s.kv_heads, s.value_dim),
                       out.whole);
          std::fill(room.memory.begin(), room.memory.end(), static_cast<unsigned char>(0xff));
          std::lock_guard const lock(guard);
          schedules::keep(got[turn % 2][turn / 2], out, e.tokens, comm.rank());
        }
      });
    });
    for (std::size_t i = 0; i < 2; ++i) {
      auto const wanted = schedules::run(all[i], which, flash_kernel{}).o;
      for (const auto& each : got[i]) CHECK(bitwise(each, wanted));
    }
  }
}

TEST_CASE("19. two calls of one attention may be interleaved, verb by verb") {
  experiment const first(zigzag(17, 3), {.heads = 3, .dim = 4}, causal(), 1);
  experiment second = first;
  std::swap(second.q, second.k);
  for (auto const which : schedules::names) {
    std::vector<float> got[2];
    for (auto& each : got) each.resize(first.q.size());
    std::mutex guard;
    run_ranks(3, [&](threads comm) {
      schedules::with(which, comm, flash_kernel{}, [&](auto attend) {
        auto p = first.problem();
        p.owner = attend.owner();
        extent const rows = first.tokens.rows(comm.rank());
        arena<> nowhere;
        (void)attend.state(p, nowhere);
        sharded::workspace memory_a(nowhere.used()), memory_b(nowhere.used());
        auto a = attend.state(p, memory_a.arena()), b = attend.state(p, memory_b.arena());
        auto const shard = [&](const std::vector<double>& of) {
          return sharded::scatter<float>(of, first.tokens, comm.rank(), first.order, 1, 3, 4);
        };
        auto const q = shard(first.q), k = shard(first.k), v = shard(first.v);
        auto out_a = sharded::make_shard<float>(first.order, 1, rows, 3, 4), out_b = out_a;
        out_b.whole.data = out_b.memory.data();
        std::vector<float> lses(static_cast<std::size_t>(rows * 3));
        auto const lse = dense(lses.data(), 1, rows, 3);
        host_stream const on;
        attend.prepare(a, view<const float, 4>(q), on);
        attend.prepare(b, view<const float, 4>(k), on);
        attend.accumulate(a, block<float>{k, v, p.owner, 0}, on);
        attend.accumulate(b, block<float>{q, v, p.owner, 0}, on);
        attend.close(b, partial<float>{out_b.whole, lse}, on);
        attend.close(a, partial<float>{out_a.whole, lse}, on);
        std::lock_guard const lock(guard);
        schedules::keep(got[0], out_a, first.tokens, comm.rank());
        schedules::keep(got[1], out_b, first.tokens, comm.rank());
      });
    });
    CAPTURE(static_cast<int>(which));
    CHECK(bitwise(got[0], schedules::run(first, which, flash_kernel{}).o));
    CHECK(bitwise(got[1], schedules::run(second, which, flash_kernel{}).o));
  }
}

namespace {

/// A kernel that runs out of something at one of its steps.
struct failing_kernel : reference_kernel {
  int* left;
  explicit failing_kernel(int& steps) : left(&steps) {}
  void step() const {
    if (--*left == 0) throw std::runtime_error("out of something");
  }
  template <class S, class B>
  void accumulate(S& s, const B& kv, host_stream on) const {
    step();
    reference_kernel::accumulate(s, kv, on);
  }
  template <class S, class B, class G>
  void accumulate_backward(S& s, const B& kv, const G& to, host_stream on) const {
    step();
    reference_kernel::accumulate_backward(s, kv, to, on);
  }
};

}  // namespace

TEST_CASE(
    "19. an exception on one rank, in any step of either pass, ends all ranks with its text; the next call is good") {
  experiment const e(zigzag(19, 3), {.heads = 6, .kv_heads = 3, .dim = 3}, causal(), 4);
  definition::cotangents const of(e);
  for (auto const which : schedules::names) {
    auto const good = schedules::run_backward(e, which, reference_kernel{}, of.out, of.lse);
    for (int const at : {1, 2, 4}) {
      for (int thrower = 0; thrower < 3; ++thrower) {
        CAPTURE(static_cast<int>(which));
        CAPTURE(at);
        std::atomic<int> stopped{0}, told{0};
        auto const run = [&](threads comm) {
          int steps = comm.rank() == thrower ? at : 0;
          schedules::backward_outcome<float> nobodys(e);
          std::mutex guard;
          try {
            schedules::run_rank_backward(e, which, comm, failing_kernel(steps), of.out, of.lse, nobodys, guard, 1);
            if (steps > 0) throw std::runtime_error("out of something");  // had fewer steps than that
          } catch (const poisoned& p) {
            ++stopped;
            told += std::strstr(p.what(), "out of something") != nullptr && p.where().origin == thrower;
            throw;
          }
        };
        CHECK_THROWS_WITH_AS(run_ranks(3, run, {.deadline = std::chrono::seconds(20)}), "out of something",
                             std::runtime_error);
        CHECK(told == stopped);  // who had all it needed by then may have ended well
        CHECK(same(schedules::run_backward(e, which, reference_kernel{}, of.out, of.lse), good));
      }
    }
  }
}

TEST_CASE("21. the same call gives the same bits") {
  for (auto const which : schedules::names) {
    experiment const e(zigzag(64, 6), {.heads = 6, .kv_heads = 2, .dim = 8}, window(20, 3), 12);
    definition::cotangents const of(e);
    auto const once = schedules::run_backward(e, which, flash_kernel{}, of.out, of.lse, 2);
    for (int again = 0; again < 4; ++again) {
      CAPTURE(static_cast<int>(which));
      CHECK(same(once, schedules::run_backward(e, which, flash_kernel{}, of.out, of.lse)));
    }
  }
}
