#pragma once

#include <exception>

#include <ringfold/core/errors.hpp>

/// \file
/// How a law is broken: laws know no test framework, so that yours can run them.

namespace ringfold {

/// A law that a type claims to keep and does not; what() is one line that names the law and the values.
class law_violation : public std::exception {
 public:
  explicit law_violation(const line& what) noexcept : what_(what) {}
  const char* what() const noexcept override { return what_.text; }

 private:
  line what_;
};

}  // namespace ringfold
