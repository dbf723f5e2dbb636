#pragma once

#include <ringfold/recurrence/decay_chunk.hpp>

/// \file
/// Some tokens of one head whose transition is a diagonal and a product of two vectors, and their gradients.

namespace ringfold {

/// What a delta rule reads of some tokens, [batch, row, head, dim]; owns nothing.
template <class T, class Space = host_space>
struct delta_operands {
  view<const T, 4, Space> q, k, v;
  view<const accumulate_t<T>, 4, Space> beta, gates;  ///< beta is [batch, row, head, 1]; gates are spread

  delta_operands rows(range r) const {
    return {slice(q, row_axis, r), slice(k, row_axis, r), slice(v, row_axis, r), slice(beta, row_axis, r),
            gates.data == nullptr ? gates : slice(gates, row_axis, r)};
  }
};

/// What its backward pass adds to.
template <class A, class Space = host_space>
struct delta_gradients {
  view<A, 4, Space> q, k, v, beta, gates;

  delta_gradients rows(range r) const {
    return {slice(q, row_axis, r), slice(k, row_axis, r), slice(v, row_axis, r), slice(beta, row_axis, r),
            gates.data == nullptr ? gates : slice(gates, row_axis, r)};
  }
};

/// What a diagonal and low-rank transition reads of some tokens, [batch, row, head, dim]; owns nothing.
template <class T, class Space = host_space>
struct dplr_operands {
  view<const T, 4, Space> q, k, v, a, b;
  view<const accumulate_t<T>, 4, Space> gates;  ///< spread

  dplr_operands rows(range r) const {
    return {slice(q, row_axis, r), slice(k, row_axis, r), slice(v, row_axis, r),
            slice(a, row_axis, r), slice(b, row_axis, r), gates.data == nullptr ? gates : slice(gates, row_axis, r)};
  }
};

/// What its backward pass adds to.
template <class A, class Space = host_space>
struct dplr_gradients {
  view<A, 4, Space> q, k, v, a, b, gates;

  dplr_gradients rows(range r) const {
    return {slice(q, row_axis, r), slice(k, row_axis, r), slice(v, row_axis, r),
            slice(a, row_axis, r), slice(b, row_axis, r), gates.data == nullptr ? gates : slice(gates, row_axis, r)};
  }
};

namespace detail::inline RINGFOLD_SIMD {

/// S_t = Diag(decay_t) S_(t-1) + b_t (a_t^T S_(t-1)) + k_t v_t^T: the tokens also read the state by a, with a lag, and
/// write what they read, y, along b.
///
/// Once y is known, nothing is dense: linear attention with two keys and two values for each token.
/// Source: the WY form of DeltaNet (Yang et al., 2024), with y = U + W S in one solve.
template <class A>
struct dense_chunk : decay_chunk<A> {
  using base = decay_chunk<A>;
  using base::decay, base::dim, base::k, base::own_k, base::tokens, base::v;
  matrix<const A> a, b;
  matrix<A> own_a, own_b;
  matrix<A> y;  ///< as wide as the state that it is of

  dense_chunk(extent most, extent d, extent e, arena<host_space>& memory)
      : base(most, d, e, memory),
        own_a(take_matrix<A>(memory, most, d)),
        own_b(take_matrix<A>(memory, most, d)),
        y(take_matrix<A>(memory, most, state_width(d, e))) {}

  /// Of a state with what becomes of the unit matrix behind it: its columns never mix, so both go the same way.
  static extent state_width(extent d, extent e) { return e + d; }
  static void begin(matrix<A> state, extent d) {
    fill(state.data, A{0}, d * state.width);
    for (extent i = 0; i < d; ++i) state[i][state.width - d + i] = 1;
  }
  template <class Operands>
  static void store(matrix<A> state, const Operands&, extent batch, extent h, const affine_element<A>& into) {
    extent const d = into.gate.extents[2], e = into.value.extents[3];
    for (extent i = 0; i < d; ++i) {
      for (extent j = 0; j < e; ++j) into.value(batch, h, i, j) = state[i][j];
      for (extent j = 0; j < d; ++j) into.gate(batch, h, i, j) = state[i][e + j];
    }
  }

  template <class T>
  void load(const dplr_operands<T>& from, extent batch, extent h, chunk_rows rows) {
    base::load(from, batch, h, rows);
    a = base::see(from.a, batch, h, rows, own_a);
    b = base::see(from.b, batch, h, rows, own_b);
  }
  /// (I - beta k k^T) Diag(decay) S + beta k v^T has a = decay k, b = - beta k, and beta k for k.
  template <class T>
  void load(const delta_operands<T>& from, extent batch, extent h, chunk_rows rows) {
    base::load(from, batch, h, rows);
    for (extent i = 0; i < rows.count; ++i) {
      A const beta = from.beta(batch, rows.first + i, h, 0);
      base::decay_by(decay[i], k[i], own_a[i]);
      for (extent d = 0; d < dim; ++d) own_b[i][d] = -(beta * k[i][d]);
      for (extent d = 0; d < dim; ++d) own_k[i][d] = -own_b[i][d];
    }
    a = own_a, b = own_b, k = own_k;
  }

