#pragma once

#include <ringfold/kernel/cpu/rows.hpp>
#include <ringfold/kernel/cpu/tile.hpp>
#include <ringfold/recurrence/matrix.hpp>

/// \file
/// Products of small matrices, in tiles that stay in registers.

namespace ringfold::detail::inline RINGFOLD_SIMD {

/// The left side of a product: numbers that are broadcast, wherever they lie.
template <class A>
struct left_side {
  const A* data;
  extent row, step;  ///< strides
};
template <class A>
left_side<A> as_it_is(matrix<A> m) {
  return {m.data, m.width, 1};
}
template <class A>
left_side<A> turned_over(matrix<A> m) {
  return {m.data, 1, m.width};
}

/// Rows, and registers beside each other, whose sums are in registers at once.
template <class A>
struct product_shape {
  static constexpr int rows = 6, registers = simd<A>::registers == 32 ? 4 : 2;
};

template <class A, int Rows, int Registers>
[[gnu::noinline]] void add_tile(A* c, extent c_stride, left_side<A> a, const A* b, extent b_stride, extent steps) {
  using V = simd<A>;
  typename V::vector sums[Rows][Registers];
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<Registers>([&](auto j) __attribute__((always_inline)) {
      __builtin_memcpy(&sums[i][j], c + i * c_stride + j * V::width, sizeof sums[i][j]);
    });
  });
  for (extent step = 0; step < steps; ++step) {
    typename V::vector right[Registers];
    unroll<Registers>([&](auto j) __attribute__((always_inline)) {
      __builtin_memcpy(&right[j], b + step * b_stride + j * V::width, sizeof right[j]);
    });
    unroll<Rows>([&](auto i) __attribute__((always_inline)) {
      auto const left = V::all(a.data[i * a.row + step * a.step]);
      unroll<Registers>([&](auto j)
                            __attribute__((always_inline)) { sums[i][j] = V::fused(left, right[j], sums[i][j]); });
    });
  }
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<Registers>([&](auto j) __attribute__((always_inline)) {
      __builtin_memcpy(c + i * c_stride + j * V::width, &sums[i][j], sizeof sums[i][j]);
    });
  });
}

/// a b + c, of numbers or registers of them.
template <class A, class N>
[[gnu::always_inline]] inline N fused_all(N a, N b, N c) {
  if constexpr (std::is_same_v<N, A>) return fused(a, b, c);
  if constexpr (!std::is_same_v<N, A>) return simd<A>::fused(a, b, c);
}

/// c += a b, in their first columns. The terms of a sum are added one after the other, however c is tiled.
template <class A>
void add_product(matrix<A> c, extent rows, extent columns, left_side<A> a, extent steps, matrix<A> b) {
  using V = simd<A>;
  using shape = product_shape<A>;
  extent first = 0;
  auto const tiles = [&](auto registers) {
    for (; first + registers * V::width <= columns; first += registers * V::width) {
      in_pieces<shape::rows>(rows, [&](extent row, auto count) {
        add_tile<A, count, registers>(c[row] + first, c.width, {a.data + row * a.row, a.row, a.step}, b.data + first,
                                      b.width, steps);
      });
    }
  };
  tiles(std::integral_constant<int, shape::registers>{});
  tiles(std::integral_constant<int, 1>{});
  if (first == columns) return;
  for (extent i = 0; i < rows; ++i) {
    for (extent step = 0; step < steps; ++step) {
      A const left = a.data[i * a.row + step * a.step];
      for (extent e = first; e < columns; ++e) c[i][e] = fused(left, b[step][e], c[i][e]);
    }
  }
}
/// The same in as many columns as b has.
template <class A>
void add_product(matrix<A> c, extent rows, left_side<A> a, extent steps, matrix<A> b) {
  add_product(c, rows, b.width, a, steps, b);
}

/// The rows of a panel: the most of a matrix that are turned at once to be multiplied.
inline constexpr extent panel_rows = 64;

/// c = a b^T. Rows of b, a panel at most, are turned in `scratch`, which is a panel wide; so is c.
template <class A>
void fill_scores(matrix<A> c, extent rows, matrix<A> a, matrix<A> b, extent rows_of_b, matrix<A> scratch) {
  extent const lanes = round_up(rows_of_b, simd<A>::width);  // what lies in those behind b is nobody's
  turn(b.data, b.width, rows_of_b, b.width, scratch.data, scratch.width);
  for (extent i = 0; i < rows; ++i) fill(c[i], A{0}, lanes);
  add_product(c, rows, lanes, as_it_is(a), b.width, scratch);
}

