#pragma once

#include <ringfold/core/dtype.hpp>
#include <ringfold/core/sizes.hpp>
#include <ringfold/core/view.hpp>
#include <ringfold/kernel/cpu/dot_step.hpp>

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

/// Where a row of a head begins.
template <class T>
T* row_of(const view<T, 4>& whole, extent batch, extent row, extent head) {
  const extent* const strides = whole.strides;
  return whole.data + batch * strides[batch_axis] + row * strides[row_axis] + head * strides[head_axis];
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

/// to[i] = from[i * stride] in the type that is multiplied, filled up with 0 to whole steps of dot products.
template <class T, class F>
void copy_row(const T* __restrict from, extent stride, extent count, F* __restrict to) {
  if constexpr (!std::is_same_v<T, F>) {
    copy_row(from, stride, count, F{1}, to);
  } else if (stride == 1) {
    __builtin_memcpy(static_cast<void*>(to), from, static_cast<std::size_t>(count) * sizeof *to);
  } else {
    for (extent i = 0; i < count; ++i) to[i] = from[i * stride];
  }
  for (extent i = count; i % dot_step<F>::depth != 0; ++i) to[i] = F{};
}

/// Rows of keys or values in the type that is multiplied, with adjacent dims in whole steps of dot products: where they
/// lie if they are, else copied.
template <class T, class F>
const F* rows_of(const view<const T, 4>& from, extent batch, extent row, extent head, extent count, F* scratch,
                 extent& stride) {
  extent const dim = from.extents[dim_axis], step = from.strides[dim_axis], whole = round_up(dim, dot_step<F>::depth);
  const T* const first = row_of(from, batch, row, head);
  if constexpr (std::is_same_v<T, F>) {
    if ((step == 1 || dim == 1) && dim == whole) {
      stride = from.strides[row_axis];
      return first;
    }
  }
  for (extent i = 0; i < count; ++i) copy_row(first + i * from.strides[row_axis], step, dim, scratch + i * whole);
  stride = whole;
  return scratch;
}

/// to[i] = {first[i * stride], second[i * stride]}, those of them that `kept` has bits for.
inline void pair_rows(const bf16* __restrict first, const bf16* __restrict second, extent stride, extent count,
                      std::uint32_t kept, bf16* __restrict to) {
  using words = simd<float>::words;
  constexpr int width = simd<float>::width;
  typedef std::uint16_t halves __attribute__((vector_size(2 * width)));
  extent i = 0;
  for (; stride == 1 && i + width <= count; i += width) {
    halves low, high;
    __builtin_memcpy(&low, first + i, sizeof low);
    __builtin_memcpy(&high, second + i, sizeof high);
    words const both = (__builtin_convertvector(low, words) | __builtin_convertvector(high, words) << 16) & kept;
    __builtin_memcpy(static_cast<void*>(to + 2 * i), &both, sizeof both);
  }
  for (; i < count; ++i) {
    std::uint32_t const both = (first[i * stride].bits | std::uint32_t{second[i * stride].bits} << 16) & kept;
    __builtin_memcpy(static_cast<void*>(to + 2 * i), &both, sizeof both);
  }
}

/// As rows_of(), but with the rows of a step side by side, [rows / 2][dim][2], filled up with 0.
inline const bf16* paired_rows_of(const view<const bf16, 4>& from, extent batch, extent row, extent head, extent count,
                                  bf16* scratch, extent& stride) {
  extent const dim = from.extents[dim_axis], step = from.strides[dim_axis], next = from.strides[row_axis];
  for (extent i = 0; i < count; i += 2) {
    bool const both = i + 1 < count;
    const bf16 *const first = row_of(from, batch, row + i, head), *const second = both ? first + next : first;
    pair_rows(first, second, step, dim, both ? ~0u : 0xffffu, scratch + i * dim);
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
      zipped[2 * i] = shuffled<(I / 2 + I % 2 * width)...>(row[i], row[i + width / 2]);
      zipped[2 * i + 1] = shuffled<(I / 2 + width / 2 + I % 2 * width)...>(row[i], row[i + width / 2]);
    });
    ((row[I] = zipped[I]), ...);
  });
  ((__builtin_memcpy(to + I * to_stride, &row[I], sizeof row[I])), ...);
}

/// to[column][row] = from[row][column], whatever lies in memory of that size.
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
      __builtin_memcpy(to + c * to_stride + r, from + r * from_stride + c, sizeof *to);
    }
  }
}

/// Whether every number is finite.
template <class T>
bool finite(const T* row, extent count) {
  using word = unsigned_of<sizeof(T)>;
  constexpr int bytes = simd<accumulate_t<T>>::bytes, width = bytes / static_cast<int>(sizeof(T));
  constexpr auto exponent = static_cast<word>(sizeof(T) == 8   ? 0x7ff0000000000000u
                                              : sizeof(T) == 4 ? 0x7f800000u
                                                               : 0x7f80u);
  typedef word words __attribute__((vector_size(bytes)));
  words bad{};
  extent i = 0;
  for (; i + width <= count; i += width) {
    words numbers;
    __builtin_memcpy(&numbers, row + i, sizeof numbers);
    bad |= __builtin_bit_cast(words, (numbers & exponent) == exponent);  // nvcc's front end casts no such vector
  }
  std::uint64_t parts[bytes / 8], any = 0;
  __builtin_memcpy(parts, &bad, sizeof parts);
  for (std::uint64_t const part : parts) any |= part;
  for (; i < count; ++i) any |= (__builtin_bit_cast(word, row[i]) & exponent) == exponent;
  return any == 0;
}

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
