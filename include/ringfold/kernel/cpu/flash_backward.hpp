#pragma once

#include <new>

#include <ringfold/algebra/exponential.hpp>
#include <ringfold/kernel/attention.hpp>
#include <ringfold/kernel/cpu/rows.hpp>
#include <ringfold/kernel/cpu/score_tile.hpp>
#include <ringfold/kernel/cpu/tile_backward.hpp>

/// \file
/// The backward pass of blocked attention on one CPU core.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// What one worker of the backward pass needs beside the state; F is the type that is multiplied.
template <class A, class F>
struct flash_backward_scratch {
  static constexpr int depth = dot_step<F>::depth;

  A *q_rows, *dout_rows;
  F *keys, *values;  // of one block
  A *dk, *dv;
  A *scores, *gains;
  F *key_pairs = nullptr, *slopes = nullptr;  // not of depth 1
  typename simd<A>::integer* table;
  tile_scratch<A> of_score{};

  template <class P>
  flash_backward_scratch(const P& p, arena<host_space>& memory) {
    using shape_of = backward_shape<A>;
    constexpr extent pairs = shape_of::pairs;
    extent const dim = shape_of::padded(p.dim), value_dim = shape_of::padded(p.value_dim);
    q_rows = memory.take<A>(checked_multiply(shape_of::lanes, dim));
    dout_rows = memory.take<A>(checked_multiply(shape_of::lanes, value_dim));
    keys = memory.take<F>(checked_multiply(shape_of::keys, round_up(p.dim, depth)));
    values = memory.take<F>(checked_multiply(shape_of::keys, round_up(p.value_dim, depth)));
    dk = memory.take<A>(checked_multiply(shape_of::key_rows, dim));
    dv = memory.take<A>(checked_multiply(shape_of::key_rows, value_dim));
    scores = memory.take<A>(pairs * tiles_at_once<F>);
    gains = memory.take<A>(pairs * tiles_at_once<F>);
    if (depth > 1) {
      key_pairs = memory.take<F>(checked_multiply(shape_of::keys, p.dim));
      slopes = memory.take<F>(pairs);
    }
    table = memory.take<typename simd<A>::integer>(pairs);
    using parts = decltype(p.score.parts);
    if (parts::bends) of_score.slopes = memory.take<A>(pairs);
    if (parts::drops) of_score.keeps = memory.take<A>(pairs);
  }
};

/// Queries, what is known of their results, and their gradient, in tiles; F is the type that is multiplied.
template <class P, class F>
struct flash_backward_state {
  using A = typename P::accumulate;
  using scratch = flash_backward_scratch<A, F>;

  P p;
  tiling tiles;
  F *q = nullptr, *dout = nullptr;              // [batch * tile][steps of dim][lane][numbers of a step]
  F *q_pairs = nullptr, *dout_pairs = nullptr;  // [batch * tile][lane / 2][dim][2]; not of depth 1
  A* dq = nullptr;                              // [batch * tile][dim][lane], less its scale
  A *lse = nullptr, *delta = nullptr;           // [batch * tile][lane]; lse in units of log2
  extent *query_positions = nullptr, *key_positions = nullptr;
  footprints::steps* steps = nullptr;  // [run of tiles]: the keys that it is done with
  scratch_of_workers<scratch> scratches{};
};

/// Backward verbs of flash_kernel: weights are made again from lse, block by block, and never kept.
///
/// Queries and dout are copied by prepare_backward(); lse and delta too. Keys and values are read during
/// accumulate_backward() only, and their gradients are summed in scratch, over a run of tiles of queries, before they
/// are added to the caller's. The order of all sums is fixed: with several workers, a run of tiles follows the one
/// before from block to block of keys.
/// Memory: about batch * rows * heads * (2 dim + value_dim + 2) accumulators, 8 bytes per row of positions, and
/// for each worker scratch for one block. Queries and dout that are multiplied as bf16 are kept in two orders, in as many
/// bytes.
/// Source: Dao, FlashAttention-2 (2023), turned so that queries are lanes.
template <bool Widens, executor E>
class flash_backward : public local_attention {
 public:
  flash_backward()
    requires std::same_as<E, in_place>
      : on_(&alone) {}
  explicit flash_backward(const E& on) : on_(&on) {}

