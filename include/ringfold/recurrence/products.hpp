#pragma once

#include <ringfold/kernel/cpu/rows.hpp>
#include <ringfold/kernel/cpu/tile.hpp>
#include <ringfold/recurrence/lines_ahead.hpp>
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
left_side<std::remove_const_t<A>> as_it_is(matrix<A> m) {
  return {m.data, m.stride, 1};
}
template <class A>
left_side<std::remove_const_t<A>> turned_over(matrix<A> m) {
  return {m.data, 1, m.stride};
}

/// Rows, and registers beside each other, whose sums are in registers at once.
template <class A>
struct product_shape {
  static constexpr int rows = 6, registers = simd<A>::registers == 32 ? 4 : 2;
};

/// What is above or below the diagonal of a product's left side is not multiplied, not even as 0: it may be no number.
enum class triangle : unsigned char { none, lower, upper };

/// The terms of some rows of a sum: all rows take the same, and of as many as there are rows, less one, row i takes
/// those before i (lower) or those not before i (upper).
struct row_terms {
  extent first, count;
  triangle beside = triangle::none;
  extent corner = 0;  ///< the first of those
};

/// c = or += factor a b. Products are added up one after the other, and then to c.
template <class A, int Rows, int Registers>
[[gnu::noinline]] void multiply_tile(A* c, extent c_stride, bool adds, A factor, left_side<A> a, const A* b,
                                     extent b_stride, row_terms terms) {
  using V = simd<A>;
  typename V::vector sums[Rows][Registers];
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<Registers>([&](auto j) __attribute__((always_inline)) { sums[i][j] = typename V::vector{}; });
  });
  auto const take = [&](extent step, auto wanted) __attribute__((always_inline)) {
    typename V::vector right[Registers];
    unroll<Registers>([&](auto j) __attribute__((always_inline)) {
      __builtin_memcpy(&right[j], b + step * b_stride + j * V::width, sizeof right[j]);
    });
    unroll<Rows>([&](auto i) __attribute__((always_inline)) {
      if (!wanted(i)) return;
      auto const left = V::all(a.data[i * a.row + step * a.step]);
      unroll<Registers>([&](auto j)
                            __attribute__((always_inline)) { sums[i][j] = V::fused(left, right[j], sums[i][j]); });
    });
  };
  for (extent step = terms.first; step < terms.first + terms.count; ++step) {
    take(
        step, [](int) __attribute__((always_inline)) { return true; });
  }
  for (int at = 0; at + 1 < Rows && terms.beside != triangle::none; ++at) {
    bool const lower = terms.beside == triangle::lower;
    take(
        terms.corner + at, [&](int i) __attribute__((always_inline)) { return lower == (i > at); });
  }
  unroll<Rows>([&](auto i) __attribute__((always_inline)) {
    unroll<Registers>([&](auto j) __attribute__((always_inline)) {
      typename V::vector before{};
      if (adds) __builtin_memcpy(&before, c + i * c_stride + j * V::width, sizeof before);
      before = V::fused(sums[i][j], V::all(factor), before);
      __builtin_memcpy(c + i * c_stride + j * V::width, &before, sizeof before);
    });
  });
}

/// The rows of a panel: the most of a matrix that are turned at once to be multiplied.
inline constexpr extent panel_rows = 64;

/// Products of matrices, while what comes next is fetched.
template <class A>
struct products {
  lines_ahead ahead;

  /// c += factor a b, in their first columns.
  void add_product(matrix<A> c, extent rows, extent columns, left_side<A> a, extent steps, matrix<const A> b,
                   A factor = 1) {
    multiply_tiles(
        c, rows, true, factor, a, b, [&](extent, extent) { return columns; },
        [&](extent, extent) {
          return row_terms{0, steps};
        });
  }
  /// c = a b, in their first columns.
  void fill_product(matrix<A> c, extent rows, extent columns, left_side<A> a, extent steps, matrix<const A> b) {
    multiply_tiles(
        c, rows, false, A{1}, a, b, [&](extent, extent) { return columns; },
        [&](extent, extent) {
          return row_terms{0, steps};
        });
  }
  /// c += factor a b in as many columns as b has.
  void add_product(matrix<A> c, extent rows, left_side<A> a, extent steps, matrix<const A> b, A factor = 1) {
    add_product(c, rows, b.width, a, steps, b, factor);
  }
  /// c += factor a b, where row i of a, which has `rows`, ends before its column i + 1 - lag.
  void add_lower_product(matrix<A> c, extent rows, extent lag, matrix<A> a, matrix<const A> b, A factor = 1) {
    multiply_tiles(
        c.from(lag), rows - lag, true, factor, as_it_is(a.from(lag)), b, [&](extent, extent) { return b.width; },
        [&](extent row, extent) {
          return row_terms{0, row + 1, triangle::lower, row + 1};
        });
  }
  /// c += a^T b, of the same a.
  void add_upper_product(matrix<A> c, extent rows, extent lag, matrix<A> a, matrix<const A> b) {
    multiply_tiles(
        c, rows - lag, true, A{1}, turned_over(a.from(lag)), b.from(lag), [&](extent, extent) { return b.width; },
        [&](extent row, extent count) {
          return row_terms{row + count - 1, rows - lag - (row + count - 1), triangle::upper, row};
        });
  }

