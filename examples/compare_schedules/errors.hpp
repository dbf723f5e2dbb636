#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

/// \file
/// How far numbers are from those that were wanted. Not a number counts as infinitely far.

namespace compare_schedules {

struct errors {
  double max_abs = 0, rms = 0;
};

inline errors difference(const std::vector<double>& got, const std::vector<double>& wanted) {
  errors made;
  double squares = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    double apart = std::fabs(got[i] - wanted[i]);
    if (!std::isfinite(apart)) apart = std::numeric_limits<double>::infinity();
    made.max_abs = std::max(made.max_abs, apart);
    squares += apart * apart;
  }
  made.rms = std::sqrt(squares / static_cast<double>(std::max<std::size_t>(1, wanted.size())));
  return made;
}

/// The largest and the root mean square.
inline errors size_of(const std::vector<double>& numbers) {
  return difference(numbers, std::vector<double>(numbers.size(), 0.0));
}

/// The most that a distance is of the one that `allowed(index)` gives it, 0 where nothing is allowed.
template <class Allowed>
double most_of(const std::vector<double>& got, const std::vector<double>& wanted, Allowed allowed) {
  double most = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    double const apart = std::fabs(got[i] - wanted[i]);
    if (apart == 0) continue;
    double const slack = allowed(i), times = apart / slack;
    most =
        std::max(most, std::isfinite(slack) && std::isfinite(times) ? times : std::numeric_limits<double>::infinity());
  }
  return most;
}

}  // namespace compare_schedules
