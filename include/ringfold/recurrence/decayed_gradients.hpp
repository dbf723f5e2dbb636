#pragma once

#include <ringfold/recurrence/decayed_tokens.hpp>

/// \file
/// The gradients of what tokens read and write by, and of the decay between them.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// Adds gradients to Tokens, which are decayed_tokens: each verb adds to dx and to those of the gates.
///
/// The gradient of a gate is the sum of what its decay stood between: the pairs of tokens before it and not before it,
/// what later tokens read of the state, what earlier ones wrote, and the state itself. Sums of these are added up
/// alone; the shorter form, a sum of q dq - k dk over all later tokens, cancels.
template <class A, class Tokens>
struct decayed_gradients : Tokens {
  using Tokens::add_product, Tokens::add_lower_product, Tokens::add_upper_product, Tokens::fill_product,
      Tokens::fill_scores, Tokens::fill_lower_scores;
  using Tokens::alike, Tokens::brought, Tokens::decay, Tokens::decays, Tokens::dim, Tokens::moved, Tokens::passed,
      Tokens::scores, Tokens::tokens, Tokens::turned;
  matrix<A> dgates;         ///< as wide as decays are
  matrix<A> slopes;         ///< of what a panel of readers weighs one of writers
  matrix<A> turned_values;  ///< of a panel of values, or of a state
  matrix<A> dmoved, dbrought;
  A* sum;

  decayed_gradients(extent most, extent d, extent e, arena<host_space>& memory)
      : Tokens(most, d, e, memory),
        dgates(take_matrix<A>(memory, most, d)),
        slopes(take_matrix<A>(memory, panel_rows, panel_rows)),
        turned_values(take_matrix<A>(memory, e, panel_rows)),
        dmoved(take_matrix<A>(memory, most, d)),
        dbrought(take_matrix<A>(memory, most, d)),
        sum(memory.take<A>(d)) {}

  /// Of what tokens read of each other, and to the cotangents of values. A token's is complete before it is read, so
  /// that what was read in place goes back in place.
  void differentiate_pairs(const state_reads<A>& r, const state_writes<A>& w) {
    Tokens::in_halves_back(
        0, tokens, Tokens::at_once(r.sum.data == w.dvalue.data),
        [&](extent first, extent count) { differentiate_few(r, w, first, count); },
        [&](extent first, extent half, extent count) {
          auto const readers = Tokens::from_start(r, half, count), writers = Tokens::to_end(w, first, half - first);
          fill(dmoved.data, A{0}, count * dim);
          fill(dbrought.data, A{0}, (half - first) * dim);
          for_each_panel(half - first, [&](extent j, extent writing) {
            for_each_panel(count, [&](extent i, extent reading) {
              matrix<const A> const sums = r.sum.from(half + i), values = w.value.from(first + j);
              fill_scores(scores, reading, readers.from(i), writers.from(j), writing, turned);
              fill_scores(slopes, reading, sums, values, writing, turned_values);
              add_product(w.dvalue.from(first + j), writing, turned_over(scores), reading, sums);
              add_product(dbrought.from(j), writing, turned_over(slopes), reading, readers.from(i));
              add_product(dmoved.from(i), reading, as_it_is(slopes), writing, writers.from(j));
            });
          });
          add_reads(r, half, count);
          add_writes(w, first, half - first);
        });
  }

  /// Of what they read of the state before the chunk.
  void differentiate_read(const state_reads<A>& r, matrix<A> state) {
    multiply_turned(r.sum, state, dmoved);
    add_reads(r, 0, tokens);
  }

  /// Of what they wrote into the state behind the chunk, by its cotangent.
  void differentiate_write(const state_writes<A>& w, matrix<A> dstate) {
    multiply_turned(w.value, dstate, dbrought);
    add_writes(w, 0, tokens);
  }

  /// Of what the chunk left of the state before it.
  void differentiate_forget(matrix<A> state, matrix<A> dstate) {
    if (!decays) return;
    Tokens::decay_all();
    fill(sum, A{0}, decay.width);
    for (extent d = 0; d < dim; ++d) {
      extent const gate = alike ? 0 : d;
      sum[gate] = fused(passed[gate], dot(dstate[d], state[d], state.width), sum[gate]);
    }
    for (extent j = 0; j < tokens; ++j) add_scaled(dgates[j], A{1}, sum, decay.width);
  }

 private:
  /// to = rows state^T.
  void multiply_turned(matrix<const A> rows, matrix<A> state, matrix<A> to) {
    for_each_panel(dim, [&](extent d, extent count) {
      turn(state[d], state.stride, count, state.width, turned_values.data, panel_rows);
      matrix<A> const part{to.data + d, to.width};
      fill_product(part, tokens, count, as_it_is(rows), state.width, turned_values);
    });
  }

