#pragma once

#include <array>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/direct.hpp>
#include <ringfold/attention/gather.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/query_ring.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/split_kv.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/core/group.hpp>
#include <ringfold/wrap/counted.hpp>

#include "../../examples/support/traffic.hpp"
#include "any_mask.hpp"
#include "either_kernel.hpp"
#include "oracle.hpp"
#include "sharded.hpp"

/// \file
/// Every schedule by name, run on thread ranks over global tensors, with what it sent and what it had to send.

namespace schedules {

using ringfold::extent;
using ringfold::layout;

enum class name {
  ring,
  gather,
  ulysses,
  usp,
  double_ring,
  ring_of_ulysses,
  gather_of_ring,
  direct,
  query_ring,
  split_kv,
  split_kv_by_tree,
};
inline constexpr name names[] = {
    name::ring,           name::gather, name::ulysses,    name::usp,      name::double_ring,      name::ring_of_ulysses,
    name::gather_of_ring, name::direct, name::query_ring, name::split_kv, name::split_kv_by_tree,
};

/// Whether partials are closed and merged on their way: output and weight are rounded then, sums are not exact.
inline bool merges(name which) { return which >= name::query_ring; }

/// The largest divisor of P whose square does not exceed P: the columns of the grid that two-level schedules use.
inline int columns(int ranks) {
  int best = 1;
  for (int d = 1; d * d <= ranks; ++d) best = ranks % d == 0 ? d : best;
  return best;
}

/// Whether a schedule has more ranks than it has heads to share, and must refuse.
inline bool refused(name which, int ranks, extent heads) {
  switch (which) {
    case name::ulysses: return ranks > heads;
    case name::usp:
    case name::ring_of_ulysses: return columns(ranks) > heads;
    default: return false;
  }
}

/// Whether a schedule keeps the promise of a canonical kernel; the others do not compile with one.
inline bool takes_canonical(name which) { return which < name::direct; }

/// Calls f with the attention of that name over a communicator.
template <class C, class Kernel, class F>
void with(name which, C comm, Kernel kernel, F f) {
  using namespace ringfold;
  auto const g = grid(comm, comm.size() / columns(comm.size()), columns(comm.size()));
  switch (which) {
    case name::ring: return f(ring(comm, kernel));
    case name::gather: return f(gather(comm, kernel));
    case name::ulysses: return f(ulysses(comm, kernel));
    case name::usp: return f(ulysses(g.row(), ring(g.col(), kernel)));
    case name::double_ring: return f(ring(g.col(), ring(g.row(), kernel)));
    case name::ring_of_ulysses: return f(ring(g.col(), ulysses(g.row(), kernel)));
    case name::gather_of_ring: return f(gather(g.col(), ring(g.row(), kernel), 2));
    case name::direct:
    case name::query_ring:
    case name::split_kv:
    case name::split_kv_by_tree:
      if constexpr (is_canonical<Kernel>) {
        throw usage_error(say("these take no canonical kernel"));
      } else {
        if (which == name::direct) return f(direct(comm, kernel));
        if (which == name::query_ring) return f(query_ring(comm, kernel));
        return f(split_kv(comm, kernel, which == name::split_kv ? reduction::all_to_all : reduction::tree));
      }
  }
}

/// The same of one's own: which(communicator, kernel, f) calls f with an attention.
template <class Which, class C, class Kernel, class F>
  requires(!std::is_same_v<Which, name>)
void with(Which which, C comm, Kernel kernel, F f) {
  which(comm, kernel, f);
}

/// A problem over global tensors, dense [batch, token, head, dim].
template <class T, class Mask = any_mask, class Parts = ringfold::unmodified>
struct experiment {
  using element = T;
  layout tokens;                  ///< of the queries
  std::optional<layout> apart{};  ///< of the keys, where they are other tokens
  ringfold::shape shape;
  Mask mask;
  ringfold::scored<Parts> score{};
  sharded::memory_order order = sharded::memory_order::bshd;
  std::vector<double> q, k, v;
  std::vector<double> sinks{};                                ///< one for each head, or none
  extent gradient_bytes = sizeof(ringfold::accumulate_t<T>);  ///< of keys and values, on their way