/// to[i] = the sum of register i, of as many as a register has numbers.
template <class A, int... I>
[[gnu::always_inline]] inline void sum_lanes(const A* from, A* to, std::integer_sequence<int, I...>) {
  using V = simd<A>;
  constexpr int width = V::width;
  typename V::vector row[width] = {V::load(from + I * width)...};
  // Of two rows that are zipped, each keeps half of its numbers, which are sums of two.
  unroll<__builtin_ctz(width)>([&](auto turn) __attribute__((always_inline)) {
    constexpr int half = width >> (turn + 1);
    unroll<half>([&](auto i) __attribute__((always_inline)) {
      row[i] = __builtin_shufflevector(row[i], row[i + half], (I / 2 + I % 2 * width)...) +
               __builtin_shufflevector(row[i], row[i + half], (I / 2 + width / 2 + I % 2 * width)...);
    });
  });
  __builtin_memcpy(to, row, sizeof row[0]);
}

/// row[i] = e^row[i] of numbers that are not above 0, in whole registers.
template <class A>
[[gnu::noinline]] void exponentiate(A* row, extent count) {
  using V = simd<A>;
  auto const to_log2 = V::all(floating<A>::log2_e), ln_2 = V::all(floating<A>::ln_2), one = V::all(1);
  auto const least = V::all(-4 * static_cast<A>(floating<A>::largest_exponent));
  for (extent i = 0; i < count; i += V::width) {
    auto x = V::load(row + i);
    x = x < least ? least : x;  // -inf has no rest
    auto const power = V::fused(x, to_log2, typename V::vector{}), rest = V::fused(x, to_log2, -power);
    V::store(row + i, V::exp2(power) * V::fused(rest, ln_2, one));
  }
}

/// scores[j] = x . rows[j] for j from last down to 0, x times factors[j + 1] before it meets row j < last.
///
/// `sums` takes as many registers as there are scores, both in whole registers; those behind `last` are nobody's.
template <class A>
[[gnu::noinline]] void fill_decayed_scores(A* scores, const A* x, matrix<A> rows, matrix<A> factors, extent last,
                                           A* sums) {
  using V = simd<A>;
  extent const whole = rows.width / V::width * V::width;
  for (extent at = 0; at < (last + 1) * V::width; ++at) sums[at] = 0;
  auto const columns = [&](extent first, auto registers) {
    typename V::vector moved[registers];
    unroll<registers>([&](auto i) __attribute__((always_inline)) {
      __builtin_memcpy(&moved[i], x + first + i * V::width, sizeof moved[i]);
    });
    for (extent j = last; j >= 0; --j) {
      auto sum = V::load(sums + j * V::width);
      unroll<registers>([&](auto i) __attribute__((always_inline)) {
        typename V::vector factor, row;
        __builtin_memcpy(&row, rows[j] + first + i * V::width, sizeof row);
        if (j < last) {
          __builtin_memcpy(&factor, factors[j + 1] + first + i * V::width, sizeof factor);
          moved[i] *= factor;
        }
        sum = V::fused(moved[i], row, sum);
      });
      V::store(sums + j * V::width, sum);
    }
  };
  extent first = 0;
  for (; first + 4 * V::width <= whole; first += 4 * V::width) columns(first, std::integral_constant<int, 4>{});
  for (; first < whole; first += V::width) columns(first, std::integral_constant<int, 1>{});
  for (extent j = 0; j <= last; j += V::width)
    sum_lanes<A>(sums + j * V::width, scores + j, std::make_integer_sequence<int, V::width>{});
  for (extent d = whole; d < rows.width; ++d) {
    A moved = x[d];
    for (extent j = last; j >= 0; --j) {
      if (j < last) moved *= factors[j + 1][d];
      scores[j] = fused(moved, rows[j][d], scores[j]);
    }
  }
}

/// Calls f(first, count) for panels of so many rows.
template <class F>
void for_each_panel(extent rows, F f) {
  for (extent first = 0; first < rows; first += panel_rows)
    f(first, rows - first < panel_rows ? rows - first : panel_rows);
}

}  // namespace ringfold::detail::inline RINGFOLD_SIMD
