#include <ringfold/sequence/score.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <ringfold/sequence/alibi.hpp>
#include <ringfold/sequence/bias.hpp>
#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/dropout.hpp>
#include <ringfold/sequence/problem.hpp>

using namespace ringfold;

namespace {

template <class Score>
void check_slope(Score score) {
  auto const& parts = score.parts;
  token_pair const at{1, 2, 30, 4};
  for (double s = -9; s < 9; s += 0.37) {
    double const step = 1e-6, above = parts(s + step, at), below = parts(s - step, at);
    CHECK(parts.slope(s, at) == doctest::Approx((above - below) / (2 * step)).epsilon(1e-8));
  }
}

}  // namespace

TEST_CASE("tanh is within two units of 1 and odd, and has its limits") {
  double worst = 0, worst_float = 0;
  for (double x = -25; x < 25; x += 0.0007) {
    worst = std::fmax(worst, std::fabs(exponential::tanh(x) - std::tanh(x)));
    auto const small = static_cast<float>(x);
    worst_float = std::fmax(
        worst_float, std::fabs(static_cast<double>(exponential::tanh(small)) - std::tanh(static_cast<double>(small))));
    CHECK(exponential::tanh(-x) == -exponential::tanh(x));
  }
  CHECK(worst <= 2 * 0x1p-53);
  CHECK(worst_float <= 2 * 0x1p-24);
  for (double x = 1e-300; x < 1e-3; x *= 7) CHECK(exponential::tanh(x) == doctest::Approx(x).epsilon(1e-6));
  CHECK(exponential::tanh(INFINITY) == 1);
  CHECK(exponential::tanh(-INFINITY) == -1);
  CHECK(std::isnan(exponential::tanh(static_cast<double>(NAN))));
}

TEST_CASE("slopes are derivatives, through chains too") {
  check_slope(scaled{});
  check_slope(softcap(3));
  check_slope(alibi(4));
  check_slope(softcap(2) | alibi(4) | softcap(1.5));
  check_slope(alibi(4) | softcap(1.5) | dropout(0.5, 1));
  check_slope(score_function([](auto s, const token_pair& at) { return s * s * static_cast<double>(at.key); },
                             [](auto s, const token_pair& at) { return 2 * s * static_cast<double>(at.key); }) |
              softcap(4));
}

TEST_CASE("parts are applied from left to right, and one scale is kept") {
  auto const score = softcap(2) | scaled{0.25} | alibi(1);
  CHECK(score.scale == 0.25);
  CHECK(score.parts(1.0, {0, 0, 7, 5}) == doctest::Approx(2 * std::tanh(0.5) - 2 * std::pow(2, -8)));
  CHECK((alibi(1) | softcap(2)).parts(1.0, {0, 0, 7, 5}) ==
        doctest::Approx(2 * std::tanh((1 - 2 * std::pow(2, -8)) / 2)));
  CHECK_THROWS_WITH_AS((scaled{1} | softcap(2) | scaled{2}), "score: scales of 1 and 2; give one", usage_error);
}

TEST_CASE("an optional part is its part, or nothing") {
  token_pair const at{0, 0, 7, 5};
  auto const there = optionally(true, softcap(2)), missing = optionally(false, softcap(2));
  CHECK(there.parts(1.0, at) == softcap(2).parts(1.0, at));
  CHECK(there.parts.slope(1.0, at) == softcap(2).parts.slope(1.0, at));
  CHECK(missing.parts(1.0, at) == 1);
  CHECK(missing.parts.slope(1.0, at) == 1);
  CHECK(optionally(false, dropout(0.99, 1)).parts.keep<double>(at) == 1);
  auto const make = [&](bool present) {
    return make_problem<float>(contiguous(4, 1), {.heads = 3}, full(), optionally(present, alibi(4)));
  };
  CHECK_NOTHROW(make(false));
  CHECK_THROWS_AS(make(true), shape_error);
}

