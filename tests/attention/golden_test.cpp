// sanitize: off
#include <doctest/doctest.h>

#include <cmath>
#include <mutex>
#include <string>
#include <vector>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/gather.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/core/group.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/alibi.hpp>
#include <ringfold/sequence/bias.hpp>
#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/shifted.hpp>

#include "../../examples/support/npy.hpp"
#include "support/any_mask.hpp"
#include "support/oracle.hpp"
#include "support/sharded.hpp"

using namespace ringfold;

namespace {

using numbers = std::vector<double>;

/// One case as PyTorch computed it; the file's numbers in the order of tests/golden/README.md.
struct golden {
  std::string name;
  shape of{};
  extent queries = 0, keys = 0;
  extent learned = 0;  ///< sinks or biases
  numbers q{}, k{}, v{}, extra{}, dout{}, dlse{}, o{}, lse{}, dq{}, dk{}, dv{}, dextra{};

  golden(const char* which, shape s, extent query_tokens, extent key_tokens, extent more = 0)
      : name(which), of(s), queries(query_tokens), keys(key_tokens), learned(more) {
    auto const file = examples::read_npy(std::string(RINGFOLD_SOURCE_DIR "/tests/golden/") + name + ".npy");
    auto rest = file.elements<double>();
    extent const rows = of.batch * queries * of.heads, key_rows = of.batch * keys * of.kv_heads;
    auto const take = [&](numbers& to, extent count) {
      REQUIRE(static_cast<extent>(rest.size()) >= count);
      to.assign(rest.begin(), rest.begin() + count);
      rest = rest.subspan(static_cast<std::size_t>(count));
    };
    take(q, rows * of.dim), take(k, key_rows * of.dim), take(v, key_rows * of.value_dim), take(extra, learned);
    take(dout, rows * of.value_dim), take(dlse, rows), take(o, rows * of.value_dim), take(lse, rows);
    take(dq, rows * of.dim), take(dk, key_rows * of.dim), take(dv, key_rows * of.value_dim), take(dextra, learned);
    REQUIRE(rest.empty());
  }
};

/// What a schedule computed, gathered; dextra is summed over the ranks.
template <class T>
struct outcome {
  std::vector<T> o, dq, dk, dv;
  std::vector<accumulate_t<T>> lse;
  numbers dextra;
};

enum class schedule { ring, gather, ulysses, usp };

template <class F>
void with(schedule which, threads comm, F f) {
  auto const g = grid(comm, comm.size() % 2 == 0 ? comm.size() / 2 : comm.size(), comm.size() % 2 == 0 ? 2 : 1);
  switch (which) {
    case schedule::ring: return f(ring(comm, reference_kernel{}));
    case schedule::gather: return f(gather(comm, reference_kernel{}));
    case schedule::ulysses: return f(ulysses(comm, reference_kernel{}));
    case schedule::usp: return f(ulysses(g.row(), ring(g.col(), reference_kernel{})));
  }
}

/// Runs a case; score(gradient) makes the score of one rank, which may collect a gradient there.
template <class T, class Score>
outcome<T> run(const golden& c, const layout& of_queries, const layout& of_keys, schedule which,
               const any_mask& mask_of, Score score, bool sinks) {
  using A = accumulate_t<T>;
  constexpr auto order = sharded::memory_order::bshd;
  auto const s = c.of;
  outcome<T> all{std::vector<T>(c.o.size()),  std::vector<T>(c.dq.size()),  std::vector<T>(c.dk.size()),
                 std::vector<T>(c.dv.size()), std::vector<A>(c.lse.size()), numbers(c.dextra.size())};
  std::mutex guard;
  run_ranks(of_queries.ranks(), [&](threads comm) {
    int const me = comm.rank();
    extent const rows = of_queries.rows(me), key_rows = of_keys.rows(me);
    auto const part = [&](const numbers& whole, const layout& by, extent heads, extent dim) {
      return sharded::scatter<T>(whole, by, me, order, s.batch, heads, dim);
    };
    auto const room = [&](extent count, extent heads, extent dim) {
      return sharded::make_shard<T>(order, s.batch, count, heads, dim);
    };
    auto const q = part(c.q, of_queries, s.heads, s.dim), k = part(c.k, of_keys, s.kv_heads, s.dim),
               v = part(c.v, of_keys, s.kv_heads, s.value_dim), dout = part(c.dout, of_queries, s.heads, s.value_dim);
    auto const out = room(rows, s.heads, s.value_dim), dq = room(rows, s.heads, s.dim),
               dk = room(key_rows, s.kv_heads, s.dim), dv = room(key_rows, s.kv_heads, s.value_dim);
    auto dlse = sharded::scatter<A>(c.dlse, of_queries, me, order, s.batch, s.heads, 1);
    auto lse = sharded::make_shard<A>(order, s.batch, rows, s.heads, 1);
    std::vector<A> extra(c.extra.begin(), c.extra.end());
    std::vector<A> dextra(c.extra.size());
    numbers collected(c.extra.size());
    auto const of_rows = [&](auto& shard) { return dense(shard.memory.data(), s.batch, rows, s.heads); };
    argument<const A, 1, host_space> sink;
    argument<A, 1, host_space> dsink;
    if (sinks) sink.at = dense(extra.data(), c.learned), dsink.at = dense(dextra.data(), c.learned);
    auto const p = make_problem<T>(of_queries, of_keys, s, mask_of, score(collected));
    with(which, comm, [&](auto attend) {
      plan(attend, p).forward(q, k, v, out.whole, of_rows(lse), sink);
      backward_plan(attend, p).backward(q, k, v, out.whole, of_rows(lse), dout, dq.whole, dk.whole, dv.whole,
                                        of_rows(dlse), sink, dsink);
    });
    std::lock_guard const lock(guard);
    auto const keep = [&](auto& to, auto memory, const layout& by, extent width) {
      memory.pop_back();
      sharded::gather(to, memory, by, me, s.batch, width);
    };
    keep(all.o, out.memory, of_queries, s.heads * s.value_dim);
    keep(all.lse, lse.memory, of_queries, s.heads);
    keep(all.dq, dq.memory, of_queries, s.heads * s.dim);
    keep(all.dk, dk.memory, of_keys, s.kv_heads * s.dim);
    keep(all.dv, dv.memory, of_keys, s.kv_heads * s.value_dim);
    for (std::size_t i = 0; i < dextra.size(); ++i) {
      all.dextra[i] += sinks ? static_cast<double>(dextra[i]) : collected[i];
    }
  });
  return all;
}

auto const no_parts = [](numbers&) { return scaled{}; };

/// Relative to a whole tensor: exp() makes a score's roundoff larger by the score, which the cap's case takes to 30; the
/// sums of at most 43 terms and the products add a few roundoffs to that. (PyTorch's own are in the bound too.)
constexpr double bound = 48 * 0x1p-53;

template <class Score>
void check(const golden& c, const any_mask& mask_of, Score score, bool sinks = false) {
  CAPTURE(c.name);
  for (int const ranks : {1, 2, 3}) {
    for (auto const which : {schedule::ring, schedule::gather, schedule::ulysses, schedule::usp}) {
      for (bool const dealt : {false, true}) {
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(which));
        CAPTURE(dealt);
        auto const lay = [&](extent n) { return dealt ? zigzag(n, ranks) : striped(n, ranks); };
        auto const got = run<double>(c, lay(c.queries), lay(c.keys), which, mask_of, score, sinks);
        CHECK(oracle::compare(got.o, c.o).relative < bound);
        CHECK(oracle::compare(got.lse, c.lse).relative < bound);
        CHECK(oracle::compare(got.dq, c.dq).relative < bound);
        CHECK(oracle::compare(got.dk, c.dk).relative < bound);
        CHECK(oracle::compare(got.dv, c.dv).relative < bound);
        CHECK(oracle::compare(got.dextra, c.dextra).relative < bound);
      }
    }
  }
}

