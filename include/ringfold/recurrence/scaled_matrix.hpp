#pragma once

#include <ringfold/algebra/stabilised.hpp>
#include <ringfold/recurrence/matrix.hpp>

/// \file
/// Matrices that grow and shrink beyond all numbers.

namespace ringfold::detail {

/// A matrix e^m C of one head; m lies behind C.
template <class A>
struct scaled_matrix {
  matrix<A> numbers;
  extent rows;

  A& exponent() const { return numbers[rows][0]; }

  void set_zero() const {
    fill(numbers.data, A{0}, rows * numbers.width);
    exponent() = -floating<A>::infinity;
  }
  void scale(A factor) const {
    for (extent i = 0; i < rows * numbers.width; ++i) numbers.data[i] *= factor;
  }

  /// Adds e^exponent column row^T.
  void add(A of_both, const A* column, const A* row) const {
    A const largest = numbers::max(exponent(), of_both);
    if (largest > exponent()) scale(share_of(exponent(), largest)), exponent() = largest;
    A const share = share_of(of_both, largest);
    for (extent d = 0; d < rows; ++d) add_scaled(numbers[d], share * column[d], row, numbers.width);
  }

  /// Columns of a state may have exponents of their own; one without memory is zero.
  void load(const view<const A, 4>& from, extent b, extent h) const {
    set_zero();
    if (from.data == nullptr) return;
    load_state(from, b, h, numbers, rows);
    for (extent j = 0; j < numbers.width; ++j) {
      bool nothing = true;
      for (extent d = 0; d < rows; ++d) nothing = nothing && numbers[d][j] == 0;
      if (!nothing) exponent() = numbers::max(exponent(), from(b, h, rows, j));
    }
    for (extent j = 0; j < numbers.width; ++j) {
      A const share = share_of(from(b, h, rows, j), exponent());
      for (extent d = 0; d < rows; ++d) numbers[d][j] = numbers[d][j] == 0 ? A{0} : numbers[d][j] * share;
    }
  }
  void store(const view<A, 4>& to, extent b, extent h) const {
    for (extent j = 0; j < numbers.width; ++j) {
      for (extent d = 0; d < rows; ++d) to(b, h, d, j) = numbers[d][j];
      to(b, h, rows, j) = exponent();
    }
  }
};

template <class A>
scaled_matrix<A> take_scaled_matrix(arena<host_space>& memory, extent rows, extent width) {
  return {take_matrix<A>(memory, rows + 1, width), rows};
}

}  // namespace ringfold::detail
