#pragma once

#include <cstdint>

#include <ringfold/algebra/exponential.hpp>
#include <ringfold/core/dtype.hpp>

/// \file
/// Sums that are the same bits in any order and grouping.

namespace ringfold {

/// A sum of float or double terms that depends on which terms there are and on nothing else: += is associative and
/// commutative to the bit, for terms and for sums. Two words of 64 bits for float, three for double; all zero is 0.
///
/// Bins are integers that count multiples of 2^(32 i); a sum keeps those of the highest bin i that any term reaches and
/// of the one or two below. A term is cut at the bins' bounds, exactly, and what lies below the bins kept is dropped.
///
/// Why order cannot matter: the highest bin is a maximum over the terms, and each bin kept is a sum of integers, one
/// from each term, that depend on the term and the bin alone. While a sum is on its way its highest bin is at most the
/// final one; so what it drops would be dropped in the end too, and it drops bins whole. Nothing is carried from bin to
/// bin before value(), since a carry could come from a bin that is dropped later.
///
/// Each term loses less than 2^-32 (double: 2^-64) of the largest one, before the sum is rounded once. Up to most_terms
/// fit; who may have more must refuse. Infinities and NaN stand in a bin above all and stay: +inf and -inf together, or
/// any NaN, give NaN. No sum is -0. All of it is arithmetic of integers, in which neither contraction nor optimisation,
/// rounding modes or flushed subnormal numbers have a say.
/// Source: Demmel and Nguyen, Parallel reproducible summation (2015); Ahrens, Demmel and Nguyen, Algorithms for
/// efficient reproducible floating point summation (2020).
/// \snippet algebra/binned_sum_test.cpp binned_sum
template <class A>
class binned_sum {
  using format = detail::floating<A>;
  using word = typename format::word;

 public:
  static constexpr int bins = sizeof(A) == 4 ? 2 : 3;
  static constexpr std::int64_t most_terms = std::int64_t{1} << 23;

  binned_sum() = default;
  RINGFOLD_HD explicit binned_sum(A term) : words_{} { add(term, 0); }

  [[gnu::always_inline]] RINGFOLD_HD binned_sum& operator+=(A term) {
    add(term, 0);
    return *this;
  }

  /// Adds term * 2^exponent, which may be far below the numbers of A. -2^20 <= exponent <= 0.
  [[gnu::always_inline]] RINGFOLD_HD void add(A term, std::int64_t exponent) {
    auto const bits = static_cast<std::int64_t>(__builtin_bit_cast(word, term)), size = bits & largest_bits;
    std::int64_t const negative = mask(bits != size), finite = mask(size < infinite_bits);
    // |term| * 2^exponent is significand * 2^place, counted from the lowest bin's last bit.
    std::int64_t const field = size >> format::mantissa, normal = mask(field > 0);
    std::int64_t const significand = (size & (hidden - 1)) + (hidden & normal);
    std::int64_t const place = field + normal + exponent + bins_below * bin_width;
    std::int64_t const reached = place + format::mantissa, some = mask(significand != 0) & mask(reached > 0);

    opened sum(*this, ((reached >> log2_of_bin_width) & some & finite) | (beyond_numbers & ~finite));
    // The significand's bits in two bins, of which the lower one ends `shift` bits before it does.
    auto const two_bins = [significand](std::int64_t shift) __attribute__((always_inline)) {
      auto const whole = static_cast<std::uint64_t>(significand);
      return static_cast<std::int64_t>(whole << within_word(shift) >> within_word(-shift));
    };
    // Above all numbers the first bins count +inf and -inf; NaN is both.
    std::int64_t const nan = mask(size > infinite_bits);
    auto const part = [=](std::int64_t bits_of_bin, std::int64_t counts) __attribute__((always_inline)) {
      std::int64_t const cut = bits_of_bin & (bin_size - 1);
      return (((cut ^ negative) - negative) & finite) | (counts & ~finite & 1);
    };
    std::int64_t const up = place - bin_width * sum.high;
    std::int64_t const upper = two_bins(up + bin_width), lower = two_bins(up + (bins - 1) * bin_width);
    sum.first += part(upper >> bin_width, ~negative | nan);
    if constexpr (bins == 2) {
      sum.second += part(upper, negative | nan);
    } else {
      sum.second += part(lower >> bin_width, negative | nan);
      sum.third += part(lower, 0);
    }
    sum.close(*this);
  }

  RINGFOLD_HD binned_sum& operator+=(const binned_sum& other) {
    opened sum(*this, other.high());
    opened const more(other, high());
    sum.first += more.first, sum.second += more.second, sum.third += more.third;
    sum.close(*this);
    return *this;
  }

  /// Multiplies by 2^(-32 count), exactly, down to 2^-2048 times the smallest number of A. 0 <= count <= 2^20.
  RINGFOLD_HD void lower(std::int64_t count) {
    opened sum(*this, 0);
    sum.high -= sum.high == beyond_numbers ? 0 : count;
    sum.raise(0);
    sum.close(*this);
  }