  /// \throws usage_error when a sequence is too long for 32-bit positions, or the arena too small.
  template <class P>
  auto backward_state(const P& p, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    using F = multiplied_t<typename P::element, Widens>;
    using shape_of = backward_shape<A>;
    constexpr int depth = dot_step<F>::depth;
    check_lengths(p);
    flash_backward_state<P, F> s{p, {p.head, p.queries.rows(p.owner), shape_of::lanes}};
    extent const tiles = checked_multiply(p.batch, s.tiles.before(s.tiles.key_heads()));
    extent const lanes = checked_multiply(tiles, shape_of::lanes);
    s.q = memory.take<F>(checked_multiply(lanes, round_up(p.dim, depth)));
    s.dq = memory.take<A>(checked_multiply(lanes, p.dim));
    s.dout = memory.take<F>(checked_multiply(lanes, round_up(p.value_dim, depth)));
    if (depth > 1) {
      s.q_pairs = memory.take<F>(checked_multiply(lanes, shape_of::padded(p.dim)));
      s.dout_pairs = memory.take<F>(checked_multiply(lanes, shape_of::padded(p.value_dim)));
    }
    s.lse = memory.take<A>(lanes);
    s.delta = memory.take<A>(lanes);
    s.query_positions = memory.take<extent>(s.tiles.rows);
    s.key_positions = memory.take<extent>(p.keys.most_rows());
    s.steps = memory.take<footprints::steps>(tile_runs(s.tiles, p.batch).count());
    s.scratches = {p, on_->workers(), tiles, memory};
    return s;
  }

  /// \throws shape_error when q or what is known of its results does not fit the problem.
  template <class P, class F>
  void prepare_backward(flash_backward_state<P, F>& s, view<const typename P::element, 4> q,
                        cotangent<typename P::element> of_out, host_stream) const {
    using A = typename P::accumulate;
    using shape_of = backward_shape<A>;
    constexpr int lanes = shape_of::lanes, depth = dot_step<F>::depth;
    const P& p = s.p;
    extent const rows = p.queries.rows(p.owner);
    check_queries(p, q);
    check_extents("dout", of_out.dout, {p.batch, rows, p.head.query, p.value_dim});
    check_extents("lse", of_out.lse, {p.batch, rows, p.head.query});
    check_extents("delta", of_out.delta, {p.batch, rows, p.head.query});
    p.queries.for_each_position(p.owner, [&](extent row, extent position) { s.query_positions[row] = position; });
    A const none = -static_cast<A>(__builtin_inf());
    [[maybe_unused]] A const factor = static_cast<A>(p.score.scale * log2_of_e);
    extent const stride = shape_of::padded(p.dim), value_stride = shape_of::padded(p.value_dim);
    for_each_tile(*on_, s, [&](extent batch, extent at, const lanes_of& used, int worker) {
      auto const own = s.scratches(p, worker);
      F *const q_rows = reinterpret_cast<F*>(own.q_rows), *const dout_rows = reinterpret_cast<F*>(own.dout_rows);
      set_zero(q_rows, lanes * stride);
      set_zero(dout_rows, lanes * value_stride);
      for (int lane = 0; lane < lanes; ++lane) {
        A lse = none;
        if (lane < used.count) lse = of_out.lse(batch, used.row(lane), used.head(lane));
        s.lse[at * lanes + lane] = lse * static_cast<A>(log2_of_e);
        s.delta[at * lanes + lane] = 0;
        if (lse == none) continue;  // a row that saw nothing may hold anything; it takes no part
        extent const row = used.row(lane), head = used.head(lane);
        s.delta[at * lanes + lane] = of_out.delta(batch, row, head);
        const auto *const from = row_of(q, batch, row, head), *const of_dout = row_of(of_out.dout, batch, row, head);
        if constexpr (depth > 1) {
          copy_row(from, q.strides[dim_axis], p.dim, q_rows + lane * stride);
        } else {
          copy_row(from, q.strides[dim_axis], p.dim, factor, q_rows + lane * stride);
        }
        copy_row(of_dout, of_out.dout.strides[dim_axis], p.value_dim, dout_rows + lane * value_stride);
      }
      store_tile(q_rows, stride, p.dim, at, s.q, s.q_pairs);
      store_tile(dout_rows, value_stride, p.value_dim, at, s.dout, s.dout_pairs);
      set_zero(s.dq + at * p.dim * lanes, p.dim * lanes);
    });
  }

