#include <ringfold/kernel/cpu/dot_step.hpp>

#include <cmath>
#include <limits>
#include <random>

#include <doctest/doctest.h>

using namespace ringfold;

TEST_CASE("a step of float is one fused multiply-add, and a weight of 0 adds nothing to it") {
  using step = detail::dot_step<float>;
  using V = step::V;
  static_assert(step::depth == 1);
  alignas(V::bytes) float a[V::width], weights[V::width], sums[V::width];
  for (int i = 0; i < V::width; ++i) a[i] = INFINITY, weights[i] = static_cast<float>(i % 2), sums[i] = 3;
  V::store(sums, step::add_seen(step::load(a), step::load(weights), V::load(sums)));
  CHECK(sums[0] == 3);
  CHECK(sums[1] == INFINITY);
}

#if defined(__AVX512F__) && defined(__AVX512BF16__)
TEST_CASE("a step of bf16 is two fused multiply-adds, the second number's first") {
  using step = detail::dot_step<bf16>;
  using V = step::V;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  int wrong = 0;
  for (int round = 0; round < 1000; ++round) {
    alignas(V::bytes) bf16 a[2 * V::width], b[2 * V::width];
    alignas(V::bytes) float sums[V::width], got[V::width];
    for (int i = 0; i < 2 * V::width; ++i) a[i] = bf16(normal(random)), b[i] = bf16(normal(random));
    for (float& sum : sums) sum = normal(random);
    V::store(got, step::add(step::load(a), step::load(b), V::load(sums)));
    for (int lane = 0; lane < V::width; ++lane) {
      float const second =
          std::fma(static_cast<float>(a[2 * lane + 1]), static_cast<float>(b[2 * lane + 1]), sums[lane]);
      wrong += got[lane] != std::fma(static_cast<float>(a[2 * lane]), static_cast<float>(b[2 * lane]), second);
    }
    V::store(got, step::add(step::all(a + 1), step::load(b), V::load(sums)));  // from any element on
    float const second = std::fma(static_cast<float>(a[2]), static_cast<float>(b[1]), sums[0]);
    wrong += got[0] != std::fma(static_cast<float>(a[1]), static_cast<float>(b[0]), second);
  }
  CHECK(wrong == 0);
}

TEST_CASE("weights are rounded as bf16 rounds, and a weight of 0 hides a value that is not finite") {
  using step = detail::dot_step<bf16>;
  using V = step::V;
  std::mt19937 random(4);
  std::uniform_real_distribution<float> uniform(0, 1);
  alignas(V::bytes) float first[V::width], second[V::width], sums[V::width] = {};
  alignas(V::bytes) bf16 pairs[2 * V::width], values[2 * V::width];
  for (int i = 0; i < V::width; ++i) first[i] = uniform(random), second[i] = uniform(random);
  first[2] = 1 + 0x1p-8f, first[3] = 1 + 0x3p-8f;  // ties, to even
  first[4] = 0, second[5] = 0;
  step::store(pairs, {V::load(first), V::load(second)});
  for (int i = 0; i < V::width; ++i) {
    CHECK(pairs[2 * i].bits == bf16(first[i]).bits);
    CHECK(pairs[2 * i + 1].bits == bf16(second[i]).bits);
    values[2 * i] = bf16(i == 4 ? NAN : 1), values[2 * i + 1] = bf16(i == 5 ? INFINITY : 0);
  }
  V::store(sums, step::add_seen(step::load(values), step::load(pairs), V::load(sums)));
  CHECK(sums[4] == 0);
  CHECK(sums[5] == static_cast<float>(pairs[10]));
}
#endif