TEST_CASE("slopes of linear biases are the published ones") {
  for (int h = 0; h < 8; ++h) CHECK(alibi(8).parts.slope_of(h) == std::ldexp(1.0, -h - 1));
  // 12 heads: those of 8, then every other one of 16 (Press et al., code).
  for (int h = 0; h < 8; ++h) CHECK(alibi(12).parts.slope_of(h) == std::ldexp(1.0, -h - 1));
  for (int h = 0; h < 4; ++h) CHECK(alibi(12).parts.slope_of(8 + h) == doctest::Approx(std::pow(2, -0.5 - h)));
  std::vector<double> const own{1, 2};
  CHECK(alibi(own).parts(10.0, {0, 1, 3, 9}) == -2);
  CHECK(alibi(own, 4).parts(10.0, {0, 1, 3, 9}) == 6);
}

TEST_CASE("linear biases are right in documents, or refused") {
  auto const make = [](auto mask_of, extent offset) {
    return make_problem<float>(contiguous(8, 2), contiguous(12, 2), {.heads = 3}, mask_of, alibi(3, offset));
  };
  CHECK_NOTHROW(make_problem<float>(contiguous(8, 2), {.heads = 3}, documents{3, 0, 4} & causal(), alibi(3)));
  CHECK_NOTHROW(make(top_left(causal(), documents{4, 2}, documents{4, 3}), 0));
  CHECK_NOTHROW(make(bottom_right(causal(), documents{0, 8}, documents{2, 10}), 4));
  CHECK_THROWS_WITH_AS(make(bottom_right(causal(), documents{0, 8}, documents{2, 10}), 0),
                       "alibi: an offset of 0; queries of these documents stand 4 before their keys: give that",
                       usage_error);
  CHECK_THROWS_WITH_AS(make(top_left(causal(), documents{4, 2}, documents{5, 3}), 0),
                       doctest::Contains("alibi: documents whose queries stand at different offsets"), usage_error);
}

TEST_CASE("a bias holds for every index of an axis that it does not have") {
  std::vector<double> numbers{0, 1, 2, 3, 4, 5}, gradient(2);
  auto const score = bias(dense(numbers.data(), 1, 2, 1, 3), dense(gradient.data(), 1, 2, 1, 1));
  CHECK(score.parts(10.0, {5, 1, 7, 2}) == 15);
  score.parts.collect(2.0, {5, 1, 7, 2}), score.parts.collect(0.5, {0, 1, 3, 0});
  CHECK(gradient == std::vector<double>{0, 2.5});
}

