#include <ringfold/recurrence/both_ways.hpp>

#include <doctest/doctest.h>

#include <ringfold/recurrence/decay.hpp>
#include <ringfold/recurrence/short_convolution.hpp>

#include "../../examples/support/any_schedule.hpp"
#include "support/recurrences.hpp"

using namespace ringfold;

namespace {

/// What one direction makes alone, or both together: of both, the halves in the order of the sequence.
struct made {
  std::vector<float> out, dq;
  extent bytes = 0, bytes_backward = 0, steps = 0;
  friend bool operator==(const made& a, const made& b) { return a.out == b.out && a.dq == b.dq; }
};

constexpr extent heads = 2, dim = 3;

enum class ways { ahead, back, both };

/// Of one rank: numbers of a token are the same whoever holds it, and other ones back.
made run(threads plain, const layout& tokens, const documents& packed, const examples::any_schedule& by, ways which) {
  counters book;
  counted comm(plain, book);
  int const me = comm.rank();
  auto const forwards = make_recurrence<float>(tokens, {.heads = heads, .dim = dim}, packed);
  auto const p = which == ways::ahead ? forwards : which == ways::back ? mirrored(forwards) : both_ways(forwards);
  extent const rows = tokens.rows(me), all = which == ways::both ? 2 * rows : rows;
  std::vector<std::vector<float>> memory(10, std::vector<float>(static_cast<std::size_t>(all * heads * dim)));
  auto const whole = [&](std::size_t i) { return dense(memory[i].data(), 1, all, heads, dim); };
  auto const halves = [&](std::size_t i) -> std::vector<view<float, 4>> {
    if (which == ways::ahead) return {whole(i)};
    if (which == ways::back) return {flipped(whole(i))};
    return {ahead_half(whole(i)), back_half(whole(i))};
  };
  for (std::size_t i = 0; i < 5; ++i) {  // q, k, v, gates, dout
    std::size_t half = which == ways::back ? 1 : 0;
    for (auto const& to : halves(i)) {
      tokens.for_each_position(me, [&](extent row, extent position) {
        for (extent h = 0; h < heads; ++h) {
          for (extent d = 0; d < dim; ++d) {
            auto const mixed = (position * 7 + h * 3 + d * 5 + static_cast<extent>(i * 11 + half * 13)) % 17;
            to(0, row, h, d) = i == 3 ? -static_cast<float>(mixed) / 16 : static_cast<float>(mixed) / 8 - 1;
          }
        }
      });
      ++half;
    }
  }
  auto const over = recurrence(comm, by, decay<gating::per_row>{4});
  recurrence_plan forward(over, p);
  recurrence_backward_plan backward(over, p);
  std::vector<float> kept(static_cast<std::size_t>(forward.slots() * heads * dim * dim));
  auto const entered = dense(kept.data(), forward.slots(), heads, dim, dim);
  forward.forward({whole(0), whole(1), whole(2), whole(3)}, whole(5), {.entered = entered});
  made result;
  result.bytes = book.total_bytes(), result.steps = book.steps;
  book = {};
  backward.backward({whole(0), whole(1), whole(2), whole(3)}, entered, whole(4),
                    {whole(6), whole(7), whole(8), whole(9)});
  result.bytes_backward = book.total_bytes();
  for (auto const& [to, i] : {std::pair{&result.out, std::size_t{5}}, {&result.dq, std::size_t{6}}}) {
    for (auto const& half : halves(i)) {
      host_stream{}.elementwise([&](const float& each) { to->push_back(each); }, half);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("both ways at once are each way alone, bit for bit where a schedule keeps the order") {
  documents const packed{7, 0, 1, 9, 6};
  auto const schedules = examples::all_schedules(2, 2);
  for (int const ranks : {1, 2, 3, 5}) {
    std::mt19937_64 random(static_cast<std::uint64_t>(ranks));
    for (int kind = 0; kind < recurrences::layouts; ++kind) {
      auto const tokens = recurrences::layout_of(kind, packed.tokens(), ranks, packed, random);
      for (const auto& by : schedules) {
        CAPTURE(ranks);
        CAPTURE(kind);
        CAPTURE(by.name);
        std::mutex guard;
        run_ranks(ranks, [&](threads comm) {
          auto const both = run(comm, tokens, packed, by, ways::both);
          auto alone = run(comm, tokens, packed, by, ways::ahead);
          auto const back = run(comm, tokens, packed, by, ways::back);
          alone.out.insert(alone.out.end(), back.out.begin(), back.out.end());
          alone.dq.insert(alone.dq.end(), back.dq.begin(), back.dq.end());
          auto const near = [](const std::vector<float>& a, const std::vector<float>& b) {
            bool close = a.size() == b.size();
            for (std::size_t i = 0; close && i < a.size(); ++i) close = std::fabs(a[i] - b[i]) <= 1e-4f;
            return close;
          };
          std::lock_guard const lock(guard);
          CHECK((by.keeps_order() ? both == alone : near(both.out, alone.out) && near(both.dq, alone.dq)));
          if (!std::holds_alternative<schedule::chain>(by.which)) return;
          CHECK(both.bytes == alone.bytes + back.bytes);
          CHECK(both.bytes_backward == alone.bytes_backward + back.bytes_backward);
        });
      }
    }
  }
}

TEST_CASE("one exchange serves both directions") {
  documents const one{64};
  for (int const ranks : {2, 4, 8}) {
    for (const auto& by : examples::all_schedules(1, 2)) {
      if (by.name != std::string("gather_bruck") && by.name != std::string("gather_ring")) continue;
      CAPTURE(by.name);
      CAPTURE(ranks);
      run_ranks(ranks, [&](threads comm) {
        auto const both = run(comm, contiguous(64, ranks), one, by, ways::both);
        if (both.steps > by.rounds(ranks)) throw usage_error(say("%lld steps", static_cast<long long>(both.steps)));
      });
    }
  }
}

TEST_CASE("sums from both ends") {
  run_ranks(2, [](threads comm) {
    //! [both_ways]
    // 8 tokens on 2 ranks: each is added to the one before it and, in the other half, to the one behind it.
    auto const problem = make_recurrence<float>(contiguous(8, comm.size()), {.heads = 1, .dim = 2, .value_dim = 1});
    recurrence_plan plan(recurrence(comm, schedule::gather_bruck{}, short_convolution{}), both_ways(problem));

    std::vector<float> memory(2 * 4), sums(memory.size());
    auto const x = dense(memory.data(), 1, 8, 1, 1), out = dense(sums.data(), 1, 8, 1, 1);
    for (auto const& half : {ahead_half(x), back_half(x)}) {
      for (extent row = 0; row < 4; ++row) half(0, row, 0, 0) = static_cast<float>(4 * comm.rank() + row);
    }
    float const ones[2] = {1, 1};
    plan.forward({x, dense(ones, 1, 1, 2)}, out);
    //! [both_ways]
    auto const ahead = ahead_half(out), back = back_half(out);
    for (extent row = 0; row < 4; ++row) {
      auto const at = static_cast<float>(4 * comm.rank() + row);
      bool const right =
          ahead(0, row, 0, 0) == (at > 0 ? 2 * at - 1 : 0) && back(0, row, 0, 0) == (at < 7 ? 2 * at + 1 : 7);
      if (!right) throw usage_error(say("token %g has other sums", static_cast<double>(at)));
    }
  });
}
