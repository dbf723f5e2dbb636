#pragma once

#include <ringfold/recurrence/decayed_gradients.hpp>

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

namespace detail {

/// S_t = Diag(decay_t) S_(t-1) + b_t (a_t^T S_(t-1)) + k_t v_t^T: the tokens also read the state by a, with a lag, and
/// write what they read, y, along b.
///
/// Once y is known, nothing is dense: linear attention with two keys and two values for each token.
/// Source: the WY form of DeltaNet (Yang et al., 2024), with y = U + W S in one solve.
template <class A>
struct dense_chunk : decayed_tokens<A> {
  using base = decayed_tokens<A>;
  using base::decay, base::dim, base::tokens;
  matrix<A> q, k, v, a, b;  ///< queries are scaled
  matrix<A> out;
  matrix<A> y;  ///< as wide as the state that it is of

  dense_chunk(extent most, extent d, extent e, arena<host_space>& memory)
      : base(most, d, memory),
        q(take_matrix<A>(memory, most, d)),
        k(take_matrix<A>(memory, most, d)),
        v(take_matrix<A>(memory, most, e)),
        a(take_matrix<A>(memory, most, d)),
        b(take_matrix<A>(memory, most, d)),
        out(take_matrix<A>(memory, most, e)),
        y(take_matrix<A>(memory, most, state_width(d, e))) {}

  /// Of a state with what becomes of the unit matrix behind it: its columns never mix, so both go the same way.
  static extent state_width(extent d, extent e) { return e + d; }
  static void begin(const matrix<A>& state, extent d) {
    fill(state.data, A{0}, d * state.width);
    for (extent i = 0; i < d; ++i) state[i][state.width - d + i] = 1;
  }
  static void store(const matrix<A>& state, extent b, extent h, const affine_element<A>& into) {
    extent const d = into.gate.extents[2], e = into.value.extents[3];
    for (extent i = 0; i < d; ++i) {
      for (extent j = 0; j < e; ++j) into.value(b, h, i, j) = state[i][j];
      for (extent j = 0; j < d; ++j) into.gate(b, h, i, j) = state[i][e + j];
    }
  }

  template <class T>
  void load(const dplr_operands<T>& from, extent batch, extent h, extent first, extent count, A scale) {
    load_linear(from, batch, h, first, count, scale);
    load_rows(from.a, batch, h, first, count, A{1}, a);
    load_rows(from.b, batch, h, first, count, A{1}, b);
  }

  /// (I - beta k k^T) Diag(decay) S + beta k v^T has a = decay k, b = - beta k, and beta k for k.
  template <class T>
  void load(const delta_operands<T>& from, extent batch, extent h, extent first, extent count, A scale) {
    load_linear(from, batch, h, first, count, scale);
    for (extent i = 0; i < count; ++i) {
      A const beta = from.beta(batch, first + i, h, 0);
      for (extent d = 0; d < dim; ++d) {
        a[i][d] = decay[i][d] * k[i][d];
        k[i][d] *= beta;
        b[i][d] = -k[i][d];
      }
    }
  }

  void read_each_other() { base::read_each_other({q, out}, {k, v}); }

  /// Makes y of the state before the chunk: a triangular solve.
  void enter(const matrix<A>& state) {
    y.width = state.width;
    fill(y.data, A{0}, tokens * y.width);
    readers<A> const found{a, y, 1};
    base::read(found, state);
    base::read_each_other(found, {k, v});
    base::read_each_other(found, {b, y});
  }
  void read(const matrix<A>& state) {
    base::read({q, out}, state);
    base::read_each_other({q, out}, {b, y});
  }
  void write(const matrix<A>& state) {
    base::forget(state);
    base::write({k, v}, state);
    base::write({b, y}, state);
  }

 private:
  template <class Operands>
  void load_linear(const Operands& from, extent batch, extent h, extent first, extent count, A scale) {
    base::load_decay(from.gates, batch, h, first, count);
    load_rows(from.q, batch, h, first, count, scale, q);
    load_rows(from.k, batch, h, first, count, A{1}, k);
    load_rows(from.v, batch, h, first, count, A{1}, v);
    fill(out.data, A{0}, count * out.width);
  }
};

/// The chunk's tokens, the cotangents of what they read, and what all of them make of the gradients.
///
/// The cotangents z of y are a solve as well, from the last token to the first.
template <class A>
struct dense_gradients : decayed_gradients<A, dense_chunk<A>> {
  using base = decayed_gradients<A, dense_chunk<A>>;
  using base::a, base::b, base::decay, base::dgates, base::dim, base::k, base::q, base::tokens, base::v, base::y;
  matrix<A> dout, dq, dk, dv, da, db;  ///< dq is of scaled queries
  matrix<A> z;