  experiment(layout on, ringfold::shape s, Mask m, std::uint64_t seed, double bound = 1.7,
             ringfold::scored<Parts> with = {})
      : experiment(std::move(on), std::nullopt, s, m, seed, bound, with) {}
  experiment(layout queries, std::optional<layout> of_keys, ringfold::shape s, Mask m, std::uint64_t seed,
             double bound = 1.7, ringfold::scored<Parts> with = {})
      : tokens(std::move(queries)), apart(std::move(of_keys)), shape(s), mask(m), score(with) {
    if (shape.kv_heads == 0) shape.kv_heads = shape.heads;
    if (shape.value_dim == 0) shape.value_dim = shape.dim;
    extent const rows = shape.batch * tokens.tokens(), key_rows = shape.batch * keys().tokens();
    q = oracle::uniform<T>(rows * shape.heads * shape.dim, seed, bound);
    k = oracle::uniform<T>(key_rows * shape.kv_heads * shape.dim, seed + 1, bound);
    v = oracle::uniform<T>(key_rows * shape.kv_heads * shape.value_dim, seed + 2, bound);
  }

  const layout& keys() const { return apart ? *apart : tokens; }
  auto problem() const { return ringfold::make_problem<T>(tokens, keys(), shape, mask, score); }

  oracle::sizes sizes() const {
    return {shape.batch, tokens.tokens(), keys().tokens(), shape.heads, shape.kv_heads,
            shape.dim,   shape.value_dim, score.scale,     sinks};
  }
  oracle::result exact() const {
    return oracle::attention(sizes(), q, k, v, [this](extent i, extent j) { return mask.allows(i, j); });
  }