  /// c = a b^T. Rows of b, a panel at most, are turned in `scratch`, which is a panel wide; so is c.
  void fill_scores(matrix<A> c, extent rows, matrix<const A> a, matrix<const A> b, extent rows_of_b,
                   matrix<A> scratch) {
    turn(b.data, b.stride, rows_of_b, b.width, scratch.data, scratch.stride);
    extent const lanes = round_up(rows_of_b, simd<A>::width);  // what lies in those behind b is nobody's
    multiply_tiles(
        c, rows, false, A{1}, as_it_is(a), scratch, [&](extent, extent) { return lanes; },
        [&](extent, extent) {
          return row_terms{0, b.width};
        });
  }
  /// Of as many rows of both, what row i has of b up to row i.
  void fill_lower_scores(matrix<A> c, extent rows, matrix<const A> a, matrix<const A> b, matrix<A> scratch) {
    turn(b.data, b.stride, rows, b.width, scratch.data, scratch.stride);
    multiply_tiles(
        c, rows, false, A{1}, as_it_is(a), scratch,
        [&](extent row, extent count) { return round_up(row + count, simd<A>::width); },
        [&](extent, extent) {
          return row_terms{0, b.width};
        });
  }

 private:
  /// c = or += factor a b, in as many of its first columns as columns_of(row, count) says of the rows from there on, of
  /// the terms_of(row, count). Which terms are added up does not depend on how c is tiled; their order may.
  template <class Columns, class Terms>
  void multiply_tiles(matrix<A> c, extent rows, bool adds, A factor, left_side<A> a, matrix<const A> b,
                      Columns columns_of, Terms terms_of) {
    using V = simd<A>;
    using shape = product_shape<A>;
    in_pieces<shape::rows>(rows, [&](extent row, auto count) {
      extent const columns = columns_of(row, count);
      row_terms const terms = terms_of(row, count);
      left_side<A> const left{a.data + row * a.row, a.row, a.step};
      extent first = 0;
      auto const tiles = [&](auto registers) {
        for (; first + registers * V::width <= columns; first += registers * V::width) {
          ahead.fetch();
          multiply_tile<A, count, registers>(c[row] + first, c.stride, adds, factor, left, b.data + first, b.stride,
                                             terms);
        }
      };
      unroll<shape::registers>([&](auto i) { tiles(std::integral_constant<int, shape::registers - i>{}); });
      for (int i = 0; i < count && first < columns; ++i) {
        auto const add_terms = [&](extent from, extent terms_in) {
          for (extent e = first; e < columns; ++e) {
            A sum = 0;
            for (extent step = from; step < from + terms_in; ++step)
              sum = fused(left.data[i * left.row + step * left.step], b[step][e], sum);
            c[row + i][e] = fused(sum, factor, c[row + i][e]);
          }
        };
        if (!adds) fill(c[row + i] + first, A{0}, columns - first);
        add_terms(terms.first, terms.count);
        if (terms.beside == triangle::lower) add_terms(terms.corner, i);
        if (terms.beside == triangle::upper) add_terms(terms.corner + i, count - 1 - i);
      }
    });
  }
};

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
      row[i] = shuffled<(I / 2 + I % 2 * width)...>(row[i], row[i + half]) +
               shuffled<(I / 2 + width / 2 + I % 2 * width)...>(row[i], row[i + half]);
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
[[gnu::noinline]] void fill_decayed_scores(A* scores, const A* x, matrix<const A> rows, matrix<const A> factors,
                                           extent last, A* sums) {
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