  /// The sum times 2^exponent, rounded once to nearest even; subnormal numbers too.
  RINGFOLD_HD A value(int exponent = 0) const {
    opened const sum(*this, 0);
    if (sum.high == beyond_numbers) {
      if (sum.first > 0 && sum.second > 0) return format::not_a_number;
      return sum.first > 0 ? format::infinity : -format::infinity;
    }
    wide total = wide{sum.first} * bin_size + sum.second;
    if constexpr (bins == 3) total = total * bin_size + sum.third;
    if (total == 0) return 0;
    auto digits = static_cast<unsigned_wide>(total < 0 ? -total : total);

    // The value is digits * 2^place times the smallest number. Digits beyond those of A are dropped, and those below
    // place 0; where there are fewer, they are moved up.
    int const place = bin_width * (static_cast<int>(sum.high) - bins + 1 - bins_below) + exponent;
    int const surplus = width_of(digits) - format::mantissa - 1, drop = surplus > -place ? surplus : -place;
    if (drop > 127) return 0;
    if (drop > 0) {
      unsigned_wide const rest = digits & ((unsigned_wide{1} << drop) - 1), half = unsigned_wide{1} << (drop - 1);
      digits >>= drop;
      digits += rest > half || (rest == half && (digits & 1) != 0);
    } else {
      digits <<= -drop;
    }
    // A number's bits are its place among all numbers of its sign; so rounding up may carry into the exponent.
    constexpr word fields = bits_of_infinity >> format::mantissa;
    word const field = place + drop < static_cast<int>(fields) ? static_cast<word>(place + drop) : fields;
    word const bits = (field << format::mantissa) + static_cast<word>(digits);
    A const size = __builtin_bit_cast(A, bits < bits_of_infinity ? bits : bits_of_infinity);
    return total < 0 ? -size : size;
  }

  /// The sum rounded to A, and then to T.
  template <class T>
  RINGFOLD_HD explicit operator T() const {
    return static_cast<T>(value());
  }

 private:
  __extension__ typedef __int128 wide;
  __extension__ typedef unsigned __int128 unsigned_wide;

  static constexpr int log2_of_bin_width = 5, bin_width = 1 << log2_of_bin_width;
  static constexpr int bins_below = 64;                       // under the smallest number of A
  static constexpr int beyond_numbers = 255, index_bits = 8;  // the bin above all
  static constexpr std::int64_t bin_size = std::int64_t{1} << bin_width;
  static constexpr word bits_of_infinity = __builtin_bit_cast(word, format::infinity);
  static constexpr auto infinite_bits = static_cast<std::int64_t>(bits_of_infinity),
                        largest_bits = static_cast<std::int64_t>(static_cast<word>(-1) >> 1);
  static constexpr std::int64_t hidden = std::int64_t{1} << format::mantissa;  // the bit that normal numbers leave out

  /// The words taken apart: the number of the highest bin, and the bins from there down. There are no loops over bins,
  /// and masks where there could be conditions, so that compilers vectorise loops over sums.
  struct opened {
    std::int64_t high, first, second, third = 0;

    RINGFOLD_HD opened(const binned_sum& sum, std::int64_t at_least)
        : high(sum.high()), first(sum.words_[0] >> index_bits), second(sum.words_[1]) {
      if constexpr (bins == 3) third = sum.words_[2];
      raise(at_least);
    }

    /// Makes a bin at least so high the highest one.
    RINGFOLD_HD void raise(std::int64_t at_least) {
      std::int64_t const up = at_least > high ? at_least - high : 0;
      std::int64_t const stays = mask(up == 0), once = mask(up == 1), twice = mask(up == 2);
      third = (third & stays) | (second & once) | (first & twice);
      second = (second & stays) | (first & once);
      first &= stays;
      high += up;
    }

    RINGFOLD_HD void close(binned_sum& to) const {
      to.words_[0] = first * (1 << index_bits) + high;
      to.words_[1] = second;
      if constexpr (bins == 3) to.words_[2] = third;
    }
  };

  RINGFOLD_HD std::int64_t high() const { return words_[0] & ((1 << index_bits) - 1); }

  /// All ones, or all zeros.
  RINGFOLD_HD static std::int64_t mask(bool condition) { return -std::int64_t{condition}; }

  RINGFOLD_HD static std::int64_t within_word(std::int64_t shift) { return shift < 0 ? 0 : shift > 63 ? 63 : shift; }

  /// The number of digits up to the leading 1.
  RINGFOLD_HD static int width_of(unsigned_wide digits) {
    int width = 1;
    for (int step = 64; step > 0; step /= 2) {
      if (digits >> step == 0) continue;
      digits >>= step;
      width += step;
    }
    return width;
  }

  std::int64_t words_[bins];  // the first holds the highest bin, and that bin's number in its last bits
};

template <class A>
struct scalar_traits<binned_sum<A>> {
  using accumulate = binned_sum<A>;
  static constexpr dtype type{3, 64, binned_sum<A>::bins};
};

}  // namespace ringfold
