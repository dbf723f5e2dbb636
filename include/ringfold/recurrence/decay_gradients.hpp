#pragma once

#include <ringfold/recurrence/decay_chunk.hpp>

/// \file
/// The gradients of a chunk of one head under decay.

namespace ringfold {

/// What a backward pass adds to, [batch, row, head, dim]; owns nothing.
template <class A, class Space = host_space>
struct recurrence_gradients {
  view<A, 4, Space> q, k, v;
  view<A, 4, Space> gates;  ///< spread over all four axes: what was given once gathers the sum

  recurrence_gradients rows(range r) const {
    return {slice(q, row_axis, r), slice(k, row_axis, r), slice(v, row_axis, r),
            gates.data == nullptr ? gates : slice(gates, row_axis, r)};
  }
};

namespace detail {

/// The chunk's tokens, the cotangents of what they read, and what all of them make of the gradients.
///
/// The gradient of a gate is the sum of what its decay stood between: the pairs of tokens before it and not before it,
/// what later tokens read of the state, what earlier ones wrote, and the state itself. Sums of these are added up
/// alone; the shorter form, a sum of q dq - k dk over all later tokens, cancels.
template <class A>
struct decay_gradients : decay_chunk<A> {
  using base = decay_chunk<A>;
  using base::dim, base::value_dim, base::tokens, base::q, base::k, base::v, base::decay, base::moved, base::passed;
  matrix<A> dout, dq, dk, dv, dgates;  ///< dq is of scaled queries
  matrix<A> slopes;                    ///< of what each token weighs each other
  A* sum;

  decay_gradients(extent most, extent d, extent e, arena<host_space>& memory)
      : base(most, d, e, memory),
        dout(take_matrix<A>(memory, most, e)),
        dq(take_matrix<A>(memory, most, d)),
        dk(take_matrix<A>(memory, most, d)),
        dv(take_matrix<A>(memory, most, e)),
        dgates(take_matrix<A>(memory, most, d)),
        slopes(take_matrix<A>(memory, most, most)),
        sum(memory.take<A>(d)) {}

  template <class T>
  void load(const recurrence_operands<T>& from, const view<const T, 4>& cotangent, extent b, extent h, extent first,
            extent count, A scale) {
    base::load(from, b, h, first, count, scale);
    load_rows(cotangent, b, h, first, count, A{1}, dout);
    for (matrix<A> const each : {dq, dk, dv, dgates}) fill(each.data, A{0}, count * each.width);
  }

  /// From what the tokens read of each other.
  void from_each_other() {
    for (extent i = 0; i < tokens; ++i) {
      for (extent d = 0; d < dim; ++d) moved[i][d] = k[i][d];
      fill(sum, A{0}, dim);
      for (extent j = 0; j <= i; ++j) {
        if (j < i) multiply_by(moved[j], decay[i], dim);
        slopes[i][j] = dot(dout[i], v[j], value_dim);
        add_scaled(dv[j], dot(q[i], moved[j], dim), dout[i], value_dim);
        add_scaled(dq[i], slopes[i][j], moved[j], dim);
        if (j == i) continue;
        for (extent d = 0; d < dim; ++d) {
          sum[d] = fused(slopes[i][j] * q[i][d], moved[j][d], sum[d]);
          dgates[j + 1][d] += sum[d];
        }
      }
    }
    for (extent j = tokens - 1; j >= 0; --j) {
      for (extent d = 0; d < dim; ++d) moved[j][d] = q[j][d];
      for (extent i = j; i < tokens; ++i) {
        if (i > j) multiply_by(moved[i], decay[j + 1], dim);
        add_scaled(dk[j], slopes[i][j], moved[i], dim);
      }
    }
  }

  /// From what the tokens read of the state before the chunk.
  void from_state(matrix<A> state) {
    fill(passed, A{1}, dim);
    for (extent i = 0; i < tokens; ++i) {
      multiply_by(passed, decay[i], dim);
      for (extent d = 0; d < dim; ++d) {
        A const slope = passed[d] * dot(state[d], dout[i], value_dim);
        dq[i][d] += slope;
        moved[i][d] = slope * q[i][d];
      }
    }
    fill(sum, A{0}, dim);
    for (extent i = tokens - 1; i >= 0; --i) {
      add_scaled(sum, A{1}, moved[i], dim);
      add_scaled(dgates[i], A{1}, sum, dim);
    }
  }

  /// From what the tokens wrote into the state behind the chunk, and what they left of the one before.
  void from_cotangent(matrix<A> dstate, matrix<A> state) {
    fill(passed, A{1}, dim);
    for (extent j = tokens - 1; j >= 0; --j) {
      for (extent d = 0; d < dim; ++d) {
        A const slope = passed[d] * dot(dstate[d], v[j], value_dim);
        dk[j][d] += slope;
        moved[j][d] = slope * k[j][d];
        add_scaled(dv[j], k[j][d] * passed[d], dstate[d], value_dim);
      }
      multiply_by(passed, decay[j], dim);
    }
    for (extent d = 0; d < dim; ++d) sum[d] = passed[d] * dot(dstate[d], state[d], value_dim);
    for (extent j = 0; j < tokens; ++j) {
      add_scaled(dgates[j], A{1}, sum, dim);
      add_scaled(sum, A{1}, moved[j], dim);
    }
  }

  /// The cotangent of the state before the chunk from that of the one behind it.
  void read_backward(matrix<A> dstate) {
    fill(passed, A{1}, dim);
    for (extent i = 0; i < tokens; ++i) {
      multiply_by(passed, decay[i], dim);
      for (extent d = 0; d < dim; ++d) moved[i][d] = q[i][d] * passed[d];
    }
    for (extent d = 0; d < dim; ++d) {
      for (extent e = 0; e < value_dim; ++e) dstate[d][e] *= passed[d];
      for (extent i = 0; i < tokens; ++i) add_scaled(dstate[d], moved[i][d], dout[i], value_dim);
    }
  }

  /// Adds what was worked out to a head's rows.
  void add_to(const recurrence_gradients<A>& to, extent b, extent h, extent first, A scale) const {
    add_rows(to.q, b, h, first, tokens, scale, dq);
    add_rows(to.k, b, h, first, tokens, A{1}, dk);
    add_rows(to.v, b, h, first, tokens, A{1}, dv);
    if (to.gates.data == nullptr) return;
    for (extent i = 0; i < tokens; ++i) {
      for (extent d = 0; d < dim; ++d)
        to.gates(b, first + i, h, to.gates.extents[dim_axis] == 1 ? 0 : d) += dgates[i][d];
    }
  }
};

}  // namespace detail

}  // namespace ringfold
