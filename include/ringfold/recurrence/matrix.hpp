#pragma once

#include <ringfold/algebra/exponential.hpp>
#include <ringfold/core/workspace.hpp>
#include <ringfold/kernel/cpu/rows.hpp>
#include <ringfold/recurrence/heads.hpp>

/// \file
/// Rows of one head as matrices, and what the chunks of recurrences do with them.

namespace ringfold::detail {

/// Rows of numbers; one behind the other, unless they lie in a tensor.
template <class A>
struct matrix {
  A* data = nullptr;
  extent width = 0, stride = width;
  A* operator[](extent row) const { return data + row * stride; }
  /// Its rows from one on.
  matrix from(extent row) const { return {data + row * stride, width, stride}; }
  /// (A template, as nvcc warns of a conversion to oneself.)
  template <class B>
    requires(std::is_same_v<B, const A> && !std::is_const_v<A>)
  operator matrix<B>() const {
    return {data, width, stride};
  }
};

template <class A>
matrix<A> take_matrix(arena<host_space>& memory, extent rows, extent width) {
  return {memory.take<A>(checked_multiply(rows, width)), width};
}

/// a b + c, of numbers or registers of them.
template <class A, class N>
[[gnu::always_inline]] inline N fused_all(N a, N b, N c) {
  if constexpr (std::is_same_v<N, A>) return fused(a, b, c);
  if constexpr (!std::is_same_v<N, A>) return simd<A>::fused(a, b, c);
}

template <class A>
void fill(A* row, A value, extent count) {
  for (extent i = 0; i < count; ++i) row[i] = value;
}
template <class A>
void multiply_by(A* __restrict row, const A* __restrict factors, extent count) {
  for (extent i = 0; i < count; ++i) row[i] *= factors[i];
}
template <class A>
void multiply_by(A* row, A factor, extent count) {
  for (extent i = 0; i < count; ++i) row[i] *= factor;
}
template <class A>
void add_scaled(A* to, A factor, const A* row, extent count) {
  for (extent i = 0; i < count; ++i) to[i] = fused(factor, row[i], to[i]);
}
template <class A>
void add_multiplied(A* to, const A* a, const A* b, extent count) {
  for (extent i = 0; i < count; ++i) to[i] = fused(a[i], b[i], to[i]);
}

inline namespace RINGFOLD_SIMD {

/// The sum over i below count of terms that are taken in registers and, behind them, one by one: term(N{}, i).
template <class A, class F>
[[gnu::always_inline]] inline A sum_of(extent count, F term) {
  using V = simd<A>;
  typename V::vector sums{};
  A sum = 0;
  extent i = 0;
  for (; i + V::width <= count; i += V::width) sums = term(sums, i);
  for (; i < count; ++i) sum = term(sum, i);
  return sum + V::total(sums);
}
template <class A>
A dot(const A* a, const A* b, extent count) {
  return sum_of<A>(
      count, [&]<class N>(N sum, extent i) __attribute__((always_inline)) {
        N one, other;
        __builtin_memcpy(&one, a + i, sizeof one), __builtin_memcpy(&other, b + i, sizeof other);
        return fused_all<A>(one, other, sum);
      });
}
template <class A>
A total(const A* row, extent count) {
  return sum_of<A>(
      count, [&]<class N>(N sum, extent i) __attribute__((always_inline)) {
        N one;
        __builtin_memcpy(&one, row + i, sizeof one);
        return sum + one;
      });
}

}  // namespace RINGFOLD_SIMD

/// Rows first .. first + count - 1 of one head, times a factor.
template <class T, class A>
void load_rows(const view<const T, 4>& from, extent b, extent h, extent first, extent count, A factor, matrix<A> to) {
  for (extent i = 0; i < count; ++i) {
    copy_row(&from(b, first + i, h, 0), from.strides[dim_axis], to.width, factor, to[i]);
  }
}
template <class A>
void store_rows(matrix<A> from, extent b, extent h, extent first, extent count, const view<A, 4>& to) {
  for (extent i = 0; i < count; ++i) {
    for (extent d = 0; d < from.width; ++d) to(b, first + i, h, d) = from[i][d];
  }
}
/// As load_rows() without a factor: where they lie, or in `scratch`.
template <class T, class A>
matrix<const A> rows_in_place(const view<const T, 4>& from, extent b, extent h, extent first, extent count,
                              matrix<A> scratch) {
  matrix<const A> made = scratch;
  made.data = rows_of(from, b, first, h, count, scratch.data, made.stride);
  return made;
}
/// Adds a factor times what is in a matrix to rows of one head.
template <class A>
void add_rows(const view<A, 4>& to, extent b, extent h, extent first, extent count, A factor, matrix<A> from) {
  for (extent i = 0; i < count; ++i) {
    A* const row = &to(b, first + i, h, 0);
    extent const stride = to.strides[dim_axis];
    if (stride == 1) {
      add_scaled(row, factor, from[i], from.width);
    } else {
      for (extent d = 0; d < from.width; ++d) row[d * stride] = fused(factor, from[i][d], row[d * stride]);
    }
  }
}

/// A state of one head as a matrix; one without memory is zero.
template <class A>
void load_state(const view<const A, 4>& from, extent b, extent h, matrix<A> to, extent rows) {
  if (from.data == nullptr) return fill(to.data, A{0}, rows * to.width);
  for (extent d = 0; d < rows; ++d) copy_row(&from(b, h, d, 0), from.strides[dim_axis], to.width, A{1}, to[d]);
}

template <class A>
void store_state(matrix<A> from, extent b, extent h, const view<A, 4>& to) {
  for (extent d = 0; d < to.extents[2]; ++d) {
    for (extent e = 0; e < from.width; ++e) to(b, h, d, e) = from[d][e];
  }
}

}  // namespace ringfold::detail
