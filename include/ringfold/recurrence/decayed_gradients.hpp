#pragma once

#include <ringfold/recurrence/decayed_tokens.hpp>

/// \file
/// The gradients of what tokens read and write by, and of the decay between them.

namespace ringfold::detail {

/// Adds gradients to Tokens, which are decayed_tokens: each verb adds to dx and to those of the gates.
///
/// The gradient of a gate is the sum of what its decay stood between: the pairs of tokens before it and not before it,
/// what later tokens read of the state, what earlier ones wrote, and the state itself. Sums of these are added up
/// alone; the shorter form, a sum of q dq - k dk over all later tokens, cancels.
template <class A, class Tokens>
struct decayed_gradients : Tokens {
  using Tokens::decay, Tokens::dim, Tokens::moved, Tokens::passed, Tokens::tokens;
  matrix<A> dgates;
  matrix<A> slopes;  ///< of what each token weighs each other
  A* sum;

  decayed_gradients(extent most, extent d, extent e, arena<host_space>& memory)
      : Tokens(most, d, e, memory),
        dgates(take_matrix<A>(memory, most, d)),
        slopes(take_matrix<A>(memory, most, most)),
        sum(memory.take<A>(d)) {}

  /// Of what tokens read of each other, and to the cotangents of values. A token's is complete before it is read, so
  /// that what was read in place goes back in place.
  void differentiate_pairs(const state_reads<A>& r, const state_writes<A>& w) {
    Tokens::for_each_pair_back(r, [&](extent i, extent j, const A* x) {
      slopes[i][j] = dot(r.sum[i], w.value[j], w.value.width);
      add_scaled(w.dvalue[j], dot(x, w.x[j], dim), r.sum[i], r.sum.width);
      add_scaled(w.dx[j], slopes[i][j], x, dim);
    });
    Tokens::for_each_pair(r, w, [&](extent i, extent j, const A* x) {
      A const slope = slopes[i][j];
      add_scaled(r.dx[i], slope, x, dim);
      if (j == 0) fill(sum, A{0}, dim);
      if (j + r.lag == i) return;
      for (extent d = 0; d < dim; ++d) {
        sum[d] = fused(slope * r.x[i][d], x[d], sum[d]);
        dgates[j + 1][d] += sum[d];
      }
    });
  }

  /// Of what they read of the state before the chunk.
  void differentiate_read(const state_reads<A>& r, matrix<A> state) {
    fill(passed, A{1}, dim);
    for (extent i = 0; i < tokens; ++i) {
      if (i >= r.lag) multiply_by(passed, decay[i - r.lag], dim);
      for (extent d = 0; d < dim; ++d) {
        A const slope = passed[d] * dot(state[d], r.sum[i], state.width);
        r.dx[i][d] += slope;
        moved[i][d] = slope * r.x[i][d];
      }
    }
    fill(sum, A{0}, dim);
    for (extent i = tokens - 1; i >= r.lag; --i) {
      add_scaled(sum, A{1}, moved[i], dim);
      add_scaled(dgates[i - r.lag], A{1}, sum, dim);
    }
  }

  /// Of what they wrote into the state behind the chunk, by its cotangent.
  void differentiate_write(const state_writes<A>& w, matrix<A> dstate) {
    fill(passed, A{1}, dim);
    for (extent j = tokens - 1; j >= 0; --j) {
      for (extent d = 0; d < dim; ++d) {
        A const slope = passed[d] * dot(dstate[d], w.value[j], dstate.width);
        w.dx[j][d] += slope;
        moved[j][d] = slope * w.x[j][d];
      }
      multiply_by(passed, decay[j], dim);
    }
    fill(sum, A{0}, dim);
    for (extent j = 0; j < tokens; ++j) {
      add_scaled(dgates[j], A{1}, sum, dim);
      add_scaled(sum, A{1}, moved[j], dim);
    }
  }

  /// Of what the chunk left of the state before it.
  void differentiate_forget(matrix<A> state, matrix<A> dstate) {
    Tokens::decay_all();
    for (extent d = 0; d < dim; ++d) sum[d] = passed[d] * dot(dstate[d], state[d], state.width);
    for (extent j = 0; j < tokens; ++j) add_scaled(dgates[j], A{1}, sum, dim);
  }
};

}  // namespace ringfold::detail
