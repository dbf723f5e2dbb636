#pragma once

#include <ringfold/algebra/exponential.hpp>
#include <ringfold/kernel/attention.hpp>
#include <ringfold/kernel/cpu/flash_backward.hpp>
#include <ringfold/kernel/cpu/rows.hpp>
#include <ringfold/kernel/cpu/score_tile.hpp>

/// \file
/// Blocked attention on one CPU core, for long sequences.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// What one worker of the blocked kernel needs beside the state.
template <class A, class F>
struct flash_scratch {
  A* rows;
  F *keys, *values;
  A* scores;
  typename simd<A>::integer* table;

  template <class P>
  flash_scratch(const P& p, arena<host_space>& memory) {
    using shape_of = tile_shape<A>;
    extent const widest = p.dim > p.value_dim ? p.dim : p.value_dim;
    rows = memory.take<A>(checked_multiply(shape_of::lanes, widest));
    keys = memory.take<F>(checked_multiply(shape_of::keys, round_up(p.dim, dot_step<F>::depth)));
    values = memory.take<F>(checked_multiply(shape_of::keys, p.value_dim));
    scores = memory.take<A>(shape_of::keys * shape_of::lanes);
    table = memory.take<typename simd<A>::integer>(shape_of::keys * shape_of::lanes);
  }
};

/// Queries and running softmax of the blocked kernel, in tiles; F is the type that is multiplied.
template <class P, class F>
struct flash_state {
  using A = typename P::accumulate;
  using scratch = flash_scratch<A, F>;

  P p;
  tiling tiles;
  F* q = nullptr;                                               // [batch * tile][steps of dim][lane][numbers of a step]
  A *o = nullptr, *maximum = nullptr, *sum = nullptr;           // [batch * tile][value_dim][lane], [batch * tile][lane]
  extent *query_positions = nullptr, *key_positions = nullptr;  // of the owner's rows, and of the block's at hand
  scratch_of_workers<scratch> scratches{};
};

/// The forward verbs of flash_kernel.
template <bool Widens, executor E>
class flash_forward : public flash_backward<Widens, E> {
  using flash_backward<Widens, E>::on_;

 public:
  using flash_backward<Widens, E>::flash_backward;
  static constexpr bool closes_in_any_base = true;

  /// The same kernel, its work shared among the workers of an executor, which must outlive it.
  template <executor To>
  flash_forward<Widens, To> on(const To& to) const {
    return flash_forward<Widens, To>(to);
  }
  template <executor To>
  void on(const To&&) const = delete;
  template <class To>
    requires(!executor<To>)
  not_an_executor<To> on(const To&) const;

  /// \throws usage_error when a sequence is too long for 32-bit positions, or the arena too small.
  template <class P>
  auto state(const P& p, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    using F = multiplied_t<typename P::element, Widens>;
    using shape_of = tile_shape<A>;
    check_lengths(p);
    flash_state<P, F> s{p, {p.head, p.queries.rows(p.owner), shape_of::lanes}};
    extent const tiles = checked_multiply(p.batch, s.tiles.before(s.tiles.key_heads()));
    extent const lanes = checked_multiply(tiles, shape_of::lanes);
    s.q = memory.take<F>(checked_multiply(lanes, round_up(p.dim, dot_step<F>::depth)));
    s.o = memory.take<A>(checked_multiply(lanes, p.value_dim));
    s.maximum = memory.take<A>(lanes);
    s.sum = memory.take<A>(lanes);
    s.query_positions = memory.take<extent>(s.tiles.rows);
    s.key_positions = memory.take<extent>(p.keys.most_rows());
    s.scratches = {p, on_->workers(), tiles, memory};
    return s;
  }

