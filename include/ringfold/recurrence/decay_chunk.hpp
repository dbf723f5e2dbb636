#pragma once

#include <ringfold/recurrence/decayed_gradients.hpp>

/// \file
/// Some tokens of one head under decay, as matrices, and their gradients.

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

namespace detail::inline RINGFOLD_SIMD {

/// S_t = Diag(decay_t) S_(t-1) + k_t v_t^T, by tokens that write their values and read nothing that they write.
template <class A>
struct decay_chunk : decayed_tokens<A> {
  using base = decayed_tokens<A>;
  matrix<const A> q, k, v;  ///< where they lie, if they can be read there
  matrix<A> own_q, own_k, own_v;
  matrix<A> out, own_out;
  A factor = 1;  ///< of what they add to it

  decay_chunk(extent most, extent d, extent e, arena<host_space>& memory)
      : base(most, d, memory),
        own_q(take_matrix<A>(memory, most, d)),
        own_k(take_matrix<A>(memory, most, d)),
        own_v(take_matrix<A>(memory, most, e)),
        own_out(take_matrix<A>(memory, most, e)) {}

  static extent state_width(extent, extent e) { return e; }
  static void begin(matrix<A> state, extent d) { fill(state.data, A{0}, d * state.width); }
  /// Sums of a whole shard are in double: slow gates over many tokens would lose in float what the chunks keep.
  template <class Operands>
  static void store(matrix<A> state, const Operands& of, extent batch, extent h, const affine_element<A>& into) {
    store_state(state, batch, h, into.value);
    for (extent d = 0; d < into.gate.extents[2] && into.gate.extents[0] > 0; ++d) {
      double sum = 0;
      for (extent row = 0; row < of.k.extents[row_axis]; ++row) sum += static_cast<double>(of.gates(batch, row, h, d));
      into.gate(batch, h, d, 0) = static_cast<A>(sum);
    }
  }

  template <class Operands>
  void load(const Operands& from, extent batch, extent h, chunk_rows rows) {
    base::load_decay(from.gates, batch, h, rows);
    q = see(from.q, batch, h, rows, own_q);
    k = see(from.k, batch, h, rows, own_k);
    v = see(from.v, batch, h, rows, own_v);
  }
  /// Calls read() with `out` the rows that it adds to.
  template <class F>
  void add_to_outputs(const view<A, 4>& to, extent batch, extent h, chunk_rows rows, A scale, F read) {
    extent const first = rows.first;
    base::ahead.want(to, batch, h, rows.next);
    factor = scale;
    bool const in_place = to.strides[dim_axis] == 1;
    out = in_place ? matrix<A>{&to(batch, first, h, 0), own_out.width, to.strides[row_axis]} : own_out;
    if (!in_place) load_rows(view<const A, 4>(to), batch, h, first, base::tokens, A{1}, out);
    read();
    if (!in_place) store_rows(out, batch, h, first, base::tokens, to);
  }

  void read_each_other() { base::read_each_other(reads(), {k, v}); }
  /// Nothing is to be known of the state before the chunk.
  void enter(matrix<A>) {}
  void read(matrix<A> state) { base::read(reads(), state); }
  void write(matrix<A> state) {
    base::forget(state);
    base::write({k, v}, state);
  }

 protected:
  /// Rows where they lie, or copied to memory of the chunk's own.
  template <class T>
  matrix<const A> see(const view<const T, 4>& from, extent batch, extent h, chunk_rows rows, matrix<A> own) {
    base::ahead.want(from, batch, h, rows.next);
    return rows_in_place(from, batch, h, rows.first, rows.count, own);
  }
  state_reads<A> reads() const { return {q, out, 0, {}, factor}; }
};

/// The tokens of a Chunk, which is a decay_chunk, the cotangents of what queries read, and the gradients.
template <class A, class Chunk = decay_chunk<A>>
struct decay_gradients : decayed_gradients<A, Chunk> {
  using base = decayed_gradients<A, Chunk>;
  using base::dgates, base::k, base::q, base::tokens, base::v;
  matrix<A> dout;  ///< scaled
  matrix<A> dq, dk, dv;

  decay_gradients(extent, extent most, extent d, extent e, arena<host_space>& memory)
      : base(most, d, e, memory),
        dout(take_matrix<A>(memory, most, e)),
        dq(take_matrix<A>(memory, most, d)),
        dk(take_matrix<A>(memory, most, d)),
        dv(take_matrix<A>(memory, most, e)) {}

  template <class Operands, class V>
  void load(const Operands& from, const V& cotangent, extent batch, extent h, chunk_rows rows, A scale) {
    base::load(from, batch, h, rows);
    extent const count = rows.count;
    base::ahead.want(cotangent, batch, h, rows.next);
    load_rows(cotangent, batch, h, rows.first, count, scale, dout);
    dgates.width = dgates.stride = base::decay.width;
    for (matrix<A> const each : {dq, dk, dv, dgates}) fill(each.data, A{0}, count * each.width);
  }

  /// What enter() makes of the chunk from that token on is kept from here on, for all chunks: nothing.
  void keep_solved(extent) {}

  /// From what the tokens read of each other.
  void from_each_other() { base::differentiate_pairs(queries(), keys()); }

  /// From the state before the chunk, and the cotangent of the one behind it.
  void from_states(matrix<A> state, matrix<A> dstate) {
    base::return_from(dstate, keys());
    base::differentiate_read(queries(), state);
    base::differentiate_write(keys(), dstate);
    base::differentiate_forget(state, dstate);
  }

  /// Nothing is to be known of the cotangent of the state behind the chunk to go on from it.
  void leave(matrix<A>) {}

  /// The cotangent of the state before the chunk from that of the one behind it, after either of the two above.
  void read_backward(matrix<A> dstate) {
    base::forget(dstate);
    base::return_to(queries(), dstate);
  }

  /// Adds what was worked out to a head's rows.
  template <class To, class Operands>
  void add_to(const To& to, const Operands&, extent batch, extent h, extent first) const {
    add_rows(to.q, batch, h, first, tokens, A{1}, dq);
    add_rows(to.k, batch, h, first, tokens, A{1}, dk);
    add_rows(to.v, batch, h, first, tokens, A{1}, dv);
    if (to.gates.data == nullptr) return;
    add_rows(to.gates, batch, h, first, tokens, A{1}, dgates);
  }

 protected:
  state_reads<A> queries() const { return {q, dout, 0, dq}; }
  state_writes<A> keys() const { return {k, v, dk, dv}; }
};

}  // namespace detail::inline RINGFOLD_SIMD

}  // namespace ringfold