  ringfold::examples::traffic traffic() const {
    auto const positions = [](const layout& of) {
      std::vector<std::vector<ringfold::examples::number>> all(static_cast<std::size_t>(of.ranks()));
      for (int rank = 0; rank < of.ranks(); ++rank) {
        of.for_each_position(rank, [&](extent, extent p) { all[static_cast<std::size_t>(rank)].push_back(p); });
      }
      return all;
    };
    return {positions(tokens),
            positions(keys()),
            mask.left(),
            mask.right(),
            shape.batch,
            shape.heads,
            shape.kv_heads,
            shape.dim,
            shape.value_dim,
            sizeof(T),
            sizeof(ringfold::accumulate_t<T>),
            gradient_bytes};
  }
};

/// What came out, gathered: o [batch, token, head, value_dim], lse [batch, token, head], and each rank's counters.
template <class T>
struct outcome {
  std::vector<T> o;
  std::vector<ringfold::accumulate_t<T>> lse;
  std::vector<ringfold::counters> books;
  extent most_workspace = 0;
};

/// An outcome with room for an experiment's results.
template <class T, class E>
outcome<T> room_for(const E& e) {
  auto const rows = static_cast<std::size_t>(e.shape.batch * e.tokens.tokens() * e.shape.heads);
  return {std::vector<T>(rows * static_cast<std::size_t>(e.shape.value_dim)),
          std::vector<ringfold::accumulate_t<T>>(rows),
          std::vector<ringfold::counters>(static_cast<std::size_t>(e.tokens.ranks()))};
}

/// Puts a rank's dense or strided rows where they belong.
template <class T>
void keep(std::vector<T>& to, const sharded::shard<T>& from, const layout& by, int rank) {
  extent const* const e = from.whole.extents;
  std::vector<T> rows(static_cast<std::size_t>(from.whole.size()));
  ringfold::host_stream{}.copy(piece_of(ringfold::dense(rows.data(), e[0], e[1], e[2], e[3]), ringfold::role::other),
                               piece_of(from.whole, ringfold::role::other));
  sharded::gather(to, rows, by, rank, e[0], e[2] * e[3]);
}

/// Numbers per head as a plan takes them: nothing where there are none.
template <class A>
ringfold::view<A, 1> per_head(std::vector<A>& of) {
  return ringfold::dense(of.empty() ? nullptr : of.data(), static_cast<extent>(of.size()));
}

/// Runs one rank's part and writes it into the outcome under a lock.
template <class E, class Which, class C, class Kernel, class T = typename E::element>
void run_rank(const E& e, Which which, C comm, Kernel kernel, outcome<T>& all, std::mutex& guard, int repeats = 1) {
  using A = ringfold::accumulate_t<T>;
  auto const p = e.problem();
  int const rank = comm.rank();
  extent const rows = e.tokens.rows(rank), b = e.shape.batch, h = e.shape.heads, dv = e.shape.value_dim;
  auto const q = sharded::scatter<T>(e.q, e.tokens, rank, e.order, b, h, e.shape.dim);
  auto const k = sharded::scatter<T>(e.k, e.keys(), rank, e.order, b, e.shape.kv_heads, e.shape.dim);
  auto const v = sharded::scatter<T>(e.v, e.keys(), rank, e.order, b, e.shape.kv_heads, dv);
  auto const q_before = q.memory, k_before = k.memory, v_before = v.memory;
  auto out = sharded::make_shard<T>(e.order, b, rows, h, dv);
  std::vector<A> lse(static_cast<std::size_t>(b * rows * h + 1)), sinks(e.sinks.begin(), e.sinks.end());
  ringfold::counters book;
  with(which, ringfold::counted(comm, book), kernel, [&](auto attend) {
    ringfold::plan run(attend, p);
    for (int i = 0; i < repeats; ++i) {
      book = {};
      run.forward(q, k, v, out.whole, ringfold::dense(lse.data(), b, rows, h), per_head(sinks));
    }
    std::lock_guard const lock(guard);
    all.most_workspace = std::max(all.most_workspace, run.workspace());
  });
  auto const same = [](const auto& a, const auto& c) {
    return a.empty() || std::memcmp(a.data(), c.data(), a.size() * sizeof(a[0])) == 0;
  };
  if (!same(q.memory, q_before) || !same(k.memory, k_before) || !same(v.memory, v_before)) {
    throw ringfold::usage_error(ringfold::say("an input was written"));
  }
  lse.pop_back();
  std::lock_guard const lock(guard);
  keep(all.o, out, e.tokens, rank);
  sharded::gather(all.lse, lse, e.tokens, rank, b, h);
  all.books[static_cast<std::size_t>(rank)] = book;
}

/// What a kernel is run as: where a schedule has a name, the library's own share a type, so that it is compiled once.
template <class Which, class Kernel>
auto compiled(Kernel kernel) {
  constexpr bool blocked = std::is_same_v<Kernel, ringfold::flash_kernel>;
  if constexpr (std::is_same_v<Which, name> && (blocked || std::is_same_v<Kernel, ringfold::reference_kernel>)) {
    return either_kernel{{}, blocked};
  } else {
    return kernel;
  }
}

/// Runs a schedule on as many thread ranks as the layout has.
template <class E, class Which, class Kernel, class T = typename E::element>
outcome<T> run(const E& e, Which which, Kernel kernel, int repeats = 1) {
  auto all = room_for<T>(e);
  std::mutex guard;
  ringfold::run_ranks(e.tokens.ranks(), [&](ringfold::threads comm) {
    run_rank(e, which, comm, compiled<Which>(kernel), all, guard, repeats);
  });
  return all;
}

/// What a rank must send, worked out without the library; not known for schedules that no paper counts.
template <class T>
bool expected(const experiment<T>& e, name which, int rank, ringfold::examples::sent& sent) {
  auto const t = e.traffic();
  int const across = columns(e.tokens.ranks());
  switch (which) {
    case name::ring: sent = ring_traffic(t, rank); return true;
    case name::gather: sent = gather_traffic(t, rank, 1); return true;
    case name::ulysses: sent = usp_traffic(t, rank, e.tokens.ranks()); return true;
    case name::usp: sent = usp_traffic(t, rank, across); return true;
    case name::double_ring: sent = double_ring_traffic(t, rank, across); return true;
    case name::direct: sent = direct_traffic(t, rank); return true;
    case name::query_ring: sent = query_ring_traffic(t, rank); return true;
    case name::split_kv: sent = split_kv_traffic(t, rank, false); return true;
    case name::split_kv_by_tree: sent = split_kv_traffic(t, rank, true); return true;
    default: return false;
  }
}

/// Gradients, gathered and dense like their inputs, and each rank's counters of the backward call alone; and what the
/// forward call gave and sent before.
template <class T>
struct backward_outcome {
  std::vector<T> dq, dk, dv;
  std::vector<ringfold::counters> books;
  std::vector<double> dsinks;  ///< added up over the ranks
  outcome<T> forward;

