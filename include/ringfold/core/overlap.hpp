#pragma once

#include <type_traits>

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

/// How far apart an element of one view and one of another may be along an axis: a stride, in bytes, times low .. high.
struct apart_along {
  extent stride, low, high;
  extent nearest() const { return low * stride; }
  extent furthest() const { return high * stride; }
};

/// Whether whole numbers of strides, which descend, can add up to a distance. Says yes where that takes long to tell.
inline bool adds_up(const apart_along* axes, int count, extent distance) {
  if (count == 0) return distance == 0;
  extent low = 0, high = 0;  // of all axes but the first
  for (int axis = 1; axis < count; ++axis) low += axes[axis].nearest(), high += axes[axis].furthest();
  auto const& [stride, first, last] = axes[0];
  if (first == last) return adds_up(axes + 1, count - 1, distance - first * stride);
  if (stride == 0) return true;
  // Of strides that step over all that smaller ones span, few numbers leave a rest that those can make.
  extent steps = (distance - high) / stride - 1, until = (distance - low) / stride + 1;
  steps = steps < first ? first : steps, until = until > last ? last : until;
  if (until - steps > 8) return true;
  for (; steps <= until; ++steps) {
    extent const rest = distance - steps * stride;
    if (rest >= low && rest <= high && adds_up(axes + 1, count - 1, rest)) return true;
  }
  return false;
}

/// Whether views of equal strides share an element's byte, as parts of one packed tensor, side by side, do not.
template <class T, class U, int Rank, class Space>
bool share_bytes(const view<T, Rank, Space>& a, const view<U, Rank, Space>& b) {
  apart_along axes[Rank + 1];
  for (int axis = 0; axis < Rank; ++axis) {
    extent const stride = a.strides[axis] * static_cast<extent>(sizeof(T)), last = a.extents[axis] - 1,
                 other = b.extents[axis] - 1;
    apart_along next = stride < 0 ? apart_along{-stride, -last, other} : apart_along{stride, -other, last};
    int at = axis;
    for (; at > 0 && axes[at - 1].stride < next.stride; --at) axes[at] = axes[at - 1];
    axes[at] = next;
  }
  extent const within = static_cast<extent>(sizeof(T)) - 1;  // an element's own bytes
  axes[Rank] = {1, -within, within};
  return adds_up(axes, Rank + 1, reinterpret_cast<const char*>(b.data) - reinterpret_cast<const char*>(a.data));
}

/// Whether they share memory. Told to the byte for equal strides and element sizes; others do where the bytes between
/// their first and last elements meet. An empty view never does, wherever it points.
template <class V, class W>
bool overlap(const V& a, const W& b) {
  const char *a_begin, *a_end, *b_begin, *b_end;
  byte_range(a, a_begin, a_end);
  byte_range(b, b_begin, b_end);
  if (!(a_begin < a_end && b_begin < b_end && a_begin < b_end && b_begin < a_end)) return false;
  if constexpr (V::rank == W::rank && sizeof(typename V::element) == sizeof(typename W::element) &&
                std::is_same_v<typename V::space, typename W::space>) {
    for (int axis = 0; axis < V::rank; ++axis) {
      bool const both_one = a.extents[axis] == 1 && b.extents[axis] == 1;
      if (!both_one && a.strides[axis] != b.strides[axis]) return true;
    }
    return share_bytes(a, b);
  } else {
    return true;
  }
}

}  // namespace ringfold::detail
