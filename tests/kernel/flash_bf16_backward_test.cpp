// sanitize: off
#include <ringfold/kernel/cpu/flash_backward.hpp>

#include <doctest/doctest.h>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/sequence/documents.hpp>

#include "any_score.hpp"
#include "backward_cases.hpp"

using namespace ringfold;
using namespace backward_cases;

static_assert(differentiable<flash_kernel, problem<bf16>, host_stream>);
static_assert(differentiable<widening_flash_kernel, problem<bf16>, host_stream>);

namespace {

/// Half a unit in the last of bf16's 8 digits is at most 2^-8 / (1 + 2^-8) of a number: of a weight, and of the gradient
/// of a score, each once. A sum of products with them is off by as much of the products' sizes, and by what float makes
/// of the rest.
constexpr double rounding = detail::has_bf16_products ? 0x1p-8 / (1 + 0x1p-8) : 0;
/// None is more than 2^-8, from a power of two to the next they are spread evenly, and they are independent.
constexpr double rounding_in_the_norm = detail::has_bf16_products ? 0x1p-8 / 1.732 : 1e-6;

std::size_t index(extent i) { return static_cast<std::size_t>(i); }

/// How many of the numbers from `first` on differ.
int differ(const std::vector<float>& a, const std::vector<float>& b, extent first, extent last) {
  int wrong = 0;
  for (extent i = first; i < last; ++i) wrong += a[index(i)] != b[index(i)];
  return wrong;
}

}  // namespace

TEST_CASE("the blocked backward pass on bf16 agrees with the definition") {
  check_random<bf16>(flash_kernel{}, 300, 60, rounding);
  check_random<bf16>(widening_flash_kernel{}, 300, 20);
  auto const hold = [](const auto& p, std::uint64_t seed) {
    auto const drawn = draw(p, seed);
    check_terms(run(flash_kernel{}, p, drawn.in), drawn.wanted, rounding);
    CHECK(worst_error(run(widening_flash_kernel{}, p, drawn.in), drawn.wanted) <= 1e-6);
  };
  layout const one = uneven(1, {1, 0}), keys = contiguous(700, 2);
  hold(make_problem<bf16>(one, keys, shape{2, 24, 2, 33, 65}, window(0, 450)), 4);
  hold(make_problem<bf16>(contiguous(701, 3), shape{1, 2, 1, 7, 24}, documents({300, 0, 211, 101}) & causal()), 5);
  hold(make_problem<bf16>(striped(401, 3), shape{1, 2, 1, 24, 7}, window(33, 8)), 6);
}

TEST_CASE("rounding weights and gradients of scores costs bf16's own digits") {
  auto const p = make_problem<bf16>(contiguous(600, 1), shape{.dim = 64}, full());
  auto const drawn = draw(p, 9);
  CHECK(worst_error(run(flash_kernel{}, p, drawn.in), drawn.wanted) <= rounding_in_the_norm);
  CHECK(worst_error(run(widening_flash_kernel{}, p, drawn.in), drawn.wanted) <= 1e-6);
}

TEST_CASE("memory order changes no bit of gradients of bf16") {
  auto const p = make_problem<bf16>(zigzag(150, 2), shape{2, 4, 2, 33, 17}, causal());
  auto const in = draw(p, 31).in;
  auto const first = run(flash_kernel{}, p, in);
  for (auto const order : sharded::memory_orders) CHECK(first == run(flash_kernel{}, p, in, {0, 1, order}));
}

TEST_CASE("what other documents hold changes no gradient, also where they share a step or a unit of keys") {
  extent const n = 140, dim = 5;
  // Looks at the gradients of tokens first..last - 1.
  auto const hold = [&](const documents& packed, extent first, extent last, std::initializer_list<extent> bad) {
    auto const p = make_problem<bf16>(contiguous(n, 1), shape{.dim = dim}, packed & full());
    auto const clean = draw(p, 12).in;
    auto const good = run(flash_kernel{}, p, clean);
    for (bool const of_keys : {true, false}) {
      given in = clean;
      for (extent const token : bad) {
        for (extent d = 0; d < dim; ++d) {
          auto const at = index(token * dim + d);
          if (of_keys) in.k[at] = in.v[at] = NAN;
          if (!of_keys) in.q[at] = in.dout[at] = INFINITY;
        }
      }
      auto const got = run(flash_kernel{}, p, in);
      CHECK(differ(got.dq, good.dq, first * dim, last * dim) == 0);
      CHECK(differ(got.dk, good.dk, first * dim, last * dim) == 0);
      CHECK(differ(got.dv, good.dv, first * dim, last * dim) == 0);
      CHECK(std::isfinite(got.dq[0]) != of_keys);
      CHECK(std::isfinite(got.dv[0]) == of_keys);
    }
  };
  hold({33, 68, 39}, 33, 101, {32, 101});  // begins and ends within a step, of keys and of lanes
  hold({35, 105}, 35, n, {3});             // tokens 0..31 are a tile that sees keys 0..34, whatever it holds
}

TEST_CASE("an infinite gradient of bf16 stays infinite, though its step lacks a second query") {
  extent const n = 99, dim = 4;
  auto const p = make_problem<bf16>(contiguous(n, 1), shape{.dim = dim}, full());
  auto in = draw(p, 14).in;
  in.dout[index((n - 1) * dim + 1)] = INFINITY;
  auto const got = run(flash_kernel{}, p, in);
  CHECK(got.dv[1] == INFINITY);
  CHECK(std::isfinite(got.dv[2]));
}

TEST_CASE("scores that are changed, weights that are dropped, and a bias, whose gradient is not rounded") {
  extent const n = 231, heads = 4;
  shape const s{.batch = 2, .heads = heads, .kv_heads = 2, .dim = 7, .value_dim = 12};
  auto const hold = [&](const any_score::choice& choice, auto mask_of) {
    any_score::bias_numbers const numbers(choice.bias_axes, {s.batch, heads, n, n}, 5);
    std::vector<double> of_bias[2];
    auto const problem_with = [&](std::vector<double>& gradient) {
      gradient.resize(numbers.numbers.size());
      scored<any_score::learned_part> const score{-0.7, any_score::make(choice, heads, numbers, gradient)};
      return make_problem<bf16>(contiguous(n, 1), s, mask_of, score);
    };
    auto const p = problem_with(of_bias[0]);
    auto const drawn = draw(p, 13, 1.7, any_score::meaning{choice, heads, &numbers}, any_score::keeping{choice});
    check_terms(run(flash_kernel{}, p, drawn.in), drawn.wanted, rounding);
    check_terms(run(widening_flash_kernel{}, problem_with(of_bias[1]), drawn.in), drawn.wanted);
    CHECK(oracle::compare(of_bias[0], of_bias[1]).relative <= 1e-6);
  };
  any_score::choice const all{.cap = 2, .linear = true, .bias_axes = 15, .drop = 0.25, .seed = 7};
  hold({}, causal());
  hold(all, causal());
  hold(all, window(33, 3));
}
