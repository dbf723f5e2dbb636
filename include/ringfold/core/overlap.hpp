#pragma once

#include <ringfold/core/view.hpp>

/// \file
/// Whether two views share memory.

namespace ringfold::detail {

/// The first byte of a view and the one behind its last; equal when it is empty or has no memory.
template <class T, int Rank, class Space>
void byte_range(const view<T, Rank, Space>& v, const char*& begin, const char*& end) {
  begin = end = reinterpret_cast<const char*>(v.data);
  if (v.data == nullptr) return;
  for (int axis = 0; axis < Rank; ++axis) {
    if (v.extents[axis] == 0) return;
  }
  for (int axis = 0; axis < Rank; ++axis) {
    extent const reach = (v.extents[axis] - 1) * v.strides[axis] * static_cast<extent>(sizeof(T));
    (reach < 0 ? begin : end) += reach;
  }
  end += sizeof(T);
}

/// Whether the bytes between their first and last elements overlap; those of an empty view never do, wherever it points.
template <class V, class W>
bool overlap(const V& a, const W& b) {
  const char *a_begin, *a_end, *b_begin, *b_end;
  byte_range(a, a_begin, a_end);
  byte_range(b, b_begin, b_end);
  return a_begin < a_end && b_begin < b_end && a_begin < b_end && b_begin < a_end;
}

}  // namespace ringfold::detail
