#pragma once

#include <ringfold/core/exchange.hpp>

/// \file
/// A piece cut into messages that a transport can carry.

namespace ringfold {

namespace detail {
template <class F>
void split_axis(piece part, int axis, extent limit, F& f) {
  extent const bytes = part.bytes();
  if (bytes <= limit) {
    f(static_cast<const piece&>(part));
    return;
  }
  bool const element = axis == 4;
  if (element) {
    part.type = {1, 8, 1};
    part.strides[3] = 1;
    axis = 3;
  }
  extent const count = element ? bytes : part.extents[axis];
  part.extents[axis] = 1;
  extent const fit = limit / part.bytes(), step = fit > 0 ? fit : 1;
  for (extent first = 0; first < count; first += step) {
    piece next = part;
    next.data = static_cast<char*>(part.data) + first * part.strides[axis];
    next.extents[axis] = count - first < step ? count - first : step;
    split_axis(next, axis + 1, limit, f);
  }
}
}  // namespace detail

/// Calls f(part) for parts of a piece of at most `limit` bytes each, in order; every part is a piece.
///
/// The cuts follow from extents and element size alone, so that both ends cut alike whatever their strides are.
/// An empty piece is one empty part; an element larger than the limit is cut into bytes.
/// \throws usage_error when limit is below 1.
template <class F>
void split_piece(const piece& whole, extent limit, F&& f) {
  if (limit < 1)
    throw usage_error(say("split_piece: limit is %lld; it must be at least 1", static_cast<long long>(limit)));
  detail::split_axis(whole, 0, limit, f);
}

}  // namespace ringfold
