#pragma once

#include <ringfold/recurrence/gates.hpp>
#include <ringfold/recurrence/matrix.hpp>

/// \file
/// What the tokens of a chunk read of a decaying state and write into it, and how cotangents go back.

namespace ringfold::detail {

/// Vectors by which tokens read a state S: sum += x S. Backward, sum is the cotangent of what was read.
///
/// A token with no lag reads the state that it leaves; with a lag of 1, the one that it finds.
template <class A>
struct state_reads {
  matrix<A> x, sum;
  extent lag = 0;
  matrix<A> dx = {};
};

/// Vectors along which tokens write a value into the state, after its decay: S += x value^T.
template <class A>
struct state_writes {
  matrix<A> x, value, dx = {}, dvalue = {};
};

/// The decays of a chunk's tokens, under which S_t = Diag(decay_t) S_(t-1) + what token t writes.
///
/// What is read may be what is written: the first token's sum is complete before the second is begun, so that a chunk
/// whose values are sums of its own reads is solved in place, and the unit lower-triangular system has no matrix.
/// Going back it is the same from the last token on.
///
/// Decays are made token by token, as products of numbers in [0, 1]: nothing can overflow, a gate of -inf is a factor
/// of 0, and there are no differences of long sums of logarithms, whose rounding grows with the sums.
/// Source: the chunkwise form of Gated Linear Attention (Yang et al., 2024), with products in place of exp(G_i - G_j).
template <class A>
struct decayed_tokens {
  extent dim, tokens = 0;
  matrix<A> decay;  ///< of every row of the state
  matrix<A> moved;  ///< vectors, decayed up to another token or an end of the chunk
  A* passed;        ///< the decay between a token and an end of the chunk

  decayed_tokens(extent most, extent d, arena<host_space>& memory)
      : dim(d),
        decay(take_matrix<A>(memory, most, d)),
        moved(take_matrix<A>(memory, most, d)),
        passed(memory.take<A>(d)) {}

  template <class Gates>
  void load_decay(const Gates& gates, extent b, extent h, extent first, extent count) {
    tokens = count;
    auto const of = [](A gate) { return exponential::exp2(gate, floating<A>::log2_e); };
    for (extent i = 0; i < count; ++i) {
      if (gates.data == nullptr || gates.extents[dim_axis] == 1) {
        fill(decay[i], gates.data == nullptr ? A{1} : of(gates(b, first + i, h, 0)), dim);
      } else {
        for (extent d = 0; d < dim; ++d) decay[i][d] = of(gates(b, first + i, h, d));
      }
    }
  }

  /// What tokens read of what others, or they themselves, wrote.
  void read_each_other(const state_reads<A>& r, const state_writes<A>& w) {
    for_each_pair(r, w, [&](extent i, extent j, const A* x) {
      add_scaled(r.sum[i], dot(r.x[i], x, dim), w.value[j], w.value.width);
    });
  }
  /// What they read of the state before the chunk.
  void read(const state_reads<A>& r, matrix<A> state) {
    decay_from_start(r);
    for (extent i = 0; i < tokens; ++i) {
      for (extent d = 0; d < dim; ++d) add_scaled(r.sum[i], moved[i][d], state[d], state.width);
    }
  }

  /// What the chunk leaves of a state, or of the cotangent of one.
  void forget(matrix<A> state) {
    decay_all();
    for (extent d = 0; d < dim; ++d) {
      for (extent e = 0; e < state.width; ++e) state[d][e] *= passed[d];
    }
  }
  /// What the state behind the chunk has of what tokens wrote.
  void write(const state_writes<A>& w, matrix<A> state) {
    decay_to_end(w);
    add_products(w.value, state);
  }

  /// To the cotangents of values, from tokens that read them.
  void return_to_each_other(const state_reads<A>& r, const state_writes<A>& w) {
    for_each_pair_back(r, [&](extent i, extent j, const A* x) {
      add_scaled(w.dvalue[j], dot(x, w.x[j], dim), r.sum[i], r.sum.width);
    });
  }
  /// To the cotangents of values, from that of the state behind the chunk.
  void return_from(matrix<A> dstate, const state_writes<A>& w) {
    decay_to_end(w);
    for (extent j = 0; j < tokens; ++j) {
      for (extent d = 0; d < dim; ++d) add_scaled(w.dvalue[j], moved[j][d], dstate[d], dstate.width);
    }
  }
  /// To the cotangent of the state before the chunk, from tokens that read it.
  void return_to(const state_reads<A>& r, matrix<A> dstate) {
    decay_from_start(r);
    add_products(r.sum, dstate);
  }

 protected:
  /// f(i, j, x_j decayed up to where i reads) for each i, the first first, and each j that it reads.
  template <class F>
  void for_each_pair(const state_reads<A>& r, const state_writes<A>& w, F f) {
    for (extent at = 0; at + r.lag < tokens; ++at) {
      for (extent d = 0; d < dim; ++d) moved[at][d] = w.x[at][d];
      for (extent j = 0; j <= at; ++j) {
        if (j < at) multiply_by(moved[j], decay[at], dim);
        f(at + r.lag, j, moved[j]);
      }
    }
  }
  /// f(i, j, x_i decayed down to where j wrote) for each j, the last first, and each i that reads it.
  template <class F>
  void for_each_pair_back(const state_reads<A>& r, F f) {
    for (extent j = tokens - 1 - r.lag; j >= 0; --j) {
      for (extent d = 0; d < dim; ++d) moved[j][d] = r.x[j + r.lag][d];
      for (extent at = j; at + r.lag < tokens; ++at) {
        if (at > j) multiply_by(moved[at], decay[j + 1], dim);
        f(at + r.lag, j, moved[at]);
      }
    }
  }

  /// passed: the decay of the whole chunk.
  void decay_all() {
    fill(passed, A{1}, dim);
    for (extent i = 0; i < tokens; ++i) multiply_by(passed, decay[i], dim);
  }

 private:
  /// moved: what reads, decayed down to the start of the chunk.
  void decay_from_start(const state_reads<A>& r) {
    fill(passed, A{1}, dim);
    for (extent i = 0; i < tokens; ++i) {
      if (i >= r.lag) multiply_by(passed, decay[i - r.lag], dim);
      for (extent d = 0; d < dim; ++d) moved[i][d] = r.x[i][d] * passed[d];
    }
  }
  /// moved: what is written, decayed up to the end of the chunk.
  void decay_to_end(const state_writes<A>& w) {
    fill(passed, A{1}, dim);
    for (extent j = tokens - 1; j >= 0; --j) {
      for (extent d = 0; d < dim; ++d) moved[j][d] = w.x[j][d] * passed[d];
      multiply_by(passed, decay[j], dim);
    }
  }
  void add_products(matrix<A> values, matrix<A> state) {
    for (extent d = 0; d < dim; ++d) {
      for (extent i = 0; i < tokens; ++i) add_scaled(state[d], moved[i][d], values[i], values.width);
    }
  }
};

}  // namespace ringfold::detail
