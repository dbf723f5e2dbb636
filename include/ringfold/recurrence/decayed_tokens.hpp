#pragma once

#include <ringfold/recurrence/gates.hpp>
#include <ringfold/recurrence/products.hpp>

/// \file
/// What the tokens of a chunk read of a decaying state and write into it, and how cotangents go back.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// Vectors by which tokens read a state S: sum += factor x S. Backward, sum is the cotangent of x S.
///
/// A token with no lag reads the state that it leaves; with a lag of 1, the one that it finds.
template <class A>
struct state_reads {
  matrix<const A> x;
  matrix<A> sum;
  extent lag = 0;
  matrix<A> dx = {};
  A factor = 1;
};

/// Vectors along which tokens write a value into the state, after its decay: S += x value^T.
template <class A>
struct state_writes {
  matrix<const A> x, value;
  matrix<A> dx = {}, dvalue = {};
};

/// The decays of a chunk's tokens, under which S_t = Diag(decay_t) S_(t-1) + what token t writes.
///
/// What tokens of the second half of a chunk read of the first goes by the state between them, which is never made:
/// what was written is decayed up to there, what reads is decayed down to there, and both are multiplied, scores first.
/// Each half is the same again, down to a few tokens whose pairs are taken one by one.
///
/// What is read may be what is written: the first token's sum is complete before the second is begun, so that a chunk
/// whose values are sums of its own reads is solved in place, and the unit lower-triangular system has no matrix.
/// Going back it is the same from the last token on.
///
/// Decays are made token by token, as products of numbers in [0, 1]: nothing can overflow, a gate of -inf is a factor
/// of 0, and there are no differences of long sums of logarithms, whose rounding grows with the sums.
/// Source: the chunkwise form of Gated Linear Attention (Yang et al., 2024) and its secondary chunks, in halves, with
/// products in place of exp(G_i - G_j).
template <class A>
struct decayed_tokens : products<A> {
  using products<A>::add_product, products<A>::add_lower_product, products<A>::add_upper_product,
      products<A>::fill_product, products<A>::fill_scores, products<A>::fill_lower_scores, products<A>::ahead;
  static constexpr extent few = 16;  ///< tokens whose pairs are taken one by one, where they must be

  extent dim, tokens = 0;
  bool decays = false;  ///< or the decay is 1 everywhere
  bool alike = false;   ///< it is the same for all rows of the state
  matrix<A> decay;      ///< of every row of the state, or one that is alike
  matrix<A> moved;      ///< vectors that read, decayed down to the start of some tokens
  matrix<A> brought;    ///< vectors that were written, decayed up to their end
  A* passed;            ///< the decay of some tokens
  matrix<A> turned;     ///< of a panel of vectors
  matrix<A> scores;     ///< of a panel of readers and one of writers
  A* lanes;             ///< of sums

  decayed_tokens(extent most, extent d, arena<host_space>& memory)
      : dim(d),
        decay(take_matrix<A>(memory, most, d)),
        moved(take_matrix<A>(memory, most, d)),
        brought(take_matrix<A>(memory, most, d)),
        passed(memory.take<A>(d)),
        turned(take_matrix<A>(memory, d, panel_rows)),
        scores(take_matrix<A>(memory, panel_rows, panel_rows)),
        lanes(memory.take<A>(few * simd<A>::width)) {}

  template <class Gates>
  void load_decay(const Gates& gates, extent b, extent h, chunk_rows rows) {
    extent const first = rows.first, count = rows.count;
    ahead.clear(), ahead.want(gates, b, h, rows.next);
    tokens = count;
    decays = gates.data != nullptr;
    alike = !decays || gates.extents[dim_axis] == 1;
    decay.width = decay.stride = alike ? 1 : dim;
    if (!decays) return fill(decay.data, A{1}, count);
    load_rows(gates, b, h, first, count, A{1}, decay);
    exponentiate(decay.data, count * decay.width);
  }