  /// \throws shape_error when q is not [batch, rows of the owner, query heads, dim].
  template <class P, class F>
  void prepare(flash_state<P, F>& s, view<const typename P::element, 4> q, host_stream) const {
    using A = typename P::accumulate;
    constexpr int lanes = tile_shape<A>::lanes;
    const P& p = s.p;
    check_queries(p, q);
    p.queries.for_each_position(p.owner, [&](extent row, extent position) { s.query_positions[row] = position; });
    [[maybe_unused]] A const factor = static_cast<A>(p.score.scale * log2_of_e);
    constexpr int depth = dot_step<F>::depth;
    extent const steps = round_up(p.dim, depth) / depth;
    for_each_tile(*on_, s, [&](extent batch, extent at, const lanes_of& used, int worker) {
      A* const room = s.scratches(p, worker).rows;
      F* const rows = reinterpret_cast<F*>(room);
      for (int lane = 0; lane < lanes; ++lane) {
        F* const to = rows + lane * steps * depth;
        if (lane >= used.count) {
          for (extent d = 0; d < steps * depth; ++d) to[d] = F{};
        } else if constexpr (depth > 1) {
          copy_row(row_of(q, batch, used.row(lane), used.head(lane)), q.strides[dim_axis], p.dim, to);
        } else {
          copy_row(row_of(q, batch, used.row(lane), used.head(lane)), q.strides[dim_axis], p.dim, factor, to);
        }
      }
      F* const to_q = s.q + at * steps * depth * lanes;
      if (lies_in_rows<F>(p)) {
        __builtin_memcpy(static_cast<void*>(to_q), rows,
                         static_cast<std::size_t>(lanes * steps * depth) * sizeof *to_q);
      } else {
        turn(room, steps, lanes, steps, reinterpret_cast<A*>(to_q), lanes);
      }
      for (extent i = 0; i < p.value_dim * lanes; ++i) s.o[at * p.value_dim * lanes + i] = 0;
      for (int lane = 0; lane < lanes; ++lane) {
        s.maximum[at * lanes + lane] = -static_cast<A>(__builtin_inf());
        s.sum[at * lanes + lane] = 0;
      }
    });
  }

  /// \throws shape_error when the block does not fit the problem, usage_error when its owner does not exist.
  template <class P, class F>
  void accumulate(flash_state<P, F>& s, block<typename P::element> kv, host_stream) const {
    using A = typename P::accumulate;
    if (!kv.present()) return;
    const P& p = s.p;
    check_block(p, kv);
    p.keys.for_each_position(kv.owner, [&](extent row, extent position) { s.key_positions[row] = position; });
    auto const heads = s.tiles.shared_with(kv.first_key, kv.k.extents[head_axis]);
    // Queries by the cacheful: every block of keys then serves many tiles, in whatever cache it is found.
    extent const tiles = s.tiles.before(s.tiles.key_heads()) * p.batch;
    int const workers = s.scratches.workers();
    extent const fair = workers == 1 ? tile_runs::most : tiles / (extent{4} * workers) + 1;
    tile_runs const runs(s.tiles, p.batch, heads, fair < tile_runs::most ? fair : tile_runs::most);
    // Few queries wait for memory, so all heads read a block of keys before any reads the next.
    extent const rows = kv.k.extents[row_axis], at_once = lies_in_rows<F>(p) ? tile_shape<A>::keys : rows;
    for (extent row = 0; row < rows; row += at_once) {
      range const keys{row, rows - row < at_once ? rows - row : at_once};
      // Of causal attention the last ones are the longest.
      hand_out(*on_, workers, runs.count(), [&](extent index, int worker) {
        fold_keys(s, s.scratches(p, worker), kv, keys, runs[runs.count() - 1 - index]);
      });
    }
  }

  /// \throws shape_error when the partial does not fit the problem.
  template <class P, class F, class Base>
  void close(flash_state<P, F>& s, partial<typename P::accumulate, host_space, Base> out, host_stream) const {
    using A = typename P::accumulate;
    constexpr int lanes = tile_shape<A>::lanes;
    const P& p = s.p;
    check_partial(p, out);
    for_each_tile(*on_, s, [&](extent batch, extent at, const lanes_of& used, int worker) {
      A* const rows = s.scratches(p, worker).rows;
      A* const o = s.o + at * p.value_dim * lanes;
      const A* const sums = s.sum + at * lanes;
      bool in_place = false;
      if (lies_in_rows<F>(p)) {
        for (int lane = 0; lane < used.count; ++lane) {
          for (extent d = lane * p.value_dim; d < (lane + 1) * p.value_dim; ++d) {
            rows[d] = sums[lane] == 0 ? A{0} : o[d] / sums[lane];
          }
        }
      } else {
        divide(o, p.value_dim, sums);
        in_place = used.heads == 1 && out.o.strides[dim_axis] == 1;  // as turn() writes
        turn(o, lanes, p.value_dim, used.count, in_place ? row_of(out.o, batch, used.row(0), used.head(0)) : rows,
             in_place ? out.o.strides[row_axis] : p.value_dim);
      }
      for (int lane = 0; lane < used.count; ++lane) {
        extent const row = used.row(lane), head = used.head(lane);
        A const none = -static_cast<A>(__builtin_inf()), maximum = s.maximum[at * lanes + lane];
        out.lse(batch, row, head) = sums[lane] == 0 ? none : log_sum<Base>(maximum, exponential::log2(sums[lane]));
        if (in_place) continue;
        const A* const from = rows + lane * p.value_dim;
        A* const to = row_of(out.o, batch, row, head);
        for (extent d = 0; d < p.value_dim; ++d) to[d * out.o.strides[dim_axis]] = from[d];
      }
    });
  }