  /// \throws shape_error when the block or its gradient does not fit, usage_error when its owner does not exist.
  template <class P, class F>
  void accumulate_backward(flash_backward_state<P, F>& s, block<typename P::element> kv,
                           block_gradient<typename P::accumulate> to, host_stream) const {
    if (!kv.present()) return;
    const P& p = s.p;
    check_block(p, kv);
    if (to.k.data == nullptr && !needs(p, p.owner, kv.owner)) return;
    extent const rows = kv.k.extents[row_axis], heads = kv.k.extents[head_axis];
    check_extents("dk", to.k, {p.batch, rows, heads, p.dim});
    check_extents("dv", to.v, {p.batch, rows, heads, p.value_dim});
    p.keys.for_each_position(kv.owner, [&](extent row, extent position) { s.key_positions[row] = position; });
    tile_runs const runs(s.tiles, p.batch, s.tiles.shared_with(kv.first_key, heads));
    for (extent index = 0; index < runs.count(); ++index) new (s.steps + index) footprints::steps(0);
    auto const fold = [&](extent index, int worker) {
      footprints trace(s.steps + index, runs.begins_head(index) ? nullptr : s.steps + index - 1, rows);
      fold_keys_back(s, s.scratches(p, worker), kv, to, runs[index], trace);
    };
    if constexpr (std::remove_cvref_t<decltype(p.score.parts)>::collects) {
      hand_out(in_place{}, 1, runs.count(), fold);  // all queries may share what is collected
    } else {
      hand_out(*on_, s.scratches.workers(), runs.count(), fold);
    }
  }

  /// Writes the gradient of the queries. \throws shape_error when it does not fit the problem.
  template <class P, class F>
  void close_backward(flash_backward_state<P, F>& s, view<typename P::accumulate, 4> dq, host_stream) const {
    using A = typename P::accumulate;
    using shape_of = backward_shape<A>;
    constexpr int lanes = shape_of::lanes;
    const P& p = s.p;
    check_extents("dq", dq, {p.batch, p.queries.rows(p.owner), p.head.query, p.dim});
    extent const stride = shape_of::padded(p.dim);
    A const scale = static_cast<A>(p.score.scale);
    for_each_tile(*on_, s, [&](extent batch, extent at, const lanes_of& used, int worker) {
      A* const rows = s.scratches(p, worker).q_rows;
      turn(s.dq + at * p.dim * lanes, lanes, p.dim, lanes, rows, stride);
      for (int lane = 0; lane < used.count; ++lane) {
        bool const empty = s.lse[at * lanes + lane] == -static_cast<A>(__builtin_inf());
        const A* const from = rows + lane * stride;
        A* const row = &dq(batch, used.row(lane), used.head(lane), 0);
        for (extent d = 0; d < p.dim; ++d) row[d * dq.strides[dim_axis]] = empty ? 0 : from[d] * scale;
      }
    });
  }

 protected:
  const E* on_;

 private:
  static constexpr in_place alone{};

  template <class A>
  static void set_zero(A* row, extent count) {
    for (extent i = 0; i < count; ++i) row[i] = A{};
  }

  /// Keeps a tile's rows in steps of dims, lane by lane, and, where a step takes two numbers, in steps of lanes too.
  template <class F>
  static void store_tile(const F* rows, extent stride, extent dim, extent at, F* by_dims, F* pairs) {
    using A = accumulate_t<F>;
    constexpr int lanes = tile_shape<A>::lanes, depth = dot_step<F>::depth;
    extent const steps = round_up(dim, depth) / depth;
    turn(reinterpret_cast<const A*>(rows), stride / depth, lanes, steps,
         reinterpret_cast<A*>(by_dims + at * steps * depth * lanes), lanes);
    if constexpr (depth > 1) {
      for (int lane = 0; lane < lanes; lane += depth) {
        const F* const row = rows + lane * stride;
        pair_rows(row, row + stride, 1, stride, ~0u, pairs + (at * lanes + lane) * stride);
      }
    }
  }

