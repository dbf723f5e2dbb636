#pragma once

#include <ringfold/sequence/mask.hpp>
#include <ringfold/sequence/score.hpp>

/// \file
/// One value that describes an attention: who holds which tokens, which heads, which mask and score.

namespace ringfold {

/// The heads that a kernel works on, in global numbers: query head h reads key head h / group.
struct heads {
  extent first_query = 0, query = 1;
  extent first_key = 0, key = 1;
  extent group = 1;
};

/// Extents of one attention, over all ranks.
struct shape {
  extent batch = 1;
  extent heads = 1;
  extent kv_heads = 0;     ///< 0 means heads
  extent dim = 64;         ///< of queries and keys
  extent value_dim = 0;    ///< 0 means dim
  extent first_batch = 0;  ///< what a score calls the first of these batches
};

/// What an attention over elements of T computes. Every combinator maps it to its inner attention's problem.
template <class T, mask Mask = band, class Score = scaled>
struct problem {
  using element = T;
  using accumulate = accumulate_t<T>;

  layout queries, keys;
  int owner = 0;  ///< whose queries the caller holds, in the layout of the queries
  heads head;
  extent batch = 1;
  extent dim = 0;
  extent value_dim = 0;
  extent first_batch = 0;
  Mask mask_of{};
  Score score{};

  /// What a score is asked for, from numbers within the problem.
  RINGFOLD_HD token_pair pair_of(extent in_batch, extent query_head, extent query, extent key) const {
    return {first_batch + in_batch, head.first_query + query_head, query, key};
  }
};

namespace detail {
inline double square_root(double value) { return __builtin_sqrt(value); }
}  // namespace detail

/// Describes attention of queries in one layout over keys in another (self-attention: the same).
///
/// \throws shape_error when an extent is not positive, heads is not a multiple of kv_heads, or the rank counts differ;
/// what the mask, by check(queries, keys) where it has that, or a part of the score throws that does not fit.
template <class T, mask Mask = band, class Parts = unmodified>
problem<T, Mask, scored<Parts>> make_problem(layout queries, layout keys, shape s, Mask mask_of = {},
                                             scored<Parts> score = {}) {
  if (s.kv_heads == 0) s.kv_heads = s.heads;
  if (s.value_dim == 0) s.value_dim = s.dim;
  auto const number = [](extent value) { return static_cast<long long>(value); };
  if (s.first_batch < 0) {
    throw shape_error(say("problem: a first batch of %lld; it must not be negative", number(s.first_batch)));
  }
  if (s.batch < 0 || s.heads <= 0 || s.kv_heads <= 0 || s.dim <= 0 || s.value_dim <= 0) {
    throw shape_error(
        say("problem: batch %lld, heads %lld, kv heads %lld, dim %lld, value dim %lld; all but the batch "
            "must be positive",
            number(s.batch), number(s.heads), number(s.kv_heads), number(s.dim), number(s.value_dim)));
  }
  if (s.heads % s.kv_heads != 0) {
    throw shape_error(
        say("problem: %lld heads are not a multiple of %lld kv heads", number(s.heads), number(s.kv_heads)));
  }
  if (!(score.scale >= -1e30 && score.scale <= 1e30)) {  // sums may be floats
    throw usage_error(say("problem: a scale of %g; it must be in [-1e30, 1e30]", score.scale));
  }
  if (queries.ranks() == 0 || queries.ranks() != keys.ranks()) {
    throw shape_error(say("problem: queries lie on %d ranks, keys on %d; both need the same number, at least 1",
                          queries.ranks(), keys.ranks()));
  }
  if (score.scale == 0) score.scale = 1 / detail::square_root(static_cast<double>(s.dim));
  if constexpr (requires { mask_of.check(queries, keys); }) mask_of.check(queries, keys);
  pair_bounds bounds{s.first_batch + s.batch, s.heads, queries.tokens(), keys.tokens()};
  if constexpr (requires { mask_of.places(); }) bounds.documents = mask_of.places();
  score.parts.check(bounds);
  problem<T, Mask, scored<Parts>> made{static_cast<layout&&>(queries),
                                       static_cast<layout&&>(keys),
                                       0,
                                       {},
                                       s.batch,
                                       s.dim,
                                       s.value_dim,
                                       s.first_batch,
                                       mask_of,
                                       score};
  made.head = {0, s.heads, 0, s.kv_heads, s.heads / s.kv_heads};
  return made;
}

/// Describes self-attention.
template <class T, mask Mask = band, class Parts = unmodified>
problem<T, Mask, scored<Parts>> make_problem(const layout& tokens, shape s, Mask mask_of = {},
                                             scored<Parts> score = {}) {
  return make_problem<T>(tokens, tokens, s, mask_of, score);
}

/// Keys and values of one owner's rows, [batch, row, head, dim]; owns nothing.
template <class T, class Space = host_space>
struct block {
  view<const T, 4, Space> k, v;
  int owner = 0;         ///< whose rows these are, in the problem's key layout
  extent first_key = 0;  ///< global number of the block's first head; a block may hold some of the problem's heads

  /// A block that nobody here needs is absent: it has no memory, and takes part in lockstep only.
  bool present() const { return k.data != nullptr; }
};

/// A view of no memory with the extents of another but no rows, as an absent block has.
template <class T, class Space>
view<T, 4, Space> absent(view<T, 4, Space> like) {
  like.data = nullptr;
  like.extents[row_axis] = 0;
  return like;
}

}  // namespace ringfold
