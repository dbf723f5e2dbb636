#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
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

struct part : ringfold::score_part {
  static constexpr bool changes = true, bends = true, drops = true, collects = true;

  std::optional<ringfold::softcap_part> cap;
  std::optional<ringfold::alibi_part> linear;
  std::optional<ringfold::learned_bias_part<double, double>> bias;
  std::optional<ringfold::dropout_part> drop;

  template <class A>
  A operator()(A s, const token_pair& at) const {
    if (cap) s = (*cap)(s, at);
    if (linear) s = (*linear)(s, at);
    return bias ? (*bias)(s, at) : s;
  }
  template <class A>
  A slope(A s, const token_pair& at) const {
    return cap ? cap->slope(s, at) : A(1);
  }
  template <class A>
  A keep(const token_pair& at) const {
    return drop ? drop->keep<A>(at) : A(1);
  }
  template <class A>
  void collect(A gradient, const token_pair& at) const {
    if (bias && bias->gradient.data != nullptr) bias->collect(gradient, at);
  }
  void check(const ringfold::pair_bounds& of) const {
    if (linear) linear->check(of);
    if (bias) static_cast<const ringfold::bias_part<double>&>(*bias).check(of);
    if (drop) drop->check(of);
  }
};

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

/// The library's part; `gradient` is where that of the bias goes, or empty.
inline part make(const choice& c, extent heads, const bias_numbers& bias, std::vector<double>* gradient = nullptr) {
  part made;
  if (c.cap > 0) made.cap = ringfold::softcap(c.cap).parts;
  if (c.linear) made.linear = ringfold::alibi(heads).parts;
  if (c.bias_axes >= 0) {
    made.bias.emplace(bias.of(bias.numbers.data()),
                      bias.of(gradient != nullptr ? gradient->data() : static_cast<double*>(nullptr)));
  }
  if (c.drop > 0) made.drop = ringfold::dropout(c.drop, c.seed).parts;
  return made;
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
