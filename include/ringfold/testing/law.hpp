#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>

#include <ringfold/core/errors.hpp>

/// \file
/// How a law is broken: laws know no test framework, so that yours can run them. And what to draw their cases from.

namespace ringfold {

/// A law that a type claims to keep and does not; what() is one line that names the law and the values.
class law_violation : public std::exception {
 public:
  explicit law_violation(const line& what) noexcept : what_(what) {}
  const char* what() const noexcept override { return what_.text; }

 private:
  line what_;
};

namespace detail {

/// A small random number generator (splitmix64), so that a seed means the same everywhere.
struct random_bits {
  std::uint64_t state;
  std::size_t below(std::size_t bound) {
    std::uint64_t word = state += 0x9e3779b97f4a7c15u;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
    word = (word ^ word >> 27) * 0x94d049bb133111ebu;
    return static_cast<std::size_t>((word ^ word >> 31) % bound);
  }
};

}  // namespace detail
}  // namespace ringfold
