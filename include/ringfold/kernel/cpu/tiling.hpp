#pragma once

#include <ringfold/core/executor.hpp>
#include <ringfold/core/workspace.hpp>
#include <ringfold/kernel/cpu/tile.hpp>
#include <ringfold/kernel/operands.hpp>

/// \file
/// How a problem's queries are dealt to the lanes of tiles, and what a mask leaves of one.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// Which row and head the lanes of one tile hold.
struct lanes_of {
  extent first, heads, first_head;
  int count;
  extent row(int lane) const { return heads == 1 ? first + lane : (first + lane) / heads; }
  extent head(int lane) const { return heads == 1 ? first_head : first_head + (first + lane) % heads; }
};

/// All query heads that read one key head share its tiles: lane after lane holds row 0 of each of them, then row 1, ...
/// So a tile spans few positions, few queries of many heads fill it too, and a block of keys is read once for all.
struct tiling {
  heads h;
  extent rows = 0;
  extent lanes = 1;

  /// The problem's key heads, from the global number first_key() on.
  extent first_key() const { return h.first_query / h.group; }
  extent key_heads() const { return (h.first_query + h.query - 1) / h.group - first_key() + 1; }
  /// The query heads of one of them, counted from the problem's first.
  head_range queries_of(extent key_head) const { return readers(h, first_key() + key_head, 1); }
  extent tiles_of(extent key_head) const { return (rows * queries_of(key_head).count + lanes - 1) / lanes; }
  /// The tiles before those of a key head; before(key_heads()) is the number of tiles.
  extent before(extent key_head) const {
    extent sum = 0;
    for (extent each = 0; each < key_head; ++each) sum += tiles_of(each);
    return sum;
  }
  /// Those of its key heads that are among some, which are numbered globally.
  head_range shared_with(extent first, extent count) const {
    extent const from = first - first_key(), to = from + count, all = key_heads();
    extent const low = from > 0 ? from : 0, high = to < all ? to : all;
    return {low, high > low ? high - low : 0};
  }
  lanes_of lanes_at(extent key_head, extent tile) const {
    auto const queries = queries_of(key_head);
    extent const first = tile * lanes, left = rows * queries.count - first;
    return {first, queries.count, queries.first, static_cast<int>(left < lanes ? left : lanes)};
  }
};

/// Neighbouring tiles of one key head: what a worker takes at a time.
struct tile_run {
  extent batch, key_head;  ///< counted from tiling::first_key()
  extent first, count;     ///< of the key head's tiles
  extent at;               ///< the first one's place among all tiles
};

/// The tiles of some key heads, at most so many in a run. Runs of one batch and key head are numbered in a row.
class tile_runs {
 public:
  static constexpr extent most = 16;

  tile_runs(const tiling& tiles, extent batches, head_range key_heads, extent size = most)
      : tiles_(tiles), batches_(batches), heads_(key_heads), size_(size) {
    for (extent head = heads_.first; head < heads_.first + heads_.count; ++head) {
      extent const needed = (tiles.tiles_of(head) + size - 1) / size;
      runs_of_head_ = needed > runs_of_head_ ? needed : runs_of_head_;
    }
  }
  /// Those of all key heads.
  tile_runs(const tiling& tiles, extent batches) : tile_runs(tiles, batches, {0, tiles.key_heads()}) {}

  extent count() const { return batches_ * heads_.count * runs_of_head_; }
  bool begins_head(extent index) const { return index % runs_of_head_ == 0; }
  tile_run operator[](extent index) const {
    extent const nth = index % runs_of_head_, head = index / runs_of_head_, batch = head / heads_.count;
    extent const key_head = heads_.first + head % heads_.count, tiles = tiles_.tiles_of(key_head);
    extent const first = nth * size_ < tiles ? nth * size_ : tiles, left = tiles - first;
    return {batch, key_head, first, left < size_ ? left : size_,
            batch * tiles_.before(tiles_.key_heads()) + tiles_.before(key_head) + first};
  }

 private:
  const tiling& tiles_;
  extent batches_;
  head_range heads_;
  extent size_, runs_of_head_ = 0;
};

/// Calls f(batch, number of the tile, its lanes, worker) for all tiles of a state.
template <executor E, class S, class F>
void for_each_tile(const E& on, const S& s, F f) {
  tile_runs const runs(s.tiles, s.p.batch);
  hand_out(on, s.scratches.workers(), runs.count(), [&](extent index, int worker) {
    auto const run = runs[index];
    for (extent i = 0; i < run.count; ++i) {
      f(run.batch, run.at + i, s.tiles.lanes_at(run.key_head, run.first + i), worker);
    }
  });
}

