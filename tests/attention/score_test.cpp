// sanitize: off
#include <ringfold/sequence/score.hpp>

#include <doctest/doctest.h>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/documents.hpp>

#include "support/any_score.hpp"
#include "support/combinations.hpp"

using namespace ringfold;
using namespace combinations;

namespace {

/// Runs one choice of parts on a combination, forward and backward, and holds it against the oracle.
template <class T, class Kernel>
void check(const combination& c, const any_score::choice& choice, std::uint64_t seed, Kernel kernel) {
  auto const plain = make_experiment<T>(c, seed);
  extent const n = plain.tokens.tokens(), heads = plain.shape.heads;
  any_score::bias_numbers const bias(choice.bias_axes, {plain.shape.batch, heads, n, n}, seed);
  for (extent const each : bias.extents) {
    if (each == 0) return;  // nothing to broadcast from
  }
  schedules::experiment<T, any_mask, any_score::part> e(plain.tokens, plain.shape, plain.mask, seed, 1.7,
                                                        {0, any_score::make(choice, heads, bias)});
  e.order = plain.order;
  any_score::meaning const means{choice, heads, &bias};
  any_score::keeping const keeps{choice};
  auto const allows = [&](extent i, extent j) { return e.mask.allows(i, j); };
  oracle::sizes const sizes{e.shape.batch, n, n, heads, e.shape.kv_heads, e.shape.dim, e.shape.value_dim, 0, {}};
  auto const forward = oracle::attention(sizes, e.q, e.k, e.v, allows, means, keeps);
  extent const rows = e.shape.batch * n * heads;
  auto const dout = oracle::uniform<T>(rows * e.shape.value_dim, seed + 7);
  auto const dlse = oracle::uniform<accumulate_t<T>>(rows, seed + 8);
  auto const exact = oracle::backward(sizes, e.q, e.k, e.v, dout, dlse, allows, means, keeps);
  auto const back = schedules::run_backward(e, schedule_of(c), kernel, dout, dlse);
  double const bound = 24 * roundoff<T>;
  CHECK(oracle::compare(back.forward.o, forward.o).relative <= bound);
  CHECK(oracle::compare(back.forward.lse, forward.lse).largest <= 1e-5);
  CHECK(oracle::compare(back.dq, exact.dq).relative <= bound);
  CHECK(oracle::compare(back.dk, exact.dk).relative <= bound);
  CHECK(oracle::compare(back.dv, exact.dv).relative <= bound);
}

/// One schedule, where all of them would take long to compile.
constexpr auto on_ring = [](auto comm, auto kernel, auto f) { f(ring(comm, kernel)); };

any_score::choice random_choice(std::mt19937_64& random) {
  return {random() % 2 ? 0.0 : 0.5 + static_cast<double>(random() % 4), random() % 2 == 0,
          static_cast<int>(random() % 17) - 1, random() % 2 ? 0.0 : 0.25, random()};
}

template <class Kernel>
void check_random(std::uint64_t first, int count, Kernel kernel) {
  std::mt19937_64 random(first);
  for (int i = 0; i < count; ++i) {
    auto c = random_combination(random);
    auto const choice = random_choice(random);
    std::uint64_t const seed = random() % 100000;
    if (refused(c)) continue;
    std::string const text = fmt::format("{} cap={} linear={} bias={} drop={}", text_of(c, seed), choice.cap,
                                         choice.linear, choice.bias_axes, choice.drop);
    CAPTURE(text);
    check<float>(c, choice, seed, kernel);
  }
}

}  // namespace

TEST_CASE("caps, linear biases, biases of every shape and dropout: under every schedule what the definition says") {
  check_random(1, 500, reference_kernel{});
}

TEST_CASE("the same by the blocked kernel") { check_random(2, 250, flash_kernel{}); }

TEST_CASE("a bias gets its gradient, once, from whatever rank computes a pair") {
  for (auto const which : schedules::names) {
    for (int const ranks : {1, 2, 3, 4}) {
      for (int const axes : {0, 1, 2, 5, 10, 15}) {
        CAPTURE(static_cast<int>(which));
        CAPTURE(ranks);
        CAPTURE(axes);
        extent const n = 9, heads = 4;
        any_score::choice const choice{1.5, true, axes, 0.25, 3};
        any_score::bias_numbers const bias(axes, {2, heads, n, n}, 5);
        schedules::experiment<double> e(zigzag(n, ranks), {.batch = 2, .heads = heads, .kv_heads = 2, .dim = 3},
                                        causal(), 11);
        oracle::sizes const sizes{2, n, n, heads, 2, 3, 3, 0, {}};
        auto const allows = [](extent i, extent j) { return j <= i; };
        auto const dout = oracle::uniform<double>(2 * n * heads * 3, 7),
                   dlse = oracle::uniform<double>(2 * n * heads, 8);

        // The slope of the whole result by differences, for a few of the bias's numbers.
        auto numbers = bias;
        any_score::meaning const means{choice, heads, &numbers};
        auto const value = [&] {
          auto const r = oracle::attention(sizes, e.q, e.k, e.v, allows, means, any_score::keeping{choice});
          double sum = 0;
          for (std::size_t i = 0; i < r.o.size(); ++i) sum += r.o[i] * dout[i];
          for (std::size_t i = 0; i < r.lse.size(); ++i) sum += r.lse[i] == -INFINITY ? 0 : r.lse[i] * dlse[i];
          return sum;
        };

        std::vector<double> summed(bias.numbers.size(), 0.0);
        std::mutex guard;
        schedules::backward_outcome<double> all(e);
        run_ranks(ranks, [&](threads comm) {
          std::vector<double> gradient(bias.numbers.size(), 0.0);
          schedules::experiment<double, any_mask, any_score::learned_part> mine(
              e.tokens, e.shape, e.mask, 11, 1.7, {0, any_score::make(choice, heads, bias, gradient)});
          either_kernel const kernel{{}, ranks % 2 == 0};
          schedules::run_rank_backward(mine, which, comm, kernel, dout, dlse, all, guard, 1);
          std::lock_guard const lock(guard);
          for (std::size_t i = 0; i < gradient.size(); ++i) summed[i] += gradient[i];
        });
        for (std::size_t i = 0; i < summed.size(); i += 1 + summed.size() / 7) {
          double const kept = numbers.numbers[i], step = 1e-5;
          if (kept == -INFINITY) {
            CHECK(summed[i] == 0);
            continue;
          }
          numbers.numbers[i] = kept + step;
          double const above = value();
          numbers.numbers[i] = kept - step;
          double const slope = (above - value()) / (2 * step);
          numbers.numbers[i] = kept;
          CHECK(summed[i] == doctest::Approx(slope).epsilon(1e-6));
        }
      }
    }
  }
}

