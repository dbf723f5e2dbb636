#pragma once

#include <cstring>

#include <ringfold/attention/plan.hpp>
#include <ringfold/testing/attention_cases.hpp>

/// \file
/// The laws of an attention over ranks: run them with your own communicator, kernel or combinator.

namespace ringfold {

namespace testing::detail {

/// One rank's shards of a case, with room for its results.
template <class T>
struct rank_shards {
  using sum = accumulate_t<T>;
  extent batch, rows, heads, kv_heads, dim, value_dim;
  std::vector<T> q, k, v, out;
  std::vector<sum> lse;

  rank_shards(const attention_case& c, int owner)
      : batch(c.of.batch),
        rows(c.tokens.rows(owner)),
        heads(c.of.heads),
        kv_heads(c.of.kv_heads),
        dim(c.of.dim),
        value_dim(c.of.value_dim),
        q(rows_of<T>(c.q, c.tokens, owner, batch, heads * dim)),
        k(rows_of<T>(c.k, c.tokens, owner, batch, kv_heads * dim)),
        v(rows_of<T>(c.v, c.tokens, owner, batch, kv_heads * value_dim)),
        out(static_cast<std::size_t>(batch * rows * heads * value_dim)),
        lse(static_cast<std::size_t>(batch * rows * heads)) {}

  template <class Plan>
  void forward(Plan& run) {
    run.forward(dense(q.data(), batch, rows, heads, dim), dense(k.data(), batch, rows, kv_heads, dim),
                dense(v.data(), batch, rows, kv_heads, value_dim), dense(out.data(), batch, rows, heads, value_dim),
                dense(lse.data(), batch, rows, heads));
  }
};

template <class T>
bool same_memory(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace testing::detail

/// The definition's result on every rank, the same bits each time, and inputs left alone. Every rank calls it.
template <class T, class A>
void forward_law(const A& attend, const testing::attention_case& c) {
  auto const p = make_problem<T>(c.tokens, c.of, c.seen);
  plan run(attend, p);
  int const owner = run.described().owner;
  testing::detail::rank_shards<T> once(c, owner);
  auto again = once;
  auto const before = once;
  once.forward(run);
  again.forward(run);
  auto const o = testing::rows_of<double>(c.o, c.tokens, owner, c.of.batch, c.of.heads * c.of.value_dim);
  auto const lse = testing::rows_of<double>(c.lse, c.tokens, owner, c.of.batch, c.of.heads);
  testing::agree("definition, out", once.out, o, testing::law_bound<T>);
  testing::agree("definition, lse", once.lse, lse, sizeof(accumulate_t<T>) == 8 ? 1e-13 : 4e-6);
  using testing::detail::same_memory;
  if (!same_memory(once.out, again.out) || !same_memory(once.lse, again.lse)) {
    throw law_violation(say("repeatable: rank %d got other bits the second time", owner));
  }
  if (!same_memory(once.q, before.q) || !same_memory(once.k, before.k) || !same_memory(once.v, before.v)) {
    throw law_violation(say("inputs are read only: rank %d found its own changed", owner));
  }
}

/// All laws of an attention over ranks, for elements of T and at least as many heads as it may split.
///
/// Every rank calls it with the same arguments; work grows with the square of the number of ranks.
/// \throws law_violation; on the other ranks, what their communicator makes of it
/// \snippet testing/attention_laws_test.cpp attention_laws
template <class T, class A>
void attention_laws(const A& attend, std::uint64_t seed = 1) {
  auto const shapes = testing::law_shapes(attend.ranks());
  for (const layout& tokens : testing::law_layouts(attend.ranks())) {
    for (band const mask : testing::law_masks()) {
      forward_law<T>(attend, testing::make_case<T>(tokens, shapes[seed % 3], mask, seed));
      ++seed;
    }
  }
}

}  // namespace ringfold
