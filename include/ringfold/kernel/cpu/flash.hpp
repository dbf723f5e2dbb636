#pragma once

#include <ringfold/algebra/exponential.hpp>
#include <ringfold/kernel/attention.hpp>
#include <ringfold/kernel/cpu/flash_backward.hpp>
#include <ringfold/kernel/cpu/rows.hpp>
#include <ringfold/kernel/cpu/score_tile.hpp>

/// \file
/// Blocked attention on one CPU core, for long sequences.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// Queries, running softmax and scratch of the blocked kernel, in tiles.
template <class P>
struct flash_state {
  using A = typename P::accumulate;
  using integer = typename simd<A>::integer;

  P p;
  tiling tiles;
  extent tiles_per_batch;
  A *q, *o;                                 // [batch * tile][dim][lane]
  A *maximum, *sum;                         // [batch * tile][lane]
  extent *query_positions, *key_positions;  // of the owner's rows, and of the rows of the block at hand
  A *rows, *keys, *values, *scores;         // scratch
  integer* table;
};

}  // namespace ringfold::detail::inline RINGFOLD_SIMD

namespace ringfold::inline RINGFOLD_SIMD {

/// Flash attention by vector registers: cache-sized blocks of keys against tiles of queries whose running softmax
/// stays in the kernel's own layout from block to block.
///
/// Elements: float, double, bf16, f16, or any type with scalar_traits that accumulates in float or double.
/// Float and double keys and values with adjacent dims are read where they lie; others are converted block by block.
/// Any score serves; softcap, ALiBi and dropout have code for registers. Any mask serves: tiles that it hides are skipped, and keys that it hides may hold anything, NaN included.
/// Queries are copied by prepare(). Memory: about batch * rows * heads * (dim + value_dim + 2) accumulators, 8 bytes
/// per row of positions, and one block of scratch.
/// The backward verbs are those of detail::flash_backward.
/// Source: Dao, FlashAttention-2 (2023), turned so that queries are lanes.
class flash_kernel : public detail::flash_backward {
 public:
  static constexpr bool closes_in_any_base = true;

