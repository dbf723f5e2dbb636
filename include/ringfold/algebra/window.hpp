#pragma once

#include <ringfold/algebra/affine.hpp>

/// \file
/// The last tokens before a place, which short convolutions and token shifts look back at.

namespace ringfold {

namespace detail {

/// A column of a state, moved up by some rows; what comes from beyond an end is nothing.
struct move_rows {
  extent rows, into_stride, state_stride, value_stride;

  template <class A>
  RINGFOLD_HD void operator()(A& into, const A& by, const A& state, const A& value) const {
    extent const moved = static_cast<extent>(by);
    for (extent row = 0; row < rows; ++row) {
      A const own = (&value)[row * value_stride];
      bool const inside = row + moved >= 0 && row + moved < rows;
      (&into)[row * into_stride] = inside ? (&state)[(row + moved) * state_stride] + own : own;
    }
  }
};

/// Rows moved twice; those that are gone stay gone.
struct add_moves {
  extent rows;

  template <class A>
  RINGFOLD_HD void operator()(A& into, const A& first, const A& then) const {
    A const sum = first + then, most = static_cast<A>(rows);
    into = sum > most ? most : sum < -most ? -most : sum;
  }
};

}  // namespace detail

/// Maps of windows [batch, heads, tokens, channels], the latest token last: a shard pushes its tokens in from behind.
///
/// An affine map whose A moves rows up, by `gate` of them, at most all; a negative number moves them down, as the
/// transposed map does with cotangents. B is the shard's own tokens. Rows of B that are left to others hold -0, which
/// added to any number is that number: so what is kept are exact copies, in whatever order shards are joined.
/// Source: the halo of a convolution as a monoid, "the last tokens of the concatenation".
template <class A, class Space = host_space>
struct token_window : affine<A, transition::scalar, Space> {
  using base = affine<A, transition::scalar, Space>;
  using typename base::element, typename base::state;

  /// into = the window after a shard from that before it; into has memory of its own.
  template <class Stream>
  static void apply(Stream on, const state& s, const element& e, const state& into) {
    auto const first_row = [](const state& of) { return slice(of, 2, 0, 1); };
    if (s.extents[2] == 0) return;
    on.elementwise(detail::move_rows{s.extents[2], into.strides[2], s.strides[2], e.value.strides[2]}, first_row(into),
                   detail::repeated(e.gate, 3, s.extents[3]), first_row(s), first_row(e.value));
  }

  /// into = first, then the other; into has memory of its own.
  template <class Stream>
  static void compose(Stream on, const element& first, const element& then, const element& into) {
    on.elementwise(detail::add_moves{first.value.extents[2]}, into.gate, first.gate, then.gate);
    apply(on, first.value, then, into.value);
  }

  static element transposed(const element&, const state&) = delete;  // its gate is another
};

}  // namespace ringfold