  /// Makes y of the state before the chunk: a triangular solve.
  void enter(matrix<A> state) {
    y.width = y.stride = state.width;
    fill(y.data, A{0}, tokens * y.width);
    state_reads<A> const found{a, y, 1};
    decayed_tokens<A>::read(found, state);
    decayed_tokens<A>::read_each_other(found, {k, v});
    decayed_tokens<A>::read_each_other(found, {b, y});
  }
  void read(matrix<A> state) {
    base::read(state);
    decayed_tokens<A>::read_each_other(base::reads(), {b, y});
  }
  void write(matrix<A> state) {
    base::write(state);
    decayed_tokens<A>::write({b, y}, state);
  }
};

/// The cotangents z of y are a solve as well, from the last token to the first.
template <class A>
struct dense_gradients : decay_gradients<A, dense_chunk<A>> {
  using base = decay_gradients<A, dense_chunk<A>>;
  using base::a, base::b, base::decay, base::dgates, base::dim, base::dk, base::tokens, base::y;
  using base::keys, base::queries;
  matrix<A> da, db;
  matrix<A> z;
  matrix<A> solved;  ///< y of all tokens

  dense_gradients(extent all, extent most, extent d, extent e, arena<host_space>& memory)
      : base(all, most, d, e, memory),
        da(take_matrix<A>(memory, most, d)),
        db(take_matrix<A>(memory, most, d)),
        z(take_matrix<A>(memory, most, base::state_width(d, e))),
        solved(take_matrix<A>(memory, all, e)) {}

  void keep_solved(extent first) { y = solved.from(first); }

  template <class Operands, class V>
  void load(const Operands& from, const V& cotangent, extent batch, extent h, chunk_rows rows, A scale) {
    base::load(from, cotangent, batch, h, rows, scale);
    for (matrix<A> const each : {da, db}) fill(each.data, A{0}, rows.count * dim);
  }

  /// From the state before the chunk, and the cotangent of the one behind it, which makes z.
  void from_states(matrix<A> state, matrix<A> dstate) {
    written(dstate);
    base::differentiate_pairs(queries(), corrections());
    base::differentiate_pairs(found(), corrections());
    base::differentiate_pairs(found(), keys());
    base::from_states(state, dstate);
    base::differentiate_read(found(), state);
    base::differentiate_write(corrections(), dstate);
  }

  /// Makes z alone.
  void leave(matrix<A> dstate) {
    written(dstate);
    base::return_to_each_other(queries(), corrections());
    base::return_to_each_other(found(), corrections());
  }
  void read_backward(matrix<A> dstate) {
    base::read_backward(dstate);
    base::return_to(found(), dstate);
  }

  template <class T>
  void add_to(const dplr_gradients<A>& to, const dplr_operands<T>& of, extent batch, extent h, extent first) {
    base::add_to(to, of, batch, h, first);
    add_rows(to.a, batch, h, first, tokens, A{1}, da);
    add_rows(to.b, batch, h, first, tokens, A{1}, db);
  }
  template <class T>
  void add_to(const delta_gradients<A>& to, const delta_operands<T>& of, extent batch, extent h, extent first) {
    for (extent i = 0; i < tokens; ++i) {
      A const beta = of.beta(batch, first + i, h, 0);
      A *const along = base::dmoved[0], *const key = base::dbrought[0];
      copy_row(&of.k(batch, first + i, h, 0), of.k.strides[dim_axis], dim, A{1}, key);
      for (extent d = 0; d < dim; ++d) along[d] = dk[i][d] - db[i][d];
      to.beta(batch, first + i, h, 0) += dot(along, key, dim);
      base::add_to_gate(dgates[i], da[i], a[i]);
      base::decay_by(decay[i], da[i], da[i]);
      for (extent d = 0; d < dim; ++d) dk[i][d] = fused(beta, along[d], da[i][d]);
    }
    base::add_to(to, of, batch, h, first);
  }

 private:
  /// The part of z that is written into the state behind the chunk.
  void written(matrix<A> dstate) {
    z.width = z.stride = dstate.width;
    fill(z.data, A{0}, tokens * z.width);
    base::return_from(dstate, corrections());
  }
  state_reads<A> found() const { return {a, z, 1, da}; }
  state_writes<A> corrections() const { return {b, y, db, z}; }
};

}  // namespace detail::inline RINGFOLD_SIMD

}  // namespace ringfold