 private:
  /// o[dim][lane] /= sums[lane]; 0 where nothing was added up.
  template <class A>
  static void divide(A* o, extent dims, const A* sums) {
    using V = simd<A>;
    constexpr int lanes = tile_shape<A>::lanes;
    for (int j = 0; j < lanes; j += V::width) {
      auto const sum = V::load(sums + j);
      for (extent d = 0; d < dims; ++d) {
        A* const at = o + d * lanes + j;
        V::store(at, sum == 0 ? typename V::vector{} : V::load(at) / sum);
      }
    }
  }

  /// This head's share of the rows of all heads that begin there: where they lie side by side, memory is read in order.
  template <class T>
  static rows_ahead ahead(const view<const T, 4>& of, extent batch, extent row, extent head) {
    constexpr extent size = sizeof(T), most = tile_shape<accumulate_t<T>>::keys;
    extent const heads = of.extents[head_axis], dim = of.extents[dim_axis], left = of.extents[row_axis] - row;
    extent const count = left < most ? left : most;
    if (count <= 0 || of.strides[dim_axis] != 1) return {};
    bool const side_by_side = of.strides[head_axis] == dim && of.strides[row_axis] == heads * dim;
    const T* const first = row_of(of, batch, row, side_by_side ? 0 : head) + (side_by_side ? head * count * dim : 0);
    return {reinterpret_cast<const char*>(first), (side_by_side ? dim : of.strides[row_axis]) * size, dim * size,
            count};
  }

  /// Folds some keys of one head into some tiles of one key head's queries.
  template <class P, class F>
  static void fold_keys(const flash_state<P, F>& s, const flash_scratch<typename P::accumulate, F>& own,
                        const block<typename P::element>& kv, range of_keys, const tile_run& run) {
    using A = typename P::accumulate;
    using shape_of = tile_shape<A>;
    const P& p = s.p;
    extent const batch = run.batch, head = run.key_head + s.tiles.first_key() - kv.first_key;
    hull queries[tile_runs::most];
    for (extent i = 0; i < run.count; ++i) {
      auto const lanes = s.tiles.lanes_at(run.key_head, run.first + i);
      extent const from = lanes.row(0), to = lanes.row(lanes.count - 1);
      queries[i] = hull_of(s.query_positions + from, to - from + 1);
    }
    extent const last = of_keys.first + of_keys.count;
    for (extent row = of_keys.first; row < last; row += shape_of::keys) {
      extent const count = last - row < shape_of::keys ? last - row : shape_of::keys;
      const extent* const positions = s.key_positions + row;
      hull const keys = hull_of(positions, count);
      tile<F> t{};
      bool all_finite = false;
      for (extent i = 0; i < run.count; ++i) {
        auto const seen = trim(p.mask_of, queries[i], positions, count, keys);
        if (seen.left == coverage::skip) continue;
        if (t.k == nullptr) {
          t.dim = round_up(p.dim, dot_step<F>::depth), t.value_dim = p.value_dim, t.scores = own.scores;
          if (lies_in_rows<F>(p)) {
            t.next[0] = ahead(kv.k, batch, row + count, head);
            t.next[1] = ahead(kv.v, batch, row + count, head);
          }
          t.factor = static_cast<A>(p.score.scale * log2_of_e);
          t.k = rows_of(kv.k, batch, row, head, count, own.keys, t.k_stride);
          if constexpr (dot_step<F>::depth > 1) {
            t.v = paired_rows_of(kv.v, batch, row, head, count, own.values, t.v_stride);
          } else {
            t.v = rows_of(kv.v, batch, row, head, count, own.values, t.v_stride);
          }
        }
        fold_tile(s, own.table, t, seen, batch, positions, count, s.tiles.lanes_at(run.key_head, run.first + i),
                  run.at + i, all_finite);
      }
    }
  }

