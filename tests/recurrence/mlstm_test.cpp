#include <ringfold/recurrence/mlstm.hpp>

#include <doctest/doctest.h>

#include "support/rules_over_ranks.hpp"

using namespace ringfold;
using namespace rules;

namespace {

/// Inputs: q, k, v, logarithms of input and of forget gates.
struct memory_cell {
  extent dim = 2, value_dim = 3, chunk = 4;
  double strongest = 2, resets = 0, scale = 0.75;

  mlstm rule() const { return {chunk}; }
  std::vector<input> inputs() const {
    return {{dim}, {dim}, {value_dim}, {1, true, -strongest, strongest, resets}, {1, true, -2, 0, resets}};
  }
  extent out_width() const { return value_dim; }
  extent state_size() const { return (dim + 1) * (value_dim + 1); }
  template <class T>
  auto problem(layout tokens, documents packed, extent batch, extent heads) const {
    return make_recurrence<T>(tokens, {.batch = batch, .heads = heads, .dim = dim, .value_dim = value_dim}, packed,
                              scale);
  }

  /// States as they are, without exponents: 0 stands where those were.
  template <class N>
  std::vector<N> plain(const std::vector<N>& states) const {
    auto made = states;
    extent const width = value_dim + 1;
    for (std::size_t head = 0; head < states.size(); head += static_cast<std::size_t>(state_size())) {
      for (extent d = 0; d <= dim; ++d) {
        for (extent j = 0; j < width; ++j) {
          auto const here = head + static_cast<std::size_t>(d * width + j),
                     exponent = head + static_cast<std::size_t>(dim * width + j);
          made[here] = d == dim || states[here] == 0 ? 0 : states[here] * std::exp(states[exponent]);
        }
      }
    }
    return made;
  }

  template <class E, class N>
  void define(const E& e, values<N>& x) const {
    extent const width = value_dim + 1;
    for (extent b = 0; b < e.batch; ++b) {
      for (extent h = 0; h < e.heads; ++h) {
        auto const begin = x.initial.begin() + static_cast<long>(e.of_head(b, h, 0, state_size()));
        std::vector<N> state(begin, begin + dim * width);
        for (extent t = 0; t < e.tokens; ++t) {
          N const in = std::exp(x.in[3][e.at(b, t, h, 0, 1)]), left = std::exp(x.in[4][e.at(b, t, h, 0, 1)]);
          if (e.begins(t)) std::fill(state.begin(), state.end(), N{0});
          std::vector<N> read(static_cast<std::size_t>(width));
          for (extent d = 0; d < dim; ++d) {
            for (extent j = 0; j < width; ++j) {
              auto& each = state[static_cast<std::size_t>(d * width + j)];
              N const v = j == value_dim ? N{1} : x.in[2][e.at(b, t, h, j, value_dim)];
              each = left * each + in * x.in[1][e.at(b, t, h, d, dim)] * v;
              read[static_cast<std::size_t>(j)] += N(scale) * x.in[0][e.at(b, t, h, d, dim)] * each;
            }
          }
          for (extent j = 0; j < value_dim; ++j) {
            x.out[e.at(b, t, h, j, value_dim)] =
                read[static_cast<std::size_t>(j)] / std::max(std::fabs(read.back()), N{1});
          }
        }
        std::copy(state.begin(), state.end(), x.final.begin() + static_cast<long>(e.of_head(b, h, 0, state_size())));
      }
    }
  }

  template <class Tensors, class E, class S>
  Tensors tensors(const std::vector<E>& elements, const std::vector<S>& sums) const {
    return {elements[0], elements[1], elements[2], first_of_rows(sums[3]), first_of_rows(sums[4])};
  }
};

}  // namespace

TEST_CASE("an mLSTM and its gradients are those of the definition, however tokens are cut") {
  for (extent const tokens : {1, 2, 5, 11}) {
    check_by_hand<double>(experiment(memory_cell{2, 3, 4}, tokens, 2, 2, 1), 1, 1e-13, 1e-12);
    check_by_hand<double>(experiment(memory_cell{3, 1, 1, 5, 0.1}, tokens, 1, 2, 2), 2, 1e-13,
                          2e-11);  // of the differences
  }
}

TEST_CASE("an mLSTM over ranks is the definition") {
  for_each_layout<double>(memory_cell{2, 3, 4}, [](const auto& e, const auto& chain, const auto& joined) {
    for (const auto* each : {&chain, &joined}) {
      auto const off = apart(each->made, e.made);
      CHECK(off.out <= 1e-13);
      CHECK(off.gradients <= 1e-12);
    }
  });
}

