// sanitize: off
#include <doctest/doctest.h>

#include <ringfold/kernel/cpu/flash.hpp>

#include "support/gradients.hpp"

using namespace combinations;

TEST_CASE("gradients for random combinations, by the blocked kernel") {
  int const count = 150;
  std::mt19937_64 random(13);
  for (int i = 0; i < count; ++i) {
    auto const c = random_combination(random);
    gradients::check(c, random() % 100000, ringfold::flash_kernel{});
  }
}
