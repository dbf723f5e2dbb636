#pragma once

#include <concepts>
#include <type_traits>

#include <ringfold/core/sizes.hpp>

/// \file
/// Strided views of somebody else's memory, and how a foreign tensor becomes one.

namespace ringfold {

/// Memory that the host reads and writes.
struct host_space {};

/// Axes of an attention tensor; its memory order is whatever the strides say (bshd, bhsd, packed qkv).
enum axis_name : int { batch_axis = 0, row_axis = 1, head_axis = 2, dim_axis = 3 };

/// A pointer, extents and strides (both in elements); owns nothing.
template <class T, int Rank, class Space = host_space>
struct view {
  using element = T;
  using space = Space;
  static constexpr int rank = Rank;

  T* data = nullptr;
  extent extents[Rank] = {};
  extent strides[Rank] = {};

  template <std::integral... I>
    requires(sizeof...(I) == Rank)
  RINGFOLD_HD constexpr T& operator()(I... index) const {
    extent const at[] = {static_cast<extent>(index)...};
    extent offset = 0;
    for (int axis = 0; axis < Rank; ++axis) offset += at[axis] * strides[axis];
    return data[offset];
  }

  /// The number of elements.
  constexpr extent size() const {
    extent product = 1;
    for (extent const each : extents) product = checked_multiply(product, each);
    return product;
  }

  /// The same view of elements that may only be read. (A template, as nvcc warns of a conversion to oneself.)
  template <class U>
    requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
  constexpr operator view<U, Rank, Space>() const {
    view<U, Rank, Space> same{data, {}, {}};
    for (int axis = 0; axis < Rank; ++axis) same.extents[axis] = extents[axis], same.strides[axis] = strides[axis];
    return same;
  }
};

/// Views memory whose last axis is contiguous and whose axes follow each other, as C arrays do.
template <class Space = host_space, class T, std::integral... E>
constexpr view<T, static_cast<int>(sizeof...(E)), Space> dense(T* data, E... extents) {
  view<T, static_cast<int>(sizeof...(E)), Space> made{data, {static_cast<extent>(extents)...}, {}};
  extent stride = 1;
  for (int axis = made.rank - 1; axis >= 0; --axis) {
    made.strides[axis] = stride;
    stride = checked_multiply(stride, made.extents[axis]);
  }
  return made;
}

/// Rows, heads or other indices first .. first + count - 1 along one axis.
struct range {
  extent first = 0;
  extent count = 0;

  /// The part of this range that lies in another; where there is none, nothing at the end that is nearer to it.
  constexpr range within(range other) const {
    extent const end = first + count, other_end = other.first + other.count;
    extent const low = first > other.first ? first : end < other.first ? end : other.first;
    extent const high = end < other_end ? end : other_end;
    return {low, high > low ? high - low : 0};
  }
  friend constexpr bool operator==(const range&, const range&) = default;
};

/// The part of a view from `first` on along one axis; the caller keeps first + count within the extent.
template <class T, int Rank, class Space>
constexpr view<T, Rank, Space> slice(view<T, Rank, Space> whole, int axis, extent first, extent count) {
  if (count > 0 && whole.data != nullptr) whole.data += first * whole.strides[axis];
  whole.extents[axis] = count;
  return whole;
}

/// A slice by range.
template <class T, int Rank, class Space>
constexpr view<T, Rank, Space> slice(view<T, Rank, Space> whole, int axis, range r) {
  return slice(whole, axis, r.first, r.count);
}

/// The same memory with two axes exchanged, e.g. [batch, head, row, dim] seen as [batch, row, head, dim].
template <class T, int Rank, class Space>
constexpr view<T, Rank, Space> transposed(view<T, Rank, Space> whole, int a, int b) {
  extent const count = whole.extents[a], stride = whole.strides[a];
  whole.extents[a] = whole.extents[b], whole.strides[a] = whole.strides[b];
  whole.extents[b] = count, whole.strides[b] = stride;
  return whole;
}

/// The elements of [batch, row, head] that stand first in their rows of [batch, row, head, dim].
template <class T, class Space>
constexpr view<T, 3, Space> first_of_rows(const view<T, 4, Space>& of) {
  view<T, 3, Space> made{of.data, {}, {}};
  for (int axis = 0; axis < 3; ++axis) made.extents[axis] = of.extents[axis], made.strides[axis] = of.strides[axis];
  return made;
}

/// Specialise for a tensor that you do not own: `static view<T, 4> as_view(Tensor& t)`.
template <class Tensor>
struct tensor_traits;

template <class T>
inline constexpr bool is_view = false;
template <class T, int Rank, class Space>
inline constexpr bool is_view<view<T, Rank, Space>> = true;

namespace detail {
template <class T>
concept has_view_member = requires(T& t) { t.ringfold_view(); };
template <class T>
concept has_view_trait = requires(T& t) { tensor_traits<std::remove_cvref_t<T>>::as_view(t); };
}  // namespace detail

/// A view, a type with a member ringfold_view(), or one with a tensor_traits specialisation.
template <class T>
concept tensor = is_view<std::remove_cvref_t<T>> || detail::has_view_member<T> || detail::has_view_trait<T>;

/// The view of a tensor.
template <tensor T>
constexpr auto as_view(T&& t) {
  if constexpr (is_view<std::remove_cvref_t<T>>) {
    return t;
  } else if constexpr (detail::has_view_member<T>) {
    return t.ringfold_view();
  } else {
    return tensor_traits<std::remove_cvref_t<T>>::as_view(t);
  }
}

}  // namespace ringfold