  /// Adds the part of some tiles of one key head's queries to the gradients of all keys of that head, and back.
  template <class P, class F>
  static void fold_keys_back(const flash_backward_state<P, F>& s,
                             const flash_backward_scratch<typename P::accumulate, F>& own,
                             const block<typename P::element>& kv, const block_gradient<typename P::accumulate>& to,
                             const tile_run& run, footprints& trace) {
    using A = typename P::accumulate;
    using shape_of = backward_shape<A>;
    constexpr int depth = dot_step<F>::depth;
    const P& p = s.p;
    extent const batch = run.batch, head = run.key_head + s.tiles.first_key() - kv.first_key;
    hull queries[tile_runs::most];
    for (extent i = 0; i < run.count; ++i) {
      auto const lanes = s.tiles.lanes_at(run.key_head, run.first + i);
      extent const from = lanes.row(0), last = lanes.row(lanes.count - 1);
      queries[i] = hull_of(s.query_positions + from, last - from + 1);
    }
    extent const rows = kv.k.extents[row_axis];
    extent const stride = shape_of::padded(p.dim), value_stride = shape_of::padded(p.value_dim);
    for (extent row = 0; row < rows; row += shape_of::keys) {
      extent const count = rows - row < shape_of::keys ? rows - row : shape_of::keys;
      const extent* const positions = s.key_positions + row;
      hull const keys = hull_of(positions, count);
      backward_tile<F> t{};
      bool all_finite = false;
      visible_keys seen[tile_runs::most];
      for (extent i = 0; i < run.count; ++i) seen[i] = trim(p.mask_of, queries[i], positions, count, keys);
      for (extent i = 0, next = 0; i < run.count; i = next) {
        for (next = i + 1; next < run.count && next < i + tiles_at_once<F> && see_the_same(seen[i], seen[next]);)
          ++next;
        if (seen[i].left == coverage::skip) continue;
        if (t.k == nullptr) {
          t.dim = round_up(p.dim, depth), t.gain_dim = round_up(p.value_dim, depth), t.value_dim = p.dim;
          t.q_stride = stride, t.dout_stride = value_stride, t.dk = own.dk, t.dv = own.dv;
          t.slopes = depth > 1 ? own.slopes : reinterpret_cast<F*>(own.gains);
          t.factor = static_cast<A>(p.score.scale * log2_of_e);
          t.k = rows_of(kv.k, batch, row, head, count, own.keys, t.k_stride);
          t.values = rows_of(kv.v, batch, row, head, count, own.values, t.values_stride);
          t.v = t.k, t.v_stride = t.k_stride;
          if constexpr (depth > 1) t.v = paired_rows_of(kv.k, batch, row, head, count, own.key_pairs, t.v_stride);
          set_zero(own.dk, shape_of::key_rows * stride);
          set_zero(own.dv, shape_of::key_rows * value_stride);
        }
        backward_tile<F> first{};
        for (extent each = i; each < next; ++each) {
          t.scores = own.scores + (each - i) * shape_of::pairs, t.gains = own.gains + (each - i) * shape_of::pairs;
          auto const folded =
              fold_tile_back(s, own, t, seen[each], batch, positions, count,
                             s.tiles.lanes_at(run.key_head, run.first + each), run.at + each, all_finite);
          if (each == i) first = folded;
          first.guarded_queries |= folded.guarded_queries;
        }
        add_to_keys(first, static_cast<int>(next - i));
      }
      if (!trace.follow(row + count)) return;
      if (t.k != nullptr) {
        // Queries of depth 1 were in units of log2.
        A const factor = static_cast<A>(depth > 1 ? p.score.scale : 1 / log2_of_e);
        add_rows(own.dk, stride, count, factor, to.k, batch, row, head);
        add_rows(own.dv, value_stride, count, A{1}, to.v, batch, row, head);
      }
      trace.advance(count);
    }
  }

  static bool see_the_same(const visible_keys& a, const visible_keys& b) {
    return a.first == b.first && a.count == b.count && (a.left == coverage::skip) == (b.left == coverage::skip);
  }

  template <class A>
  static void add_rows(const A* from, extent stride, extent count, A factor, const view<A, 4>& to, extent batch,
                       extent first, extent head) {
    extent const dim = to.extents[dim_axis], step = to.strides[dim_axis];
    for (extent i = 0; i < count; ++i) {
      const A* const row = from + i * stride;
      A* const sum = &to(batch, first + i, head, 0);
      if (step == 1) {
        for (extent d = 0; d < dim; ++d) sum[d] = fused(row[d], factor, sum[d]);
      } else {
        for (extent d = 0; d < dim; ++d) sum[d * step] = fused(row[d], factor, sum[d * step]);
      }
    }
  }

