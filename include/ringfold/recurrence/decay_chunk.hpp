#pragma once

#include <ringfold/recurrence/gates.hpp>
#include <ringfold/recurrence/matrix.hpp>

/// \file
/// Some tokens of one head under decay, as matrices: the chunkwise form of linear attention.

namespace ringfold {

/// What a recurrence reads of some tokens, [batch, row, head, dim]; owns nothing.
template <class T, class Space = host_space>
struct recurrence_operands {
  view<const T, 4, Space> q, k, v;
  view<const accumulate_t<T>, 4, Space> gates;  ///< spread over all four axes

  recurrence_operands rows(range r) const {
    return {slice(q, row_axis, r), slice(k, row_axis, r), slice(v, row_axis, r),
            gates.data == nullptr ? gates : slice(gates, row_axis, r)};
  }
};

namespace detail {

/// The tokens of a chunk of one head, and what they do with a state [dim, value_dim].
///
/// Decays are made token by token, as products of numbers in [0, 1]: nothing can overflow, a gate of -inf is a factor
/// of 0, and there are no differences of long sums of logarithms, whose rounding grows with the sums.
/// Source: the chunkwise form of Gated Linear Attention (Yang et al., 2024), with products in place of exp(G_i - G_j).
template <class A>
struct decay_chunk {
  extent dim, value_dim, tokens = 0;
  matrix<A> q, k, v, decay;  ///< queries are scaled; decay is that of each token, of every row of the state
  matrix<A> out;
  matrix<A> moved;  ///< keys or queries, decayed up to another token
  A* passed;        ///< the decay between a token and an end of the chunk

  decay_chunk(extent most, extent d, extent e, arena<host_space>& memory)
      : dim(d),
        value_dim(e),
        q(take_matrix<A>(memory, most, d)),
        k(take_matrix<A>(memory, most, d)),
        v(take_matrix<A>(memory, most, e)),
        decay(take_matrix<A>(memory, most, d)),
        out(take_matrix<A>(memory, most, e)),
        moved(take_matrix<A>(memory, most, d)),
        passed(memory.take<A>(d)) {}

  template <class T>
  void load(const recurrence_operands<T>& from, extent b, extent h, extent first, extent count, A scale) {
    tokens = count;
    load_rows(from.q, b, h, first, count, scale, q);
    load_rows(from.k, b, h, first, count, A{1}, k);
    load_rows(from.v, b, h, first, count, A{1}, v);
    fill(out.data, A{0}, count * value_dim);
    auto const of = [](A gate) { return exponential::exp2(gate, floating<A>::log2_e); };
    for (extent i = 0; i < count; ++i) {
      if (from.gates.data == nullptr || from.gates.extents[dim_axis] == 1) {
        fill(decay[i], from.gates.data == nullptr ? A{1} : of(from.gates(b, first + i, h, 0)), dim);
      } else {
        for (extent d = 0; d < dim; ++d) decay[i][d] = of(from.gates(b, first + i, h, d));
      }
    }
  }

  /// What the tokens read of each other: out_i += sum over j <= i of (q_i . decayed k_j) v_j.
  void read_each_other() {
    for (extent i = 0; i < tokens; ++i) {
      for (extent d = 0; d < dim; ++d) moved[i][d] = k[i][d];
      for (extent j = 0; j < i; ++j) multiply_by(moved[j], decay[i], dim);
      for (extent j = 0; j <= i; ++j) add_scaled(out[i], dot(q[i], moved[j], dim), v[j], value_dim);
    }
  }

  /// What they read of the state before the chunk.
  void read(matrix<A> state) {
    fill(passed, A{1}, dim);
    for (extent i = 0; i < tokens; ++i) {
      multiply_by(passed, decay[i], dim);
      for (extent d = 0; d < dim; ++d) add_scaled(out[i], q[i][d] * passed[d], state[d], value_dim);
    }
  }

  /// The state after the chunk from that before it.
  void write(matrix<A> state) {
    decay_to_end();
    for (extent d = 0; d < dim; ++d) {
      for (extent e = 0; e < value_dim; ++e) state[d][e] *= passed[d];
      for (extent j = 0; j < tokens; ++j) add_scaled(state[d], moved[j][d], v[j], value_dim);
    }
  }

 protected:
  /// moved: keys decayed to the end of the chunk; passed: the decay of it all.
  void decay_to_end() {
    fill(passed, A{1}, dim);
    for (extent j = tokens - 1; j >= 0; --j) {
      for (extent d = 0; d < dim; ++d) moved[j][d] = k[j][d] * passed[d];
      multiply_by(passed, decay[j], dim);
    }
  }
};

}  // namespace detail

}  // namespace ringfold
