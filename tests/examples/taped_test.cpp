#include "../../examples/support/taped.hpp"

#include <doctest/doctest.h>

using ringfold::examples::tape;
using ringfold::examples::taped;

TEST_CASE("slopes on a tape are central differences") {
  auto const f = [](const auto& x, const auto& y, const auto& z) {
    using std::exp, std::sin, std::cos, std::fabs, std::max;
    auto sum = x * y - z / (x + 3.0);
    sum += exp(x * 0.5) * cos(z) - sin(y * z);
    sum *= fabs(y) + max(z, x);
    return sum + max(x, z) * 2.0;
  };
  for (double const x : {-1.25, 0.5, 2.0}) {
    for (double const y : {-0.75, 1.5}) {
      double const z = 0.625, step = 1e-5;
      tape steps;
      taped const a(x, steps), b(y, steps), c(z, steps);
      taped const made = f(a, b, c);
      CHECK(made.value == f(x, y, z));
      std::vector<double> slopes(static_cast<std::size_t>(steps.steps()));
      slopes[static_cast<std::size_t>(made.at)] = 1;
      steps.differentiate(slopes);
      double const wanted[] = {(f(x + step, y, z) - f(x - step, y, z)) / (2 * step),
                               (f(x, y + step, z) - f(x, y - step, z)) / (2 * step),
                               (f(x, y, z + step) - f(x, y, z - step)) / (2 * step)};
      taped const* const of[] = {&a, &b, &c};
      for (int i = 0; i < 3; ++i) CHECK(std::fabs(slopes[static_cast<std::size_t>(of[i]->at)] - wanted[i]) < 1e-8);
    }
  }
}

TEST_CASE("a constant has no slope, and what it multiplies keeps its own") {
  tape steps;
  taped const x(3, steps), made = taped(2) * x + taped(1) * taped(4);
  CHECK(made.value == 10);
  CHECK((taped(2) * taped(5)).at == -1);
  std::vector<double> slopes(static_cast<std::size_t>(steps.steps()));
  slopes[static_cast<std::size_t>(made.at)] = 1;
  steps.differentiate(slopes);
  CHECK(slopes[static_cast<std::size_t>(x.at)] == 2);
}