  /// What tokens read of what others, or they themselves, wrote.
  void read_each_other(const state_reads<A>& r, const state_writes<A>& w) {
    bool const in_place = r.sum.data == w.value.data;
    in_halves(
        0, tokens, at_once(in_place),
        [&](extent first, extent count) {
          weigh_pairs(r, w, first, count);
          if (!in_place)
            return add_lower_product(r.sum.from(first), count, r.lag, scores, w.value.from(first), r.factor);
          for (extent i = r.lag; i < count; ++i) {
            add_product(r.sum.from(first + i), 1, as_it_is(scores.from(i)), i + 1 - r.lag, w.value.from(first));
          }
        },
        [&](extent first, extent half, extent count) {
          auto const readers = from_start(r, half, count), writers = to_end(w, first, half - first);
          for_each_panel(half - first, [&](extent j, extent writing) {
            for_each_panel(count, [&](extent i, extent reading) {
              fill_scores(scores, reading, readers.from(i), writers.from(j), writing, turned);
              add_product(r.sum.from(half + i), reading, as_it_is(scores), writing, w.value.from(first + j), r.factor);
            });
          });
        });
  }
  /// What they read of the state before the chunk.
  void read(const state_reads<A>& r, matrix<A> state) {
    add_product(r.sum, tokens, as_it_is(from_start(r, 0, tokens)), dim, state, r.factor);
  }

  /// What the chunk leaves of a state, or of the cotangent of one.
  void forget(matrix<A> state) {
    if (!decays) return;
    decay_all();
    for (extent d = 0; d < dim; ++d) multiply_by(state[d], passed[alike ? 0 : d], state.width);
  }
  /// What the state behind the chunk has of what tokens wrote.
  void write(const state_writes<A>& w, matrix<A> state) {
    add_product(state, dim, turned_over(to_end(w, 0, tokens)), tokens, w.value);
  }

  /// To the cotangents of values, from tokens that read them.
  void return_to_each_other(const state_reads<A>& r, const state_writes<A>& w) {
    in_halves_back(
        0, tokens, at_once(r.sum.data == w.dvalue.data),
        [&](extent first, extent count) {
          weigh_pairs(r, w, first, count);
          return_pairs(r, w, first, count);
        },
        [&](extent first, extent half, extent count) {
          auto const readers = from_start(r, half, count), writers = to_end(w, first, half - first);
          for_each_panel(half - first, [&](extent j, extent writing) {
            for_each_panel(count, [&](extent i, extent reading) {
              fill_scores(scores, reading, readers.from(i), writers.from(j), writing, turned);
              add_product(w.dvalue.from(first + j), writing, turned_over(scores), reading, r.sum.from(half + i));
            });
          });
        });
  }
  /// To the cotangents of values, from that of the state behind the chunk.
  void return_from(matrix<A> dstate, const state_writes<A>& w) {
    add_product(w.dvalue, tokens, as_it_is(to_end(w, 0, tokens)), dim, dstate);
  }
  /// To the cotangent of the state before the chunk, from tokens that read it.
  void return_to(const state_reads<A>& r, matrix<A> dstate) {
    add_product(dstate, dim, turned_over(from_start(r, 0, tokens)), tokens, r.sum);
  }

 protected:
  /// Calls few(first, count) for parts of some tokens, the first first, and cross(first, half, count) between two of
  /// them once the first is done: `count` tokens from `half` on read those from `first` to there.
  template <class Few, class Cross>
  static void in_halves(extent first, extent count, extent most, Few each, Cross cross) {
    if (count <= most) return each(first, count);
    extent const half = half_of(count);
    in_halves(first, half, most, each, cross);
    cross(first, first + half, count - half);
    in_halves(first + half, count - half, most, each, cross);
  }
  /// The same, the last first.
  template <class Few, class Cross>
  static void in_halves_back(extent first, extent count, extent most, Few each, Cross cross) {
    if (count <= most) return each(first, count);
    extent const half = half_of(count);
    in_halves_back(first + half, count - half, most, each, cross);
    cross(first, first + half, count - half);
    in_halves_back(first, half, most, each, cross);
  }
  /// How many tokens need no halves.
  extent at_once(bool in_place) const { return in_place || !alike ? few : panel_rows; }

