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
  using Tokens::brought, Tokens::decay, Tokens::decays, Tokens::dim, Tokens::moved, Tokens::passed, Tokens::scores,
      Tokens::tokens, Tokens::turned;
  matrix<A> dgates;
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
        0, tokens, [&](extent first, extent count) { differentiate_few(r, w, first, count); },
        [&](extent first, extent half, extent count) {
          auto const readers = Tokens::from_start(r, half, count), writers = Tokens::to_end(w, first, half - first);
          fill(dmoved.data, A{0}, count * dim);
          fill(dbrought.data, A{0}, (half - first) * dim);
          for_each_panel(half - first, [&](extent j, extent writing) {
            for_each_panel(count, [&](extent i, extent reading) {
              auto const sums = r.sum.from(half + i), values = w.value.from(first + j);
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
    for (extent d = 0; d < dim; ++d) sum[d] = passed[d] * dot(dstate[d], state[d], state.width);
    for (extent j = 0; j < tokens; ++j) add_scaled(dgates[j], A{1}, sum, dim);
  }

 private:
  /// to = rows state^T.
  void multiply_turned(matrix<A> rows, matrix<A> state, matrix<A> to) {
    for_each_panel(dim, [&](extent d, extent count) {
      turn(state[d], state.width, count, state.width, turned_values.data, panel_rows);
      matrix<A> const part{to.data + d, to.width};
      for (extent i = 0; i < tokens; ++i) fill(part[i], A{0}, count);
      add_product(part, tokens, count, as_it_is(rows), state.width, turned_values);
    });
  }

  /// From dmoved, the cotangents of what reads, decayed down to the start of some tokens.
  void add_reads(const state_reads<A>& r, extent first, extent count) {
    Tokens::for_each_read(r, first, count, [&](extent i) {
      multiply_by(dmoved[i], passed, dim);
      add_scaled(r.dx[first + i], A{1}, dmoved[i], dim);
    });
    if (!decays) return;
    fill(sum, A{0}, dim);
    for (extent i = count - 1; i >= r.lag; --i) {
      add_multiplied(sum, dmoved[i], r.x[first + i], dim);
      add_scaled(dgates[first + i - r.lag], A{1}, sum, dim);
    }
  }
  /// From dbrought, those of what is written, decayed up to their end.
  void add_writes(const state_writes<A>& w, extent first, extent count) {
    Tokens::for_each_write(first, count, [&](extent j) {
      multiply_by(dbrought[j], passed, dim);
      add_scaled(w.dx[first + j], A{1}, dbrought[j], dim);
    });
    if (!decays) return;
    fill(sum, A{0}, dim);
    for (extent j = 0; j < count; ++j) {
      add_scaled(dgates[first + j], A{1}, sum, dim);
      add_multiplied(sum, dbrought[j], w.x[first + j], dim);
    }
  }

  void differentiate_few(const state_reads<A>& r, const state_writes<A>& w, extent first, extent count) {
    Tokens::weigh_pairs(r, w, first, count);
    Tokens::return_pairs(r, w, first, count);
    fill_scores(slopes, count, r.sum.from(first), w.value.from(first), count, turned_values);
    decays && !Tokens::alike ? differentiate_by_rows(r, w, first, count) : differentiate_alike(r, w, first, count);
  }
  void differentiate_alike(const state_reads<A>& r, const state_writes<A>& w, extent first, extent count) {
    for (extent i = r.lag; i < count && decays; ++i) {
      A before = 0;
      for (extent j = 0; j + r.lag < i; ++j) {
        before = fused(slopes[i][j], scores[i][j], before);
        dgates[first + j + 1][0] += before;
      }
    }
    Tokens::decay_pairs(slopes, r.lag, first, count);
    for (extent j = 0; j + r.lag < count; ++j) {
      extent const i = j + r.lag;
      add_product(r.dx.from(first + i), 1, as_it_is(slopes.from(i)), j + 1, w.x.from(first));
      add_product(w.dx.from(first + j), 1, turned_over(matrix<A>{slopes[i] + j, panel_rows}), count - i,
                  r.x.from(first + i));
    }
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
    auto const get = [d](matrix<A> of, extent row) {
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
