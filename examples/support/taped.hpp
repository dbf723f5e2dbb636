#pragma once

#include <cmath>
#include <stdexcept>
#include <vector>

/// \file
/// Numbers that remember how they were made, so that a definition written once, forward, has gradients.

namespace ringfold::examples {

/// Every operation between numbers that somebody may ask gradients of.
class tape {
 public:
  /// A number made of two others, or of one, or given: -1 stands for what has no gradient.
  /// \throws std::length_error rather than fill the machine: 100 million are 2.4 GB, and twice that as they grow
  int add(int first, double by_first, int second, double by_second) {
    if (steps_.size() == 100'000'000) throw std::length_error("a tape of more than 100 million steps");
    steps_.push_back({first, second, by_first, by_second});
    return static_cast<int>(steps_.size()) - 1;
  }
  int steps() const { return static_cast<int>(steps_.size()); }

  /// Slopes, so far those of what has been made last, become those of all that it was made of.
  void differentiate(std::vector<double>& slopes) const {
    for (std::size_t i = steps_.size(); i-- > 0;) {
      step const& each = steps_[i];
      if (slopes[i] == 0) continue;
      if (each.first >= 0) slopes[static_cast<std::size_t>(each.first)] += slopes[i] * each.by_first;
      if (each.second >= 0) slopes[static_cast<std::size_t>(each.second)] += slopes[i] * each.by_second;
    }
  }

 private:
  struct step {
    int first, second;
    double by_first, by_second;
  };
  std::vector<step> steps_;
};

/// A double on a tape, or a constant.
struct taped {
  double value = 0;
  int at = -1;
  tape* on = nullptr;

  taped() = default;
  taped(double constant) : value(constant) {}
  taped(double given, tape& of) : value(given), at(of.add(-1, 0, -1, 0)), on(&of) {}

  friend taped operator+(const taped& a, const taped& b) { return made(a.value + b.value, a, 1, b, 1); }
  friend taped operator-(const taped& a, const taped& b) { return made(a.value - b.value, a, 1, b, -1); }
  friend taped operator*(const taped& a, const taped& b) { return made(a.value * b.value, a, b.value, b, a.value); }
  friend taped operator/(const taped& a, const taped& b) {
    return made(a.value / b.value, a, 1 / b.value, b, -a.value / (b.value * b.value));
  }
  taped& operator+=(const taped& b) { return *this = *this + b; }
  taped& operator*=(const taped& b) { return *this = *this * b; }

  friend taped exp(const taped& a) {
    double const e = std::exp(a.value);
    return made(e, a, e, {}, 0);
  }
  friend taped sin(const taped& a) { return made(std::sin(a.value), a, std::cos(a.value), {}, 0); }
  friend taped cos(const taped& a) { return made(std::cos(a.value), a, -std::sin(a.value), {}, 0); }
  friend taped fabs(const taped& a) { return a.value < 0 ? 0.0 - a : a; }
  friend taped max(const taped& a, const taped& b) { return a.value < b.value ? b : a; }

 private:
  static taped made(double value, const taped& a, double by_a, const taped& b, double by_b) {
    taped result(value);
    result.on = a.on != nullptr ? a.on : b.on;
    if (result.on != nullptr) result.at = result.on->add(a.at, by_a, b.at, by_b);
    return result;
  }
};

}  // namespace ringfold::examples