  /// scores[i][j], of a few tokens from `first` on: what i reads by weighs what j wrote. Others are nobody's.
  void weigh_pairs(const state_reads<A>& r, const state_writes<A>& w, extent first, extent count) {
    if (!alike) {
      for (extent i = r.lag; i < count; ++i) {
        fill_decayed_scores<A>(scores[i], r.x[first + i], w.x.from(first), decay.from(first), i - r.lag, lanes);
      }
    } else {
      fill_lower_scores(scores, count, r.x.from(first), w.x.from(first), turned);
      decay_pairs(scores, r.lag, first, count);
    }
  }
  /// Multiplies what is of pairs of a few tokens by the decay between them, which is alike for all rows.
  void decay_pairs(matrix<A> of, extent lag, extent first, extent count) {
    if (!decays) return;
    alignas(64) A between[panel_rows] = {};
    for (extent at = 0; at + lag < count; ++at) {
      extent const lanes_used = round_up(at + 1, simd<A>::width);
      multiply_by(between, decay[first + at][0], lanes_used);
      between[at] = 1;
      multiply_by(of[at + lag], between, lanes_used);
    }
  }
  /// By these scores.
  void return_pairs(const state_reads<A>& r, const state_writes<A>& w, extent first, extent count) {
    if (r.sum.data != w.dvalue.data)
      return add_upper_product(w.dvalue.from(first), count, r.lag, scores, r.sum.from(first));
    for (extent j = count - 1 - r.lag; j >= 0; --j) {
      extent const i = j + r.lag;
      add_product(w.dvalue.from(first + j), 1, turned_over(matrix<A>{scores[i] + j, panel_rows}), count - i,
                  r.sum.from(first + i));
    }
  }

  /// passed: the decay of the whole chunk.
  void decay_all() {
    fill(passed, A{1}, decay.width);
    for (extent i = 0; i < tokens; ++i) multiply_by(passed, decay[i], decay.width);
  }

  /// What reads, decayed down to the start of some tokens.
  matrix<const A> from_start(const state_reads<A>& r, extent first, extent count) {
    if (!decays) return r.x.from(first);
    for_each_read(r, first, count, [&](extent i) { decay_by(passed, r.x[first + i], moved[i]); });
    return moved;
  }
  /// What is written, decayed up to the end of some tokens.
  matrix<const A> to_end(const state_writes<A>& w, extent first, extent count) {
    if (!decays) return w.x.from(first);
    for_each_write(first, count, [&](extent j) { decay_by(passed, w.x[first + j], brought[j]); });
    return brought;
  }
  /// f(i) of some tokens with `passed` the decay between their start and where token first + i reads.
  template <class F>
  void for_each_read(const state_reads<A>& r, extent first, extent count, F f) {
    fill(passed, A{1}, decay.width);
    for (extent i = 0; i < count; ++i) {
      if (i >= r.lag && decays) multiply_by(passed, decay[first + i - r.lag], decay.width);
      f(i);
    }
  }
  /// f(j) of some tokens, the last first, with `passed` the decay between where token first + j writes and their end.
  template <class F>
  void for_each_write(extent first, extent count, F f) {
    fill(passed, A{1}, decay.width);
    for (extent j = count - 1; j >= 0; --j) {
      f(j);
      if (decays) multiply_by(passed, decay[first + j], decay.width);
    }
  }
  /// to = Diag(by) x; both may be one.
  void decay_by(const A* by, const A* x, A* to) const {
    if (alike) {
      for (extent d = 0; d < dim; ++d) to[d] = by[0] * x[d];
    } else {
      for (extent d = 0; d < dim; ++d) to[d] = by[d] * x[d];
    }
  }

 private:
  static extent half_of(extent count) { return round_up(count / 2, few); }
};

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