  template <class E>
  explicit backward_outcome(const E& e)
      : dq(e.q.size()),
        dk(e.k.size()),
        dv(e.v.size()),
        books(static_cast<std::size_t>(e.tokens.ranks())),
        dsinks(e.sinks.size()),
        forward(room_for<T>(e)) {}
};

/// Runs forward and backward of one rank: dout is [batch, token, head, value_dim], dlse [batch, token, head].
template <class E, class Which, class C, class Kernel, class T = typename E::element>
void run_rank_backward(const E& e, Which which, C comm, Kernel kernel, const std::vector<double>& dout,
                       const std::vector<double>& dlse, backward_outcome<T>& all, std::mutex& guard, int repeats) {
  using A = ringfold::accumulate_t<T>;
  auto const p = e.problem();
  auto const& s = e.shape;
  int const rank = comm.rank();
  extent const rows = e.tokens.rows(rank), key_rows = e.keys().rows(rank);
  auto const shard = [&](const std::vector<double>& from, const layout& by, extent heads, extent dim) {
    return sharded::scatter<T>(from, by, rank, e.order, s.batch, heads, dim);
  };
  auto const q = shard(e.q, e.tokens, s.heads, s.dim), k = shard(e.k, e.keys(), s.kv_heads, s.dim),
             v = shard(e.v, e.keys(), s.kv_heads, s.value_dim), of_out = shard(dout, e.tokens, s.heads, s.value_dim);
  auto out = sharded::make_shard<T>(e.order, s.batch, rows, s.heads, s.value_dim);
  auto dq = sharded::make_shard<T>(e.order, s.batch, rows, s.heads, s.dim);
  auto dk = sharded::make_shard<T>(e.order, s.batch, key_rows, s.kv_heads, s.dim);
  auto dv = sharded::make_shard<T>(e.order, s.batch, key_rows, s.kv_heads, s.value_dim);
  std::vector<A> lse(static_cast<std::size_t>(s.batch * rows * s.heads + 1)), sinks(e.sinks.begin(), e.sinks.end()),
      dsinks(sinks.size(), A(9));
  auto of_lse = sharded::scatter<A>(dlse, e.tokens, rank, sharded::memory_order::bshd, s.batch, s.heads, 1);
  auto const lse_view = ringfold::dense(lse.data(), s.batch, rows, s.heads);
  ringfold::counters book, forward_book;
  auto const before = std::array{q.memory, k.memory, v.memory, of_out.memory};
  with(which, ringfold::counted(comm, book), kernel, [&](auto attend) {
    ringfold::plan run(attend, p);
    ringfold::backward_plan back(attend, p);
    run.forward(q, k, v, out.whole, lse_view, per_head(sinks));
    forward_book = book;
    for (int i = 0; i < repeats; ++i) {
      book = {};
      back.backward(q, k, v, out.whole, lse_view, of_out, dq.whole, dk.whole, dv.whole,
                    ringfold::dense(of_lse.memory.data(), s.batch, rows, s.heads), per_head(sinks), per_head(dsinks));
    }
  });
  auto const after = std::array{q.memory, k.memory, v.memory, of_out.memory};
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (!before[i].empty() && std::memcmp(before[i].data(), after[i].data(), before[i].size() * sizeof(T)) != 0) {
      throw ringfold::usage_error(ringfold::say("an input was written"));
    }
  }
  lse.pop_back();
  std::lock_guard const lock(guard);
  keep(all.dq, dq, e.tokens, rank);
  keep(all.dk, dk, e.keys(), rank);
  keep(all.dv, dv, e.keys(), rank);
  for (std::size_t h = 0; h < dsinks.size(); ++h) all.dsinks[h] += static_cast<double>(dsinks[h]);
  keep(all.forward.o, out, e.tokens, rank);
  sharded::gather(all.forward.lse, lse, e.tokens, rank, s.batch, s.heads);
  all.books[static_cast<std::size_t>(rank)] = book;
  all.forward.books[static_cast<std::size_t>(rank)] = forward_book;
}