  dense_gradients(extent most, extent d, extent e, arena<host_space>& memory)
      : base(most, d, e, memory),
        dout(take_matrix<A>(memory, most, e)),
        dq(take_matrix<A>(memory, most, d)),
        dk(take_matrix<A>(memory, most, d)),
        dv(take_matrix<A>(memory, most, e)),
        da(take_matrix<A>(memory, most, d)),
        db(take_matrix<A>(memory, most, d)),
        z(take_matrix<A>(memory, most, base::state_width(d, e))) {}

  template <class Operands, class V>
  void load(const Operands& from, const V& cotangent, extent batch, extent h, extent first, extent count, A scale) {
    base::load(from, batch, h, first, count, scale);
    load_rows(cotangent, batch, h, first, count, A{1}, dout);
    for (matrix<A> const& each : {dq, dk, dv, da, db, dgates}) fill(each.data, A{0}, count * each.width);
  }

  /// From what the queries read of the keys' values: all that needs neither y nor z.
  void from_each_other() {
    base::return_to_each_other(queries(), keys());
    base::differentiate_pairs(queries(), keys());
  }

  /// Makes z of the cotangent of the state behind the chunk.
  void leave(const matrix<A>& dstate) {
    z.width = dstate.width;
    fill(z.data, A{0}, tokens * z.width);
    base::return_from(dstate, corrections());
    base::return_to_each_other(queries(), corrections());
    base::return_to_each_other(found(), corrections());
  }

  /// From the state before the chunk, and the cotangent of the one behind it.
  void from_states(const matrix<A>& state, const matrix<A>& dstate) {
    base::return_from(dstate, keys());
    base::return_to_each_other(found(), keys());
    base::differentiate_pairs(queries(), corrections());
    base::differentiate_pairs(found(), corrections());
    base::differentiate_pairs(found(), keys());
    for (const auto& each : {queries(), found()}) base::differentiate_read(each, state);
    for (const auto& each : {keys(), corrections()}) base::differentiate_write(each, dstate);
    base::differentiate_forget(state, dstate);
  }

  /// The cotangent of the state before the chunk from that of the one behind it.
  void read_backward(const matrix<A>& dstate) {
    base::forget(dstate);
    base::return_to(queries(), dstate);
    base::return_to(found(), dstate);
  }

  /// Adds what was worked out to a head's rows.
  template <class T>
  void add_to(const dplr_gradients<A>& to, const dplr_operands<T>&, extent batch, extent h, extent first, A scale) {
    add_linear(to, batch, h, first, scale);
    add_rows(to.a, batch, h, first, tokens, A{1}, da);
    add_rows(to.b, batch, h, first, tokens, A{1}, db);
  }
  template <class T>
  void add_to(const delta_gradients<A>& to, const delta_operands<T>& of, extent batch, extent h, extent first,
              A scale) {
    for (extent i = 0; i < tokens; ++i) {
      A const beta = of.beta(batch, first + i, h, 0);
      for (extent d = 0; d < dim; ++d) {
        A const key = static_cast<A>(of.k(batch, first + i, h, d)), along = dk[i][d] - db[i][d];
        to.beta(batch, first + i, h, 0) += along * key;
        dk[i][d] = fused(beta, along, decay[i][d] * da[i][d]);
        dgates[i][d] = fused(da[i][d], a[i][d], dgates[i][d]);
      }
    }
    add_linear(to, batch, h, first, scale);
  }

 private:
  readers<A> queries() const { return {q, dout, 0, dq}; }
  readers<A> found() const { return {a, z, 1, da}; }
  writers<A> keys() const { return {k, v, dk, dv}; }
  writers<A> corrections() const { return {b, y, db, z}; }

  template <class Gradients>
  void add_linear(const Gradients& to, extent batch, extent h, extent first, A scale) const {
    add_rows(to.q, batch, h, first, tokens, scale, dq);
    add_rows(to.k, batch, h, first, tokens, A{1}, dk);
    add_rows(to.v, batch, h, first, tokens, A{1}, dv);
    if (to.gates.data == nullptr) return;
    for (extent i = 0; i < tokens; ++i) {
      for (extent d = 0; d < dim; ++d)
        to.gates(batch, first + i, h, to.gates.extents[dim_axis] == 1 ? 0 : d) += dgates[i][d];
    }
  }
};

}  // namespace detail

}  // namespace ringfold