  /// \throws usage_error when a sequence is too long for 32-bit positions, or the arena too small.
  template <class P>
  detail::flash_state<P> state(const P& p, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    using shape_of = detail::tile_shape<A>;
    detail::check_lengths(p);
    detail::flash_state<P> s{
        p, {p.head, p.queries.rows(p.owner), shape_of::lanes}, 0, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
    s.tiles_per_batch = s.tiles.before(s.tiles.key_heads());
    extent const lanes = checked_multiply(checked_multiply(p.batch, s.tiles_per_batch), shape_of::lanes);
    extent const widest = p.dim > p.value_dim ? p.dim : p.value_dim;
    s.q = memory.take<A>(checked_multiply(lanes, p.dim));
    s.o = memory.take<A>(checked_multiply(lanes, p.value_dim));
    s.maximum = memory.take<A>(lanes);
    s.sum = memory.take<A>(lanes);
    s.query_positions = memory.take<extent>(s.tiles.rows);
    s.key_positions = memory.take<extent>(p.keys.most_rows());
    s.rows = memory.take<A>(checked_multiply(shape_of::lanes, widest));
    s.keys = memory.take<A>(checked_multiply(shape_of::keys, p.dim));
    s.values = memory.take<A>(checked_multiply(shape_of::keys, p.value_dim));
    s.scores = memory.take<A>(shape_of::keys * shape_of::lanes);
    s.table = memory.take<typename detail::simd<A>::integer>(shape_of::keys * shape_of::lanes);
    return s;
  }

  /// \throws shape_error when q is not [batch, rows of the owner, query heads, dim].
  template <class P>
  void prepare(detail::flash_state<P>& s, view<const typename P::element, 4> q, host_stream) const {
    using A = typename P::accumulate;
    constexpr int lanes = detail::tile_shape<A>::lanes;
    const P& p = s.p;
    detail::check_queries(p, q);
    p.queries.for_each_position(p.owner, [&](extent row, extent position) { s.query_positions[row] = position; });
    A const factor = static_cast<A>(p.score.scale * detail::log2_of_e);
    detail::for_each_tile(s.tiles, p.batch, [&](extent batch, extent at, const detail::lanes_of& used) {
      for (int lane = 0; lane < lanes; ++lane) {
        A* const to = s.rows + lane * p.dim;
        if (lane < used.count) {
          detail::copy_row(&q(batch, used.row(lane), used.head(lane), 0), q.strides[dim_axis], p.dim, factor, to);
        } else {
          for (extent d = 0; d < p.dim; ++d) to[d] = 0;
        }
      }
      detail::turn(s.rows, p.dim, lanes, p.dim, s.q + at * p.dim * lanes, lanes);
      for (extent i = 0; i < p.value_dim * lanes; ++i) s.o[at * p.value_dim * lanes + i] = 0;
      for (int lane = 0; lane < lanes; ++lane) {
        s.maximum[at * lanes + lane] = -static_cast<A>(__builtin_inf());
        s.sum[at * lanes + lane] = 0;
      }
    });
  }

  /// \throws shape_error when the block does not fit the problem, usage_error when its owner does not exist.
  template <class P>
  void accumulate(detail::flash_state<P>& s, block<typename P::element> kv, host_stream) const {
    if (!kv.present()) return;
    const P& p = s.p;
    detail::check_block(p, kv);
    p.keys.for_each_position(kv.owner, [&](extent row, extent position) { s.key_positions[row] = position; });
    for (extent batch = 0; batch < p.batch; ++batch) {
      for (extent head = 0; head < kv.k.extents[head_axis]; ++head) {
        extent const key_head = kv.first_key + head - s.tiles.first_key();
        if (key_head < 0 || key_head >= s.tiles.key_heads()) continue;
        extent const tiles = s.tiles.tiles_of(key_head);
        // Queries by the cacheful: every block of keys then serves many tiles, in whatever cache it is found.
        for (extent first = 0; first < tiles; first += tiles_at_once) {
          fold_keys(s, kv, batch, head, key_head, first, tiles - first < tiles_at_once ? tiles - first : tiles_at_once);
        }
      }
    }
  }

  /// \throws shape_error when the partial does not fit the problem.
  template <class P, class Base>
  void close(detail::flash_state<P>& s, partial<typename P::accumulate, host_space, Base> out, host_stream) const {
    using A = typename P::accumulate;
    constexpr int lanes = detail::tile_shape<A>::lanes;
    const P& p = s.p;
    detail::check_partial(p, out);
    detail::for_each_tile(s.tiles, p.batch, [&](extent batch, extent at, const detail::lanes_of& used) {
      detail::turn(s.o + at * p.value_dim * lanes, lanes, p.value_dim, lanes, s.rows, p.value_dim);
      for (int lane = 0; lane < used.count; ++lane) {
        extent const row = used.row(lane), head = used.head(lane);
        A const sum = s.sum[at * lanes + lane];
        bool const empty = sum == 0;
        out.lse(batch, row, head) = empty ? -static_cast<A>(__builtin_inf())
                                          : detail::log_sum<Base>(s.maximum[at * lanes + lane], exponential::log2(sum));
        const A* const from = s.rows + lane * p.value_dim;
        A* const to = &out.o(batch, row, head, 0);
        for (extent d = 0; d < p.value_dim; ++d) to[d * out.o.strides[dim_axis]] = empty ? 0 : from[d] / sum;
      }
    });
  }

 private:
  static constexpr int tiles_at_once = 16;

  /// Folds all keys of one head into some tiles of one key head's queries.
  template <class P>
  static void fold_keys(detail::flash_state<P>& s, const block<typename P::element>& kv, extent batch, extent head,
                        extent key_head, extent first_tile, extent tiles) {
    using A = typename P::accumulate;
    using shape_of = detail::tile_shape<A>;
    const P& p = s.p;
    hull queries[tiles_at_once];
    for (extent i = 0; i < tiles; ++i) {
      auto const lanes = s.tiles.lanes_at(key_head, first_tile + i);
      extent const from = lanes.row(0), to = lanes.row(lanes.count - 1);
      queries[i] = detail::hull_of(s.query_positions + from, to - from + 1);
    }
    extent const first_at = batch * s.tiles_per_batch + s.tiles.before(key_head) + first_tile;
    extent const rows = kv.k.extents[row_axis];
    for (extent row = 0; row < rows; row += shape_of::keys) {
      extent const count = rows - row < shape_of::keys ? rows - row : shape_of::keys;
      const extent* const positions = s.key_positions + row;
      hull const keys = detail::hull_of(positions, count);
      detail::tile<A> t{};
      bool all_finite = false;
      for (extent i = 0; i < tiles; ++i) {
        auto const seen = detail::trim(p.mask_of, queries[i], positions, count, keys);
        if (seen.left == coverage::skip) continue;
        if (t.k == nullptr) {
          t.dim = p.dim, t.value_dim = p.value_dim, t.scores = s.scores;
          t.k = detail::rows_of(kv.k, batch, row, head, count, s.keys, t.k_stride);
          t.v = detail::rows_of(kv.v, batch, row, head, count, s.values, t.v_stride);
        }
        fold_tile(s, t, seen, batch, positions, count, s.tiles.lanes_at(key_head, first_tile + i), first_at + i,
                  all_finite);
      }
    }
  }

  /// Folds what one tile sees of a block; `whole` describes the block.
  template <class P, class A>
  static void fold_tile(detail::flash_state<P>& s, const detail::tile<A>& whole, detail::visible_keys seen,
                        [[maybe_unused]] extent batch, const extent* positions, extent count,
                        const detail::lanes_of& used, extent at, bool& all_finite) {
    constexpr int lanes = detail::tile_shape<A>::lanes;
    detail::tile<A> t = whole;
    t.q = s.q + at * t.dim * lanes, t.o = s.o + at * t.value_dim * lanes;
    t.maximum = s.maximum + at * lanes, t.sum = s.sum + at * lanes;
    t.k += seen.first * t.k_stride, t.v += seen.first * t.v_stride;
    t.keys = seen.count;
    detail::curtain<A> hidden;
    if (seen.left == coverage::partial) {
      for (int lane = 0; lane < lanes; ++lane) {
        extent const row = used.row(lane < used.count ? lane : used.count - 1);
        hidden.positions[lane] = static_cast<typename detail::simd<A>::integer>(s.query_positions[row]);
      }
      detail::draw(s.p.mask_of, positions + seen.first, hidden, s.table, t);
      for (extent key = 0; key < count && !all_finite; ++key) {
        if (!detail::finite(whole.v + key * whole.v_stride, t.value_dim)) break;
        all_finite = key + 1 == count;
      }
      t.guarded = !all_finite;
    }
    if constexpr (detail::is_plain<P>) {
      detail::fold(
          t, [] {}, [] {});
    } else {
      auto const& parts = s.p.score.parts;
      detail::tile_pairs<A> const pairs(s.p, batch, used, s.query_positions, positions + seen.first, t.keys);
      detail::fold(
          t, [&] { detail::change_scores(parts, pairs, t.scores, static_cast<A*>(nullptr)); },
          [&] { detail::keep_weights(parts, pairs, t.scores); });
    }
  }
};

}  // namespace ringfold::inline RINGFOLD_SIMD