/// Runs forward and backward of a schedule on as many thread ranks as the layout has.
template <class E, class Which, class Kernel, class T = typename E::element>
backward_outcome<T> run_backward(const E& e, Which which, Kernel kernel, const std::vector<double>& dout,
                                 const std::vector<double>& dlse, int repeats = 1) {
  backward_outcome<T> all(e);
  std::mutex guard;
  ringfold::run_ranks(e.tokens.ranks(), [&](ringfold::threads comm) {
    run_rank_backward(e, which, comm, compiled<Which>(kernel), dout, dlse, all, guard, repeats);
  });
  return all;
}

/// What a rank must send backward, worked out without the library.
template <class T>
bool expected_backward(const experiment<T>& e, name which, int rank, ringfold::examples::sent& sent) {
  auto const t = e.traffic();
  int const across = columns(e.tokens.ranks());
  switch (which) {
    case name::ring: sent = ring_backward_traffic(t, rank); return true;
    case name::gather: sent = gather_backward_traffic(t, rank, 1); return true;
    case name::ulysses: sent = usp_backward_traffic(t, rank, e.tokens.ranks()); return true;
    case name::usp: sent = usp_backward_traffic(t, rank, across); return true;
    case name::double_ring: sent = double_ring_backward_traffic(t, rank, across); return true;
    case name::direct: sent = direct_backward_traffic(t, rank); return true;
    case name::query_ring: sent = query_ring_backward_traffic(t, rank); return true;
    case name::split_kv: sent = split_kv_backward_traffic(t, rank, false); return true;
    case name::split_kv_by_tree: sent = split_kv_backward_traffic(t, rank, true); return true;
    default: return false;
  }
}

// What most tests run is compiled once, in tests/attention/runs.
#define RINGFOLD_TEST_RUNS(declared, T)                                                                      \
  declared template void run_rank(const experiment<T>&, name, ringfold::threads, either_kernel, outcome<T>&, \
                                  std::mutex&, int);                                                         \
  declared template void run_rank_backward(const experiment<T>&, name, ringfold::threads, either_kernel,     \
                                           const std::vector<double>&, const std::vector<double>&,           \
                                           backward_outcome<T>&, std::mutex&, int);
#ifdef RINGFOLD_TEST_RUNS_ELSEWHERE
RINGFOLD_TEST_RUNS(extern, float)
RINGFOLD_TEST_RUNS(extern, double)
RINGFOLD_TEST_RUNS(extern, ringfold::bf16)
RINGFOLD_TEST_RUNS(extern, ringfold::f16)
#endif

}  // namespace schedules