TEST_CASE("dropout drops the same weights at any rank count, schedule and kernel") {
  // One key for each weight and values of one: the output is the sum of kept weights.
  any_score::choice const choice{.bias_axes = -1, .drop = 0.5, .seed = 77};
  any_score::bias_numbers const none(0, {1, 1, 1, 1}, 1);
  for (auto const which : schedules::names) {
    for (int const ranks : {1, 2, 3, 4, 5}) {
      schedules::experiment<float, any_mask, any_score::part> e(striped(40, ranks), {.heads = 5, .dim = 4}, full(), 3,
                                                                1.7, {0, any_score::make(choice, 5, none)});
      for (double& each : e.v) each = 1;
      auto const got = schedules::run(e, which, flash_kernel{});
      auto const exact = oracle::attention(
          {1, 40, 40, 5, 5, 4, 4, 0, {}}, e.q, e.k, e.v, [](extent, extent) { return true; }, oracle::plain_score{},
          any_score::keeping{choice});
      CHECK(oracle::compare(got.o, exact.o).relative <= 1e-6);
    }
  }
}

TEST_CASE("one value says what is computed, and every rank of every schedule obeys it") {
  auto const tokens = zigzag(600, 3);
  std::uint64_t const seed = 5;
  //! [problem]
  auto const problem =
      make_problem<float>(tokens, {.heads = 8, .kv_heads = 2, .dim = 16}, documents{300, 0, 212} & window(128),
                          softcap(30) | alibi(8) | dropout(0.1, seed));
  //! [problem]
  CHECK(problem.score.scale == 0.25);
  schedules::experiment<float, decltype(problem.mask_of), decltype(problem.score.parts)> e(
      tokens, {.heads = 8, .kv_heads = 2, .dim = 16}, problem.mask_of, 4, 1.7, problem.score);
  any_score::choice const choice{.cap = 30, .linear = true, .bias_axes = -1, .drop = 0.1, .seed = seed};
  auto const exact = oracle::attention(
      {1, 600, 600, 8, 2, 16, 16, 0, {}}, e.q, e.k, e.v, [&](extent i, extent j) { return e.mask.allows(i, j); },
      any_score::meaning{choice, 8, nullptr}, any_score::keeping{choice});
  CHECK(oracle::compare(schedules::run(e, on_ring, flash_kernel{}).o, exact.o).relative <= 1e-6);
}

TEST_CASE("a user's function of score and pair") {
  schedules::experiment<float> plain(zigzag(24, 3), {.heads = 2, .dim = 8}, causal(), 4);
  //! [score_function]
  // Keys far away count for less, in proportion to the score; every third key is hidden.
  auto const fading = score_function(
      [](auto s, const token_pair& at) {
        return at.key % 3 == 1 && at.key != at.query ? -INFINITY
                                                     : s / (1 + 0.1F * static_cast<float>(at.query - at.key));
      },
      [](auto, const token_pair& at) { return 1 / (1 + 0.1F * static_cast<float>(at.query - at.key)); });
  auto const problem = make_problem<float>(plain.tokens, plain.shape, causal(), fading);
  //! [score_function]
  schedules::experiment<float, band, decltype(problem.score.parts)> e(plain.tokens, plain.shape, causal(), 4, 1.7,
                                                                      fading);
  auto const means = [](double s, extent, extent, extent i, extent j) {
    double const slope = 1 / (1 + static_cast<double>(0.1F) * static_cast<double>(i - j));
    return oracle::changed{j % 3 == 1 && i != j ? -INFINITY : s * slope, slope};
  };
  oracle::sizes const sizes{1, 24, 24, 2, 2, 8, 8, 0, {}};
  auto const allows = [](extent i, extent j) { return j <= i; };
  auto const dout = oracle::uniform<float>(24 * 2 * 8, 7), dlse = oracle::uniform<float>(24 * 2, 8);
  auto const exact = oracle::attention(sizes, e.q, e.k, e.v, allows, means);
  auto const slopes = oracle::backward(sizes, e.q, e.k, e.v, dout, dlse, allows, means);
  for (bool const blocked : {false, true}) {
    auto const got = schedules::run_backward(e, on_ring, either_kernel{{}, blocked}, dout, dlse);
    CHECK(oracle::compare(got.forward.o, exact.o).relative <= 1e-6);
    CHECK(oracle::compare(got.dq, slopes.dq).relative <= 2e-6);
    CHECK(oracle::compare(got.dk, slopes.dk).relative <= 2e-6);
  }
}