TEST_CASE("random words are those of the published generator") {
  // Known answers of Random123 for philox4x32-10.
  auto const words = [](const philox& p) { return std::vector<std::uint32_t>(p.words, p.words + 4); };
  CHECK(words(philox(0, 0, 0, 0, 0)) == std::vector<std::uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(words(philox(0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffffffffffff)) ==
        std::vector<std::uint32_t>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(words(philox(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0x299f31d0a4093822)) ==
        std::vector<std::uint32_t>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("dropout drops its share, keeps the mean, and differs by batch, head, query, key and seed") {
  auto const parts = dropout(0.3, 99).parts;
  int dropped = 0, count = 0;
  for (extent q = 0; q < 200; ++q) {
    for (extent k = 0; k < 200; ++k, ++count) {
      double const kept = parts.keep<double>({0, 0, q, k});
      CHECK((kept == 0 || kept == 1 / (1 - 0.3)));
      dropped += kept == 0;
    }
  }
  CHECK(std::fabs(dropped - 0.3 * count) < 5 * std::sqrt(count * 0.3 * 0.7));
  auto const row = [](const dropout_part& of, token_pair at) {
    std::vector<double> made;
    for (at.key = 0; at.key < 64; ++at.key) made.push_back(of.keep<double>(at));
    return made;
  };
  auto const first = row(parts, {0, 0, 0, 0});
  CHECK(first != row(parts, {1, 0, 0, 0}));
  CHECK(first != row(parts, {0, 1, 0, 0}));
  CHECK(first != row(parts, {0, 0, 1, 0}));
  CHECK(first != row(dropout(0.3, 98).parts, {0, 0, 0, 0}));
  CHECK(first == row(dropout(0.3, 99).parts, {0, 0, 0, 0}));
  for (double const each : row(dropout(0, 1).parts, {0, 0, 0, 0})) CHECK(each == 1);
}

TEST_CASE("what cannot be is refused with one line, before there is a problem") {
  std::vector<double> numbers(24);
  shape const of{.batch = 2, .heads = 3, .dim = 4};
  auto const on = contiguous(4, 2);
  CHECK_THROWS_WITH_AS(softcap(0), "softcap: a cap of 0; it must be in [1e-30, 1e30]", usage_error);
  CHECK_THROWS_WITH_AS(softcap(NAN), "softcap: a cap of nan; it must be in [1e-30, 1e30]", usage_error);
  // As a float in units of log2 it would be infinite.
  CHECK_THROWS_WITH_AS(softcap(3e38), "softcap: a cap of 3e+38; it must be in [1e-30, 1e30]", usage_error);
  CHECK_THROWS_WITH_AS(dropout(1, 1), "dropout: a probability of 1; it must be in [0, 1)", usage_error);
  CHECK_THROWS_WITH_AS(dropout(-0.1, 1), "dropout: a probability of -0.1; it must be in [0, 1)", usage_error);
  for (double const scale : {1e39, -1e39, static_cast<double>(INFINITY), static_cast<double>(NAN)}) {
    CHECK_THROWS_AS(make_problem<float>(on, of, causal(), scaled{scale}), usage_error);
  }
  CHECK_THROWS_WITH_AS(make_problem<float>(on, of, causal(), scaled{1e39}),
                       "problem: a scale of 1e+39; it must be in [-1e30, 1e30]", usage_error);
  CHECK_THROWS_WITH_AS(alibi(0), "alibi: 0 heads; at least 1 is needed", usage_error);
  CHECK_THROWS_WITH_AS(alibi(3, -(extent{1} << 40)), "alibi: an offset of -1099511627776; at most 2^30 either way",
                       usage_error);
  CHECK_THROWS_WITH_AS(alibi(span<const double>(static_cast<double*>(nullptr), 3)), "alibi: slopes that have no memory",
                       usage_error);
  shape late = of;
  late.first_batch = extent{1} << 32;
  CHECK_THROWS_WITH_AS(make_problem<float>(on, late, causal(), dropout(0.5, 1)),
                       "dropout: 4294967298 batches; at most 4294967296 are told apart", shape_error);
  late.first_batch = -1;
  CHECK_THROWS_WITH_AS(make_problem<float>(on, late), "problem: a first batch of -1; it must not be negative",
                       shape_error);
  auto const some = dense(numbers.data(), 1, 3, 1, 4);
  CHECK_THROWS_WITH_AS(make_problem<float>(on, of, causal(), bias(some, some)),
                       "bias: its gradient overlaps it; give it memory of its own", alias_error);
  CHECK_NOTHROW(
      make_problem<float>(on, {.batch = 0}, causal(), bias(dense(static_cast<double*>(nullptr), 0, 1, 4, 4))));
  CHECK_THROWS_WITH_AS(make_problem<float>(on, of, causal(), alibi(4)), "alibi: slopes for 4 heads, the problem has 3",
                       shape_error);
  CHECK_THROWS_WITH_AS(make_problem<float>(on, of, causal(), softcap(3) | bias(dense(numbers.data(), 1, 3, 2, 4))),
                       "bias: 2 queries do not broadcast to 4; 1 and 4 do", shape_error);
  CHECK_THROWS_WITH_AS(
      make_problem<float>(on, of, causal(), bias(dense(numbers.data(), 1, 3, 1, 4), dense(numbers.data(), 3, 1, 1, 1))),
      "bias gradient: 3 batches do not broadcast to 2; 1 and 2 do", shape_error);
  CHECK_THROWS_WITH_AS(make_problem<float>(on, of, causal(), bias(dense(static_cast<float*>(nullptr), 1, 1, 1, 1))),
                       "bias: it has no memory", usage_error);
}