constexpr shape usual{.batch = 2, .heads = 4, .kv_heads = 4, .dim = 8, .value_dim = 8};

shape with_heads(extent heads, extent kv_heads, extent batch = 2) {
  return {.batch = batch, .heads = heads, .kv_heads = kv_heads, .dim = 8, .value_dim = 8};
}

}  // namespace

TEST_CASE("PyTorch's attention in float64: bands and heads") {
  check(golden("plain", usual, 24, 24), full(), no_parts);
  check(golden("causal", usual, 24, 24), causal(), no_parts);
  check(golden("grouped", with_heads(6, 2), 24, 24), causal(), no_parts);
  check(golden("multi_query", {.batch = 2, .heads = 4, .kv_heads = 1, .dim = 12, .value_dim = 6}, 24, 24), causal(),
        no_parts);
  check(golden("window", with_heads(4, 4, 1), 40, 40), window(5), no_parts);
  check(golden("window_both", with_heads(4, 4, 1), 40, 40), window(3, 4), no_parts);
  check(golden("cross", usual, 11, 30), bottom_right(causal(), 11, 30), no_parts);
}

TEST_CASE("PyTorch's attention in float64: packed documents") {
  check(golden("packed", with_heads(4, 4, 1), 43, 43), documents{9, 1, 0, 20, 13} & causal(), no_parts);
}

TEST_CASE("PyTorch's attention in float64: a cap") {
  check(golden("softcap", usual, 24, 24), causal(), [](numbers&) { return softcap(30); });
}

TEST_CASE("PyTorch's attention in float64: linear biases") {
  check(golden("alibi", with_heads(6, 3), 24, 24), causal(), [](numbers&) { return alibi(6); });
}

TEST_CASE("PyTorch's attention in float64: sinks and their gradient") {
  check(golden("sinks", usual, 24, 24, 4), causal(), no_parts, true);
}

TEST_CASE("PyTorch's attention in float64: a bias and its gradient") {
  golden const c("bias", usual, 16, 16, 4 * 16 * 16);
  check(c, full(), [&](numbers& gradient) {
    return bias(dense(c.extra.data(), 1, 4, 16, 16), dense(gradient.data(), 1, 4, 16, 16));
  });
}
