#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "../../examples/support/npy.hpp"

/// A case of tests/golden/recurrence: its numbers, taken one tensor after the other.
class golden_recurrence {
 public:
  explicit golden_recurrence(const std::string& name)
      : file_(ringfold::examples::read_npy(RINGFOLD_SOURCE_DIR "/tests/golden/recurrence/" + name + ".npy")),
        rest_(file_.elements<double>()) {}
  golden_recurrence(const golden_recurrence&) = delete;
  golden_recurrence& operator=(const golden_recurrence&) = delete;

  /// Fills tensors as they are long.
  template <class... Tensors>
  void take(Tensors&... to) {
    (take_one(to), ...);
  }
  void end() const { REQUIRE(rest_.empty()); }

 private:
  void take_one(std::vector<double>& to) {
    REQUIRE(rest_.size() >= to.size());
    std::copy_n(rest_.begin(), to.size(), to.begin());
    rest_ = rest_.subspan(to.size());
  }

  ringfold::examples::npy_array file_;
  std::span<const double> rest_;
};