  /// From dmoved, the cotangents of what reads, decayed down to the start of some tokens.
  void add_reads(const state_reads<A>& r, extent first, extent count) {
    Tokens::for_each_read(r, first, count, [&](extent i) {
      Tokens::decay_by(passed, dmoved[i], dmoved[i]);
      add_scaled(r.dx[first + i], A{1}, dmoved[i], dim);
    });
    if (!decays) return;
    fill(sum, A{0}, decay.width);
    for (extent i = count - 1; i >= r.lag; --i) {
      add_to_gate(sum, dmoved[i], r.x[first + i]);
      add_scaled(dgates[first + i - r.lag], A{1}, sum, decay.width);
    }
  }
  /// From dbrought, those of what is written, decayed up to their end.
  void add_writes(const state_writes<A>& w, extent first, extent count) {
    Tokens::for_each_write(first, count, [&](extent j) {
      Tokens::decay_by(passed, dbrought[j], dbrought[j]);
      add_scaled(w.dx[first + j], A{1}, dbrought[j], dim);
    });
    if (!decays) return;
    fill(sum, A{0}, decay.width);
    for (extent j = 0; j < count; ++j) {
      add_scaled(dgates[first + j], A{1}, sum, decay.width);
      add_to_gate(sum, dbrought[j], w.x[first + j]);
    }
  }

 protected:
  /// Adds the products of two rows to the gradients of their gates, or of the one that they share.
  void add_to_gate(A* gates, const A* one, const A* other) const {
    if (alike) {
      gates[0] += dot(one, other, dim);
    } else {
      add_multiplied(gates, one, other, dim);
    }
  }

 private:
  void differentiate_few(const state_reads<A>& r, const state_writes<A>& w, extent first, extent count) {
    Tokens::weigh_pairs(r, w, first, count);
    Tokens::return_pairs(r, w, first, count);
    fill_lower_scores(slopes, count, r.sum.from(first), w.value.from(first), turned_values);
    !alike ? differentiate_by_rows(r, w, first, count) : differentiate_alike(r, w, first, count);
  }
  void differentiate_alike(const state_reads<A>& r, const state_writes<A>& w, extent first, extent count) {
    alignas(64) A behind[panel_rows] = {};  // of each writer, the sum over readers from here on
    for (extent at = count - 1 - r.lag; at > 0 && decays; --at) {
      add_multiplied(behind, slopes[at + r.lag], scores[at + r.lag], at);
      dgates[first + at][0] += total(behind, at);
    }
    Tokens::decay_pairs(slopes, r.lag, first, count);
    add_lower_product(r.dx.from(first), count, r.lag, slopes, w.x.from(first));
    add_upper_product(w.dx.from(first), count, r.lag, slopes, r.x.from(first));
  }
  void differentiate_by_rows(const state_reads<A>& r, const state_writes<A>& w, extent first, extent count) {
    using vector = typename simd<A>::vector;
    extent const whole = dim / simd<A>::width * simd<A>::width;
    for (extent d = 0; d < whole; d += simd<A>::width) differentiate_columns<vector>(r, w, first, count, d);
    for (extent d = whole; d < dim; ++d) differentiate_columns<A>(r, w, first, count, d);
  }
  /// For a number or a register of them from row d of the state on.
  template <class N>
  void differentiate_columns(const state_reads<A>& r, const state_writes<A>& w, extent first, extent count, extent d) {
    auto const get = [d](matrix<const A> of, extent row) {
      N made;
      __builtin_memcpy(&made, of[row] + d, sizeof made);
      return made;
    };
    auto const put = [d](matrix<A> to, extent row, N made) { __builtin_memcpy(to[row] + d, &made, sizeof made); };
    auto const add = [&](matrix<A> to, extent row, N one, N other) {
      put(to, row, fused_all<A>(one, other, get(to, row)));
    };
    for (extent at = 0; at + r.lag < count; ++at) {
      extent const i = first + at + r.lag;
      N const read = get(r.x, i), here = get(decay, first + at);
      N down = read;
      for (extent j = at; j >= 0; --j) {
        if (j < at) down *= get(decay, first + j + 1);
        add(w.dx, first + j, down, N{} + slopes[at + r.lag][j]);
      }
      N dread = get(r.dx, i), before{};
      for (extent j = 0; j <= at; ++j) {
        N const up = j < at ? get(brought, j) * here : get(w.x, first + at);
        put(brought, j, up);
        N const part = up * slopes[at + r.lag][j];
        dread += part;
        if (j == at) break;
        before = fused_all<A>(part, read, before);
        put(dgates, first + j + 1, get(dgates, first + j + 1) + before);
      }
      put(r.dx, i, dread);
    }
  }
};

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
