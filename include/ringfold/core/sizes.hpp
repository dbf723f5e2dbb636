#pragma once

#include <cstdint>

#include <ringfold/core/errors.hpp>

/// \file
/// 64-bit sizes whose arithmetic is checked.

namespace ringfold {

/// A count of elements, rows or bytes, and a stride, which may be negative.
using extent = std::int64_t;

/// a * b, or size_overflow.
constexpr extent checked_multiply(extent a, extent b) {
  extent product = 0;
  if (__builtin_mul_overflow(a, b, &product)) {
    throw size_overflow(say("%lld * %lld does not fit 64 bits", static_cast<long long>(a), static_cast<long long>(b)));
  }
  return product;
}

/// a + b, or size_overflow.
constexpr extent checked_add(extent a, extent b) {
  extent sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) {
    throw size_overflow(say("%lld + %lld does not fit 64 bits", static_cast<long long>(a), static_cast<long long>(b)));
  }
  return sum;
}

/// The smallest multiple of `step` that is not below `value`; both are positive.
constexpr extent round_up(extent value, extent step) { return checked_add(value, step - 1) / step * step; }

}  // namespace ringfold
