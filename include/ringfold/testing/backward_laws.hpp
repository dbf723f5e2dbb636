#pragma once

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/testing/attention_laws.hpp>

/// \file
/// The law of a backward pass over ranks: run it with your own communicator, kernel or combinator.

namespace ringfold {

namespace testing {

/// The gradients of a case by the chain rule, in double, for given gradients of out; dense like q, k and v.
struct case_gradients {
  std::vector<double> dout, dlse, dq, dk, dv;
};

template <class T>
case_gradients make_gradients(const attention_case& c, std::uint64_t seed) {
  shape const& s = c.of;
  extent const n = c.tokens.tokens(), rows = s.batch * n;
  case_gradients made{detail::numbers<T>(rows * s.heads * s.value_dim, 3 * seed + 1000),
                      detail::numbers<accumulate_t<T>>(rows * s.heads, 3 * seed + 1001),
                      {},
                      {},
                      {}};
  made.dq.resize(c.q.size()), made.dk.resize(c.k.size()), made.dv.resize(c.v.size());
  double const scale = 1 / std::sqrt(static_cast<double>(s.dim));
  auto const at = [](auto& all, extent i) -> auto& { return all[static_cast<std::size_t>(i)]; };
  for (extent row = 0; row < rows * s.heads; ++row) {
    extent const query = row / s.heads % n, first_key = row / s.heads / n * n,
                 kv = row % s.heads / (s.heads / s.kv_heads);
    double delta = -at(made.dlse, row);
    for (extent d = 0; d < s.value_dim; ++d)
      delta += at(c.o, row * s.value_dim + d) * at(made.dout, row * s.value_dim + d);
    for (extent position = 0; position < n; ++position) {
      if (!c.seen.allows(query, position)) continue;
      extent const key = (first_key + position) * s.kv_heads + kv;
      double score = 0, gain = 0;
      for (extent d = 0; d < s.dim; ++d) score += at(c.q, row * s.dim + d) * at(c.k, key * s.dim + d);
      for (extent d = 0; d < s.value_dim; ++d)
        gain += at(made.dout, row * s.value_dim + d) * at(c.v, key * s.value_dim + d);
      double const weight = std::exp(score * scale - at(c.lse, row)), of_score = weight * (gain - delta) * scale;
      for (extent d = 0; d < s.value_dim; ++d)
        at(made.dv, key * s.value_dim + d) += weight * at(made.dout, row * s.value_dim + d);
      for (extent d = 0; d < s.dim; ++d) {
        at(made.dq, row * s.dim + d) += of_score * at(c.k, key * s.dim + d);
        at(made.dk, key * s.dim + d) += of_score * at(c.q, row * s.dim + d);
      }
    }
  }
  return made;
}

}  // namespace testing

/// The chain rule's gradients on every rank, and the same bits each time. Every rank calls it.
template <class T, class A>
void backward_law(const A& attend, const testing::attention_case& c, std::uint64_t seed) {
  using sum = accumulate_t<T>;
  auto const p = make_problem<T>(c.tokens, c.of, c.seen);
  plan run(attend, p);
  backward_plan back(attend, p);
  int const owner = run.described().owner;
  auto const exact = testing::make_gradients<T>(c, seed);
  testing::detail::rank_shards<T> mine(c, owner);
  mine.forward(run);
  shape const& s = c.of;
  extent const rows = c.tokens.rows(owner);
  auto const dout = testing::rows_of<T>(exact.dout, c.tokens, owner, s.batch, s.heads * s.value_dim);
  auto const dlse = testing::rows_of<sum>(exact.dlse, c.tokens, owner, s.batch, s.heads);
  auto const once = [&] {
    std::vector<T> dq(mine.q.size()), dk(mine.k.size()), dv(mine.v.size());
    back.backward(
        dense(mine.q.data(), s.batch, rows, s.heads, s.dim), dense(mine.k.data(), s.batch, rows, s.kv_heads, s.dim),
        dense(mine.v.data(), s.batch, rows, s.kv_heads, s.value_dim),
        dense(mine.out.data(), s.batch, rows, s.heads, s.value_dim), dense(mine.lse.data(), s.batch, rows, s.heads),
        dense(dout.data(), s.batch, rows, s.heads, s.value_dim), dense(dq.data(), s.batch, rows, s.heads, s.dim),
        dense(dk.data(), s.batch, rows, s.kv_heads, s.dim), dense(dv.data(), s.batch, rows, s.kv_heads, s.value_dim),
        dense(dlse.data(), s.batch, rows, s.heads));
    return std::vector<std::vector<T>>{dq, dk, dv};
  };
  auto const got = once(), again = once();
  auto const agree = [&](const char* law, const std::vector<T>& gradient, const std::vector<double>& wanted,
                         extent width) {
    // A key's gradient sums over all its readers: rounding of out, which delta is made of, comes in with every one.
    double const bound = 4 * testing::law_bound<T>;
    testing::agree(law, gradient, testing::rows_of<double>(wanted, c.tokens, owner, s.batch, width), bound);
  };
  agree("chain rule, dq", got[0], exact.dq, s.heads * s.dim);
  agree("chain rule, dk", got[1], exact.dk, s.kv_heads * s.dim);
  agree("chain rule, dv", got[2], exact.dv, s.kv_heads * s.value_dim);
  for (int i = 0; i < 3; ++i) {
    auto const part = static_cast<std::size_t>(i);
    if (!testing::detail::same_memory(got[part], again[part])) {
      throw law_violation(say("repeatable: rank %d got other gradients the second time", owner));
    }
  }
}

/// All laws of a backward pass over ranks, for elements of T. Every rank calls it with the same arguments.
/// \throws law_violation; on the other ranks, what their communicator makes of it
/// \snippet testing/attention_laws_test.cpp backward_laws
template <class T, class A>
void backward_laws(const A& attend, std::uint64_t seed = 1) {
  auto const shapes = testing::law_shapes(attend.ranks());
  for (const layout& tokens : testing::law_layouts(attend.ranks())) {
    for (band const mask : testing::law_masks()) {
      backward_law<T>(attend, testing::make_case<T>(tokens, shapes[seed % 3], mask, seed), seed);
      ++seed;
    }
  }
}

}  // namespace ringfold