  /// Folds what one tile sees of a block into the gradient of its queries; `whole` describes the block. Returns the tile.
  template <class P, class F>
  static backward_tile<F> fold_tile_back(const flash_backward_state<P, F>& s,
                                         const flash_backward_scratch<typename P::accumulate, F>& own,
                                         const backward_tile<F>& whole, visible_keys seen,
                                         [[maybe_unused]] extent batch, const extent* positions, extent count,
                                         const lanes_of& used, extent at, bool& all_finite) {
    using A = typename P::accumulate;
    constexpr int lanes = tile_shape<A>::lanes, depth = dot_step<F>::depth;
    backward_tile<F> t = whole;
    t.q = s.q + at * t.dim * lanes, t.o = s.dq + at * t.value_dim * lanes, t.dout = s.dout + at * t.gain_dim * lanes;
    t.lse = s.lse + at * lanes, t.delta = s.delta + at * lanes;
    t.k += seen.first * t.k_stride, t.v += seen.first * t.v_stride, t.values += seen.first * t.values_stride;
    t.dk += seen.first * t.q_stride, t.dv += seen.first * t.dout_stride;
    t.keys = seen.count, t.before = static_cast<int>(seen.first % depth);
    t.scores += t.before * lanes, t.gains += t.before * lanes;
    if constexpr (depth > 1) {
      t.q_rows = s.q_pairs + at * lanes * t.q_stride, t.dout_rows = s.dout_pairs + at * lanes * t.dout_stride;
    } else {
      turn(t.q, lanes, t.dim, lanes, own.q_rows, t.q_stride);
      turn(t.dout, lanes, t.gain_dim, lanes, own.dout_rows, t.dout_stride);
      t.q_rows = own.q_rows, t.dout_rows = own.dout_rows;
    }
    curtain<A> hidden;
    if (seen.left == coverage::partial) {
      for (int lane = 0; lane < lanes; ++lane) {
        extent const row = used.row(lane < used.count ? lane : used.count - 1);
        hidden.positions[lane] = static_cast<typename simd<A>::integer>(s.query_positions[row]);
      }
      draw(s.p.mask_of, positions + seen.first, hidden, own.table, t);
    }
    // Keys that complete a step may be keys that were trimmed away.
    if (seen.left == coverage::partial || (depth > 1 && seen.count < count)) {
      for (extent key = 0; key < count && !all_finite; key += depth) {
        if (!finite(whole.v + key * whole.v_stride, t.value_dim * depth)) break;
        all_finite = key + depth >= count;
      }
      t.guarded = !all_finite;
    }
    // Keys that fill up a unit may be keys that were trimmed away.
    if (seen.left == coverage::partial || seen.first + seen.count < count) {
      for (int lane = 0; lane < lanes && !t.guarded_queries; lane += depth) {
        t.guarded_queries = !finite(t.q_rows + lane * t.q_stride, t.dim * depth) ||
                            !finite(t.dout_rows + lane * t.dout_stride, t.gain_dim * depth);
      }
    }
    if constexpr (is_plain<P>) {
      fold_back(t, unchanged{}, unchanged{});
    } else {
      fold_scored(s, own.of_score, t,
                  tile_pairs<A>(s.p, batch, used, s.query_positions, positions + seen.first, t.keys));
    }
    return t;
  }

  /// As fold_back, with what the parts of the score ask for in between.
  template <class P, class F, class A>
  static void fold_scored(const flash_backward_state<P, F>& s, const tile_scratch<A>& scratch,
                          const backward_tile<F>& t, const tile_pairs<A>& at) {
    auto const& parts = s.p.score.parts;
    auto const [slopes, keeps] = scratch;
    auto const set_one = [&](A* to) {
      for (extent i = 0; to != nullptr && i < t.keys * at.lanes; ++i) to[i] = 1;
    };
    set_one(slopes), set_one(keeps);
    fold_back(
        t,
        [&, keeps = keeps, slopes = slopes] {
          change_scores(parts, at, t.scores, slopes);
          if (keeps == nullptr) return;
          keep_weights(parts, at, keeps);
          multiply_pairs(t.keys, keeps, t.gains);
        },
        [&, keeps = keeps, slopes = slopes] {
          if constexpr (std::remove_cvref_t<decltype(parts)>::collects) {
            for_each_pair(at, [&](extent pair, const token_pair& where) {
              if (t.scores[pair] != 0) parts.collect(t.gains[pair], where);
            });
          }
          if (keeps != nullptr) multiply_pairs(t.keys, keeps, t.scores);
          if (slopes != nullptr) multiply_pairs(t.keys, slopes, t.gains);
        });
  }
};

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
