#pragma once

#include <ringfold/core/dtype.hpp>
#include <ringfold/core/view.hpp>
#include <ringfold/kernel/cpu/simd.hpp>

/// \file
/// Rows of any element type and stride brought into accumulators, and turned between row and lane order.

namespace ringfold::detail::inline RINGFOLD_SIMD {

template <class T>
[[gnu::always_inline]] inline accumulate_t<T> widen(T value) {
  return static_cast<accumulate_t<T>>(value);
}
/// As f16's own conversion, but without branches, so that loops over it vectorise.
[[gnu::always_inline]] inline float widen(f16 value) {
  std::uint32_t const sign = std::uint32_t{value.bits & 0x8000u} << 16,
                      magnitude = std::uint32_t{value.bits & 0x7fffu} << 13;
  float const tiny = __builtin_bit_cast(float, magnitude + 0x38800000u) - 0x1p-14f;
  std::uint32_t const normal = magnitude + (magnitude < 0x0f800000u ? 0x38000000u : 0x70000000u);
  std::uint32_t const subnormal = __builtin_bit_cast(std::uint32_t, tiny);
  return __builtin_bit_cast(float, (magnitude < 0x00800000u ? subnormal : normal) | sign);
}

/// to[i] = from[i * stride] * factor.
template <class T, class A>
void copy_row(const T* __restrict from, extent stride, extent count, A factor, A* __restrict to) {
  if (stride == 1) {
    for (extent i = 0; i < count; ++i) to[i] = widen(from[i]) * factor;
  } else {
    for (extent i = 0; i < count; ++i) to[i] = widen(from[i * stride]) * factor;
  }
}

/// Rows of keys or values as accumulators with adjacent dims: where they lie if they are, else converted.
template <class T, class A>
const A* rows_of(const view<const T, 4>& from, extent batch, extent row, extent head, extent count, A* scratch,
                 extent& stride) {
  extent const dim = from.extents[dim_axis];
  if constexpr (std::is_same_v<T, A>) {
    if (from.strides[dim_axis] == 1 || dim == 1) {
      stride = from.strides[row_axis];
      return &from(batch, row, head, 0);
    }
  }
  for (extent i = 0; i < count; ++i) {
    copy_row(&from(batch, row + i, head, 0), from.strides[dim_axis], dim, A{1}, scratch + i * dim);
  }
  stride = dim;
  return scratch;
}

/// Turns a width x width square: rows of `from` become columns of `to`, both in steps of whole registers.
template <class A, int... I>
[[gnu::always_inline]] inline void turn_square(const A* from, extent from_stride, A* to, extent to_stride,
                                               std::integer_sequence<int, I...>) {
  using V = simd<A>;
  constexpr int width = V::width;
  typename V::vector row[width], zipped[width];
  ((__builtin_memcpy(&row[I], from + I * from_stride, sizeof row[I])), ...);
  // Zipping the first half of the rows with the second, log2(width) times over, is a transposition.
  unroll<__builtin_ctz(width)>([&](auto) __attribute__((always_inline)) {
    unroll<width / 2>([&](auto i) __attribute__((always_inline)) {
      zipped[2 * i] = __builtin_shufflevector(row[i], row[i + width / 2], (I / 2 + I % 2 * width)...);
      zipped[2 * i + 1] = __builtin_shufflevector(row[i], row[i + width / 2], (I / 2 + width / 2 + I % 2 * width)...);
    });
    ((row[I] = zipped[I]), ...);
  });
  ((__builtin_memcpy(to + I * to_stride, &row[I], sizeof row[I])), ...);
}

/// to[column][row] = from[row][column].
template <class A>
[[gnu::noinline]] void turn(const A* from, extent from_stride, extent rows, extent columns, A* to, extent to_stride) {
  constexpr int width = simd<A>::width;
  extent const whole_rows = rows / width * width, whole_columns = columns / width * width;
  for (extent r = 0; r < whole_rows; r += width) {
    for (extent c = 0; c < whole_columns; c += width) {
      turn_square(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride,
                  std::make_integer_sequence<int, width>{});
    }
  }
  for (extent r = 0; r < rows; ++r) {
    for (extent c = r < whole_rows ? whole_columns : 0; c < columns; ++c) {
      to[c * to_stride + r] = from[r * from_stride + c];
    }
  }
}

/// Whether every number is finite.
template <class A>
bool finite(const A* row, extent count) {
  using word = typename simd<A>::word;
  constexpr word exponent = sizeof(A) == 4 ? word{0x7f800000u} : static_cast<word>(0x7ff0000000000000u);
  word bad = 0;
  for (extent i = 0; i < count; ++i) bad |= (__builtin_bit_cast(word, row[i]) & exponent) == exponent;
  return bad == 0;
}

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
