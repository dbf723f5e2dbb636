#include <doctest/doctest.h>

#include <cmath>

#include "../../examples/compare_schedules/errors.hpp"

using namespace compare_schedules;

TEST_CASE("distances are measured by what is allowed of them") {
  auto const of = [](const std::vector<double>& got, const std::vector<double>& allowed) {
    return most_of(got, std::vector<double>(got.size(), 1.0), [&](std::size_t i) { return allowed[i]; });
  };
  CHECK(of({}, {}) == 0);
  CHECK(of({1, 1.5, 0.75}, {0, 1, 0.125}) == 2);
  CHECK(of({1.5, 1}, {0, 0}) == INFINITY);  // where nothing is allowed, as in a row that sees nothing
}

TEST_CASE("a number that is none is infinitely far, wherever it stands and whatever comes behind it") {
  for (std::size_t at = 0; at < 3; ++at) {
    for (double const none : {double{NAN}, double{INFINITY}, -double{INFINITY}}) {
      std::vector<double> got(3, 1.001), slack(3, 1.0);
      std::vector<double> const wanted(3, 1.0);
      auto const most = [&] { return most_of(got, wanted, [&](std::size_t i) { return slack[i]; }); };
      CHECK(most() < 0.01);
      got[at] = none;
      CHECK(most() == INFINITY);
      CHECK(difference(got, wanted).max_abs == INFINITY);
      CHECK(difference(got, wanted).rms == INFINITY);
      got[at] = 1.001, slack[at] = none;
      CHECK(most() == INFINITY);
    }
  }
}