/// Scratch for each worker, each made from an arena of its own.
template <class Scratch>
class scratch_of_workers {
 public:
  scratch_of_workers() = default;
  /// No more than there are tiles.
  template <class P>
  scratch_of_workers(const P& p, int workers, extent tiles, arena<host_space>& memory)
      : arenas_(workers < tiles ? workers : static_cast<int>(tiles), memory, [&](auto& own) { Scratch(p, own); }) {}
  template <class P>
  Scratch operator()(const P& p, int worker) const {
    auto own = arenas_[worker];
    return Scratch(p, own);
  }
  int workers() const { return arenas_.workers(); }

 private:
  arenas_of_workers arenas_;
};

/// \throws usage_error when positions do not fit into 32 bits.
template <class P>
void check_lengths(const P& p) {
  auto const check = [](const char* what, extent tokens) {
    if (tokens <= 0x7fffffff) return;
    throw usage_error(
        say("flash_kernel: %lld tokens of %s; at most 2147483647 are supported", static_cast<long long>(tokens), what));
  };
  check("queries", p.queries.tokens());
  check("keys", p.keys.tokens());
}

/// The hull of positions; there is at least one.
inline hull hull_of(const extent* positions, extent count) {
  hull made{positions[0], positions[0]};
  for (extent i = 1; i < count; ++i) {
    made.low = positions[i] < made.low ? positions[i] : made.low;
    made.high = positions[i] > made.high ? positions[i] : made.high;
  }
  return made;
}

/// The keys of a block that a tile has to look at.
struct visible_keys {
  extent first = 0, count = 0;
  coverage left = coverage::skip;
};

/// Drops the keys at both ends that no query of the hull sees, and says what the mask leaves of the others.
template <class Mask>
visible_keys trim(const Mask& mask_of, hull queries, const extent* keys, extent count, hull key_hull) {
  visible_keys made{0, count, mask_of.classify(queries, key_hull)};
  if (made.left != coverage::partial) return made;
  auto const unseen = [&](extent key) {
    return mask_of.classify(queries, hull{keys[key], keys[key]}) == coverage::skip;
  };
  while (made.count > 0 && unseen(made.first + made.count - 1)) --made.count;
  while (made.count > 0 && unseen(made.first)) ++made.first, --made.count;
  if (made.count == 0) {
    made.left = coverage::skip;
  } else if (made.count < count) {
    made.left = mask_of.classify(queries, hull_of(keys + made.first, made.count));
  }
  return made;
}

/// What a partly hidden tile needs beside its operands.
template <class A>
struct curtain {
  using integer = typename simd<A>::integer;
  alignas(64) integer positions[tile_shape<A>::lanes];
  integer first[tile_shape<A>::keys], last[tile_shape<A>::keys];
};

/// Hides pairs of a tile. Where neighbours see a key, that is a comparison of positions per lane, and what lies beyond
/// 32 bits is beyond all positions too; any other mask is asked pair by pair.
template <class A, class Mask, class T>
void draw(const Mask& mask_of, const extent* keys, curtain<A>& made, typename simd<A>::integer* table, tile<T>& t) {
  using integer = typename simd<A>::integer;
  constexpr int lanes = tile_shape<A>::lanes;
  if constexpr (requires { mask_of.seen_by(extent{}); }) {
    auto const near = [](extent position) {
      constexpr extent smallest = -1, largest = 0x7fffffff;
      return static_cast<integer>(position < smallest ? smallest : position < largest ? position : largest);
    };
    for (extent key = 0; key < t.keys; ++key) {
      hull const queries = mask_of.seen_by(keys[key]);
      made.first[key] = near(queries.low), made.last[key] = near(queries.high);
    }
    t.hides = hiding::outside_hull;
    t.positions = made.positions, t.first = made.first, t.last = made.last;
  } else {
    for (extent key = 0; key < t.keys; ++key) {
      for (int lane = 0; lane < lanes; ++lane) {
        table[key * lanes + lane] = mask_of.allows(made.positions[lane], keys[key]) ? -1 : 0;
      }
    }
    t.hides = hiding::by_table;
    t.seen = table;
  }
}

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
