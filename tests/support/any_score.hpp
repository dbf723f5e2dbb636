#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include <ringfold/sequence/alibi.hpp>
#include <ringfold/sequence/bias.hpp>
#include <ringfold/sequence/dropout.hpp>

#include "oracle.hpp"

/// \file
/// A score whose parts are chosen at run time, so that one compiled test serves all of them; and what it means.

namespace any_score {

using ringfold::extent;
using ringfold::token_pair;

/// The parts that there may be, in this order, behind one type.
template <class Bias>
using chain_of =
    ringfold::score_chain<ringfold::score_chain<ringfold::score_chain<ringfold::optional_part<ringfold::softcap_part>,
                                                                      ringfold::optional_part<ringfold::alibi_part>>,
                                                ringfold::optional_part<Bias>>,
                          ringfold::optional_part<ringfold::dropout_part>>;
using part = chain_of<ringfold::bias_part<double>>;
using learned_part = chain_of<ringfold::learned_bias_part<double, double>>;

/// Which parts there are, and the bias with which axes it has (bit 0 batch, 1 head, 2 query, 3 key).
struct choice {
  double cap = 0;
  bool linear = false;
  int bias_axes = -1;
  double drop = 0;
  std::uint64_t seed = 1;
};

/// The numbers of a bias over [batch, head, query, key], some of them -inf.
struct bias_numbers {
  extent extents[4] = {1, 1, 1, 1};
  std::vector<double> numbers;

  bias_numbers() = default;
  bias_numbers(int axes, const extent (&all)[4], std::uint64_t seed) {
    extent count = 1;
    for (int axis = 0; axis < 4; ++axis) {
      extents[axis] = (axes >> axis & 1) != 0 ? all[axis] : 1;
      count *= extents[axis];
    }
    std::mt19937_64 random(seed);
    for (extent i = 0; i < count; ++i) {
      double const number = static_cast<double>(random() % 2001) / 1000 - 1;
      numbers.push_back(count > 1 && random() % 7 == 0 ? -INFINITY : number);
    }
  }
  std::size_t index(const extent (&at)[4]) const {
    extent made = 0;
    for (int axis = 0; axis < 4; ++axis) made = made * extents[axis] + (extents[axis] == 1 ? 0 : at[axis]);
    return static_cast<std::size_t>(made);
  }
  template <class T>
  ringfold::view<T, 4> of(T* data) const {
    return ringfold::dense(data, extents[0], extents[1], extents[2], extents[3]);
  }
};

template <class Bias>
chain_of<Bias> put_together(const choice& c, extent heads, ringfold::scored<Bias> bias) {
  using ringfold::optionally;
  return (optionally(c.cap > 0, ringfold::softcap(c.cap > 0 ? c.cap : 1)) |
          optionally(c.linear, ringfold::alibi(heads)) | optionally(c.bias_axes >= 0, bias) |
          optionally(c.drop > 0, ringfold::dropout(c.drop, c.seed)))
      .parts;
}

/// The library's parts.
inline part make(const choice& c, extent heads, const bias_numbers& bias) {
  return put_together(c, heads, ringfold::bias(bias.of(bias.numbers.data())));
}
/// With a gradient of the bias, which is added to numbers of the same shape.
inline learned_part make(const choice& c, extent heads, const bias_numbers& bias, std::vector<double>& gradient) {
  return put_together(c, heads, ringfold::bias(bias.of(bias.numbers.data()), bias.of(gradient.data())));
}

/// What the same choice means, for the oracle.
struct meaning {
  choice c;
  extent heads;
  const bias_numbers* bias;

  oracle::changed operator()(double score, extent batch, extent head, extent query, extent key) const {
    double slope = 1;
    if (c.cap > 0) {
      double const t = std::tanh(score / c.cap);
      score = c.cap * t, slope = 1 - t * t;
    }
    if (c.linear) {
      double const whole = std::exp2(std::floor(std::log2(static_cast<double>(heads)))), h = static_cast<double>(head);
      double const fall =
          h < whole ? std::pow(2, -8 * (h + 1) / whole) : std::pow(2, -4 * (2 * (h - whole) + 1) / whole);
      score -= fall * std::fabs(static_cast<double>(query - key));
    }
    if (c.bias_axes >= 0) score += bias->numbers[bias->index({batch, head, query, key})];
    return {score, slope};
  }
};

/// Which weights are kept. Only the choice of words is the library's.
struct keeping {
  choice c;
  double operator()(extent batch, extent head, extent query, extent key) const {
    if (c.drop == 0) return 1;
    ringfold::philox const drawn(static_cast<std::uint32_t>(key / 4), static_cast<std::uint32_t>(query),
                                 static_cast<std::uint32_t>(head), static_cast<std::uint32_t>(batch), c.seed);
    return drawn.words[key % 4] < c.drop * 0x1p32 ? 0 : 1 / (1 - c.drop);
  }
};

}  // namespace any_score