TEST_CASE("narrow elements are summed in float") {
  check_by_hand<bf16>(experiment(memory_cell{3, 4, 5}, 13, 1, 2, 6), 6, 4e-6, 4e-6);
}

TEST_CASE("exponentials beyond all numbers: the largest one is taken out") {
  // e^300 is no float. Nothing is asked of the final state, whose size would hide all other gradients.
  experiment e(memory_cell{2, 2, 4, 300}, 9, 1, 2, 7);
  e.given.final.assign(e.given.final.size(), 0.0);
  e.given.initial.assign(e.given.initial.size(), 0.0);
  e.define();
  e.made.final = run_by_hand<double>(e, {9}).final;
  check_by_hand<double>(e, 7, 1e-13, 1e-11);
  for (const auto& parts : {std::vector<extent>{9}, {1, 0, 3, 5}}) {
    auto const made = run_by_hand<float>(e, parts);
    CHECK(apart(made.out, e.made.out) <= 1e-5);
    for (std::size_t i = 0; i < made.in.size(); ++i) CHECK(apart(made.in[i], e.made.in[i]) <= 1e-5);
  }
}

TEST_CASE("a stabilised state: nothing is the identity from either side, order matters, joining is applying twice") {
  host_stream const on;
  stabilised<double> const of{1, 1, 3, 2};
  sharded::workspace memory(1 << 12);
  auto const element_of = [&](double gate, double exponent, double first) {
    auto const made = of.take_element(memory.arena());
    made.gate.data[0] = gate;
    for (int i = 0; i < 4; ++i) made.value.data[i] = first * (i + 1);
    made.value.data[4] = made.value.data[5] = exponent;
    return made;
  };
  auto const join = [&](const auto& a, const auto& b) {
    auto const made = of.take_element(memory.arena());
    of.compose(on, a, b, made);
    return made;
  };
  auto const same = [](const auto& a, const auto& b) {
    bool equal = a.gate.data[0] == b.gate.data[0];
    for (int i = 0; i < 6; ++i) equal = equal && a.value.data[i] == b.value.data[i];
    return equal;
  };
  auto const nothing = element_of(0, -INFINITY, 0), a = element_of(-1, 800, 1), b = element_of(-700, 900, -2),
             c = element_of(-0.5, -3, 3);
  for (const auto& each : {nothing, a, b, c}) {
    CHECK(same(join(nothing, each), each));
    CHECK(same(join(each, nothing), each));
  }
  CHECK(!same(join(a, b), join(b, a)));
  auto const left = join(join(a, b), c), right = join(a, join(b, c));
  for (int i = 0; i < 6; ++i) CHECK(left.value.data[i] == doctest::Approx(right.value.data[i]).epsilon(1e-14));
  // Zeros are nothing: what stands beside them raises no exponent.
  auto const zeros = element_of(0, 5000, 0);
  CHECK(same(join(zeros, a), join(nothing, a)));
}

TEST_CASE("a query of zero reads nothing, whatever the exponents") {
  experiment e(memory_cell{2, 2, 4, 2}, 3, 1, 1, 8);
  e.given.in[0].assign(e.given.in[0].size(), 0.0);
  e.given.in[3].assign(e.given.in[3].size(), 500.0);
  e.given.final.assign(e.given.final.size(), 0.0);
  auto const made = run_by_hand<float>(e, {2, 1});
  for (double const each : made.out) CHECK(each == 0);
  for (std::size_t i = 1; i < made.in.size(); ++i) {
    for (double const each : made.in[i]) CHECK(std::isfinite(each));
  }
}

TEST_CASE("an mLSTM in empty chunks is refused") {
  CHECK_THROWS_WITH_AS(mlstm{0}.check(), "mlstm: a chunk of 0 tokens; at least 1 is needed", usage_error);
}

TEST_CASE("what travels is a state with its exponents, or a gate beside it") {
  CHECK(sends<double>(experiment(memory_cell{2, 3, 4}, 17, 1, 2, 3), 1));
}

TEST_CASE("forget gates larger than 1 are refused, and infinite input gates") {
  float input[2] = {700, INFINITY}, forget[2] = {-INFINITY, 0.5f};
  mlstm_tensors<const float> in{};
  in.input = dense(input, 1, 1, 1), in.forget = dense(forget, 1, 1, 1);
  in.check_numbers("forward");
  in.forget = dense(forget, 1, 2, 1);
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"),
                       "forward: forget holds 0.5; allowed: logarithms of gates, at most 0", usage_error);
  in.input = dense(input, 1, 2, 1);
  CHECK_THROWS_WITH_AS(in.check_numbers("forward"),
                       "forward: input holds inf; allowed: logarithms of gates, below infinity", usage_error);
}