  /// Folds what one tile sees of a block; `whole` describes the block.
  template <class P, class F>
  static void fold_tile(const flash_state<P, F>& s, typename tile<F>::integer* table, const tile<F>& whole,
                        visible_keys seen, [[maybe_unused]] extent batch, const extent* positions, extent count,
                        const lanes_of& used, extent at, bool& all_finite) {
    using A = typename P::accumulate;
    constexpr int lanes = tile_shape<A>::lanes, depth = dot_step<F>::depth;
    tile<F> t = whole;
    t.q = s.q + at * t.dim * lanes, t.o = s.o + at * t.value_dim * lanes;
    t.rows = lies_in_rows<F>(s.p) ? used.count : 0;
    t.maximum = s.maximum + at * lanes, t.sum = s.sum + at * lanes;
    t.k += seen.first * t.k_stride, t.v += seen.first * t.v_stride;
    t.keys = seen.count, t.before = static_cast<int>(seen.first % depth), t.scores += t.before * lanes;
    curtain<A> hidden;
    if (seen.left == coverage::partial) {
      for (int lane = 0; lane < lanes; ++lane) {
        extent const row = used.row(lane < used.count ? lane : used.count - 1);
        hidden.positions[lane] = static_cast<typename simd<A>::integer>(s.query_positions[row]);
      }
      draw(s.p.mask_of, positions + seen.first, hidden, table, t);
    }
    // Keys that complete a step may be keys that were trimmed away.
    if (seen.left == coverage::partial || (depth > 1 && seen.count < count)) {
      for (extent key = 0; key < count && !all_finite; key += depth) {
        if (!finite(whole.v + key * whole.v_stride, t.value_dim * depth)) break;
        all_finite = key + depth >= count;
      }
      t.guarded = !all_finite;
    }
    if constexpr (is_plain<P>) {
      fold(t, unchanged{}, unchanged{});
    } else {
      auto const& parts = s.p.score.parts;
      tile_pairs<A> const pairs(s.p, batch, used, s.query_positions, positions + seen.first, t.keys);
      auto const change = [&] { change_scores(parts, pairs, t.scores, static_cast<A*>(nullptr)); };
      if constexpr (std::remove_cvref_t<decltype(parts)>::drops) {
        fold(t, change, [&] { keep_weights(parts, pairs, t.scores); });
      } else {
        fold(t, change, unchanged{});
      }
    }
  }
};

}  // namespace ringfold::detail::inline RINGFOLD_SIMD

namespace ringfold::inline RINGFOLD_SIMD {

/// Flash attention by vector registers: cache-sized blocks of keys against tiles of queries whose running softmax
/// stays in the kernel's own layout from block to block.
///
/// Elements: float, double, bf16, f16, or any type with scalar_traits that accumulates in float or double.
/// Float and double keys and values with adjacent dims are read where they lie; others are converted block by block.
/// Any score serves; softcap, ALiBi and dropout have code for registers. Any mask serves: tiles that it hides are
/// skipped, and keys that it hides may hold anything, NaN included.
///
/// Compiled for a machine with AVX512_BF16, bf16 is multiplied as it is, two numbers a lane. Scores are as exact as in
/// float, and scaled there, once they are added up: sums beyond its range overflow. Weights are added up in float, so
/// the log-sum-exp is too, and rounded to bf16 for the values. That moves an element of the output by at most 2^-8 of
/// the mean size of its values by weight, 1.6e-3 of it in the norm where they cancel; weights that are powers of two stay
/// exact. Backward, weights are rounded for dout, and gradients of scores for queries and keys, though not for the parts
/// of a score, which see them in float: that moves an element of a gradient by at most 2^-8 of the sizes of the products
/// that it is a sum of, 1.7e-3 in the norm where weights differ: equal ones are rounded alike. Numbers below the normal
/// ones count as 0. Elsewhere, and in widening_flash_kernel, elements are converted to the type that sums are kept in.
/// Where the queries of all ranks and all readers of a key head together fill no register by half, as in decoding, lanes
/// are dims instead (of dims that fill registers), and the next keys are fetched from memory meanwhile.
/// Work may be shared among threads: `flash_kernel{}.on(executor)`. Runs of 16 tiles of queries go to whoever is free;
/// forward they are independent, backward each follows the one before. No bit depends on the number of workers. Masks
/// and score functions are called by all of them; a bias that collects a gradient is left to one.
/// Queries are copied by prepare(). Memory: about batch * rows * heads * (dim + value_dim + 2) accumulators (dim / 2 of
/// bf16 as it is), 8 bytes per row of positions, and for each worker one block of scratch.
/// The backward verbs are those of detail::flash_backward.
/// Source: Dao, FlashAttention-2 (2023), turned so that queries are lanes; weights in bf16 as on GPUs.
class flash_kernel : public detail::flash_forward<false, in_place> {};

/// As flash_kernel, but elements are multiplied in the type that sums are kept in on every machine: of bf16 the same
/// bits with AVX512_BF16 as without, and no weight is rounded to it.
class widening_flash_kernel : public detail::flash_forward<true, in_place> {};

}  // namespace ringfold::inline RINGFOLD_SIMD
