#pragma once

#include <ringfold/collective/posting.hpp>

/// \file
/// Pieces that travel together.

namespace ringfold {

/// Pieces that travel together, e.g. a block's keys and values.
template <int N>
struct parcel {
  static constexpr int count = N;
  piece pieces[N];
};

/// Describes rows [batch, row, head, dim], or with one number per head, as a piece of four axes.
template <class T, class Space>
piece rows_of(const view<T, 4, Space>& from, role what) {
  return piece_of(from, what);
}
template <class T, class Space>
piece rows_of(const view<T, 3, Space>& from, role what) {
  extent const *e = from.extents, *s = from.strides;
  return piece_of(view<T, 4, Space>{from.data, {e[0], e[1], e[2], 1}, {s[0], s[1], s[2], 1}}, what);
}

/// Rows with one number per head, seen as a typed view again.
template <class T, class Space>
view<T, 3, Space> numbers_of(const piece& from) {
  return first_of_rows(view_of<T, 4, Space>(from));
}

/// Some of a parcel's rows.
template <int N>
parcel<N> slice_rows(parcel<N> whole, range rows) {
  for (piece& each : whole.pieces) {
    if (rows.count > 0 && each.data != nullptr) {
      each.data = static_cast<char*>(each.data) + rows.first * each.strides[row_axis];
    }
    each.extents[row_axis] = rows.count;
  }
  return whole;
}

/// A parcel like another but for the number of its rows: pieces at `data`, or at their own, whose rows follow each other.
inline piece dense_rows(piece like, extent rows) {
  like.extents[row_axis] = rows;
  extent stride = like.type.bytes();
  for (int axis = 3; axis >= 0; --axis) like.strides[axis] = stride, stride *= like.extents[axis];
  return like;
}
template <int N>
parcel<N> dense_rows(parcel<N> like, extent rows) {
  for (piece& each : like.pieces) each = dense_rows(each, rows);
  return like;
}

/// The bytes of a parcel, and how many rows it has.
template <int N>
extent bytes_of(const parcel<N>& of) {
  extent sum = 0;
  for (const piece& each : of.pieces) sum += each.bytes();
  return sum;
}

/// What an exchange brought of a parcel whose pieces are its receives from `first` on: there, or where it was lent.
template <int N, communicator C>
parcel<N> received(request_t<C>& posted, const piece* receives, int first) {
  parcel<N> made;
  for (int i = 0; i < N; ++i) {
    if constexpr (lends<C>) {
      made.pieces[i] = posted.received(first + i);
    } else {
      made.pieces[i] = receives[first + i];
    }
  }
  return made;
}

}  // namespace ringfold
