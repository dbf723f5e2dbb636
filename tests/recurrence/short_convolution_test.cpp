// sanitize: off
#include <ringfold/recurrence/short_convolution.hpp>

#include <doctest/doctest.h>

#include <cstring>

#include "../../examples/support/rules/convolved.hpp"
#include "support/rules_by_hand.hpp"
#include "support/rules_over_ranks.hpp"

using namespace ringfold;
using namespace rules;

namespace {

/// A layout of one kind: contiguous, zigzag, striped by tokens, or of any lengths, some empty and some of one token.
layout layout_of(int kind, extent tokens, int ranks, std::mt19937_64& random) {
  if (kind == 0) return contiguous(tokens, ranks);
  if (kind == 1) return zigzag(tokens, ranks);
  if (kind == 2) return striped(tokens, ranks);
  std::vector<extent> lengths(static_cast<std::size_t>(ranks), 0);
  for (extent i = 0; i < tokens; ++i) ++lengths[random() % lengths.size()];
  if (kind == 4) lengths = {tokens - 1, 1}, lengths.resize(static_cast<std::size_t>(std::max(ranks, 2)), 0);
  if (kind == 4 && ranks == 1) lengths = {tokens};
  return uneven(tokens, lengths);
}

/// Runs a convolution by a chain in pieces and by a log-step schedule over 1 to 5 ranks and every kind of layout, and
/// calls f(experiment, what the chain made, what the other made).
template <class F>
void for_each_layout(F f) {
  std::uint64_t draw = 0;
  for (documents const& packed : {documents{17}, documents{5, 0, 1, 8, 3}, documents{1}}) {
    experiment const e(convolved{4, 3}, packed, 1, 2, ++draw);
    for (int ranks = 1; ranks <= 5; ++ranks) {
      for (int kind = 0; kind < 5; ++kind) {
        std::mt19937_64 random(++draw);
        auto const tokens = layout_of(kind, e.tokens, ranks, random);
        manner const how{.order = sharded::memory_orders[random() % 5]};
        f(e, run_over_ranks<double>(e, tokens, schedule::chain{2}, how),
          run_over_ranks<double>(e, tokens, schedule::doubling_123{}, how));
      }
    }
  }
}

}  // namespace

TEST_CASE("a short convolution and its gradients are those of the definition, however tokens are cut") {
  std::mt19937_64 random(1);
  for (extent const width : {1, 2, 4, 7}) {
    for (extent const tokens : {1, 2, 5, 17}) {
      experiment const e(convolved{width, 3}, tokens, 2, 2, 10 * static_cast<std::uint64_t>(width));
      auto const whole = run_by_hand<double>(e, {tokens});
      for (int kind = 0; kind < 5; ++kind) {
        CAPTURE(width);
        CAPTURE(tokens);
        CAPTURE(kind);
        auto const parts = parts_of(tokens, kind, random);
        auto const applied = run_by_hand<double>(e, parts), joined = run_by_hand<double>(e, parts, combined::joined);
        auto const off = apart(applied, e.made);
        CHECK(off.out <= 1e-14);
        CHECK(off.gradients <= 1e-13);
        CHECK(applied.out == whole.out);
        CHECK(applied.final == whole.final);
        CHECK(joined.out == whole.out);
        CHECK(joined.final == whole.final);
        CHECK(apart(joined, e.made).gradients <= 1e-13);
        if (*std::min_element(parts.begin(), parts.end()) >= width - 1) CHECK(applied.in[0] == whole.in[0]);
      }
    }
  }
}

TEST_CASE("a short convolution over ranks is the definition, and has the same bits whoever holds which tokens") {
  numbers whole[3];
  for_each_layout([&](const auto& e, const auto& chain, const auto& joined) {
    for (const auto* each : {&chain, &joined}) {
      auto const off = apart(each->made, e.made);
      CHECK(off.out <= 1e-14);
      CHECK(off.gradients <= 1e-13);
    }
    auto& bits = whole[e.packed.count() == 5 ? 1 : e.tokens == 1 ? 2 : 0];
    if (bits.empty()) bits = chain.made.out;
    CHECK(chain.made.out == bits);
    CHECK(joined.made.out == bits);
    CHECK(chain.made.final == joined.made.final);
  });
}

TEST_CASE("narrow elements are summed in float") {
  std::mt19937_64 random(2);
  experiment const e(convolved{}, 13, 1, 2, 5);
  auto const off = apart(run_by_hand<bf16>(e, parts_of(13, 2, random)), e.made);
  CHECK(off.out <= 1e-6);
  CHECK(off.gradients <= 1e-6);
}

TEST_CASE("windows are exact copies: signed zeros and infinities too") {
  // Parts of 0, 1, 2 tokens against a window of 3, joined from either side.
  host_stream const on;
  token_window<float> const of{1, 1, 3, 1};
  float const tokens[] = {-0.0f, 1, INFINITY, 0.0f, -0.0f, 3};
  std::vector<std::vector<float>> memory;
  memory.reserve(100);
  auto const take = [&](extent rows) {
    memory.emplace_back(static_cast<std::size_t>(rows), NAN);
    return dense(memory.back().data(), 1, 1, rows, 1);
  };
  auto const element_of = [&](extent first, extent count) {
    std::vector<float> some(tokens + first, tokens + first + count);
    affine_element<float> const made{take(1), take(3)};
    short_convolution::workspace<float> none;
    auto const p = make_recurrence<float>(contiguous(6, 1), {.heads = 1, .dim = 4, .value_dim = 1});
    convolution_rows<const float> const x{dense<host_space>(static_cast<const float*>(some.data()), 1, count, 1, 1),
                                          {}};
    short_convolution{}.summarize(none, p, x, made);
    return made;
  };
  auto const join = [&](const affine_element<float>& a, const affine_element<float>& b) {
    affine_element<float> const made{take(1), take(3)};
    of.compose(on, a, b, made);
    return made;
  };
  auto const a = element_of(0, 2), none = element_of(2, 0), b = element_of(2, 1), c = element_of(3, 2),
             d = element_of(5, 1);
  auto const left = join(join(join(join(a, none), b), c), d), right = join(a, join(none, join(b, join(c, d))));
  auto const whole = element_of(0, 6);
  for (const auto& each : {left, right}) {
    CHECK(each.gate.data[0] == 3);
    CHECK(std::memcmp(each.value.data, whole.value.data, 3 * sizeof(float)) == 0);
  }
  CHECK(join(join(a, b), c).value.data[0] == INFINITY);  // order matters
  CHECK(join(join(b, a), c).value.data[0] == 1);
}

TEST_CASE("a token shift is a convolution of width 2") {
  experiment e(convolved{2, 3}, 9, 1, 2, 4);
  for (std::size_t i = 0; i < e.given.in[1].size(); ++i) e.given.in[1][i] = i % 2 == 0 ? 1 : 0;
  e.define();
  auto const made = run_by_hand<float>(e, {4, 1, 0, 4});
  for (extent t = 1; t < 9; ++t) {
    CHECK(made.out[e.at(0, t, 1, 2, 3)] == e.given.in[0][e.at(0, t - 1, 1, 2, 3)]);
  }
  CHECK(made.out[e.at(0, 0, 1, 2, 3)] == e.given.initial[3 + 2]);
}

TEST_CASE("what travels is the last tokens, and by joining how many they are") {
  CHECK(sends<double>(experiment(convolved{4, 3}, 17, 1, 2, 3), 1));
}
