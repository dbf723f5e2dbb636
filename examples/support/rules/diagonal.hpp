#pragma once

#include <ringfold/recurrence/diagonal_recurrence.hpp>

#include "experiment.hpp"

namespace rules {

/// h_t = a_t h_(t-1) + x_t by channels. Inputs: x, logarithms of factors' sizes, and angles. Learned factors are the same
/// for all tokens, as LRU's are.
template <ringfold::field Field, ringfold::factors Factors = ringfold::factors::of_tokens>
struct diagonal {
  extent channels = 3;
  double strength = 2, resets = 0.05;

  static constexpr bool learned = Factors == ringfold::factors::learned, complex = Field == ringfold::field::complex;
  static constexpr extent parts = complex ? 2 : 1;
  ringfold::diagonal_recurrence<Field, Factors> rule() const { return {}; }
  std::vector<input> inputs() const {
    return {{parts * channels},
            {channels, !learned, -strength, 0, learned ? 0 : resets},
            {complex ? channels : 0, !learned, -4, 4}};
  }
  extent out_width() const { return parts * channels; }
  extent state_size() const { return parts * channels; }
  template <class T>
  auto problem(ringfold::layout tokens, documents packed, extent batch, extent heads) const {
    return ringfold::make_recurrence<T>(tokens, {.batch = batch, .heads = heads, .dim = 1, .value_dim = out_width()},
                                        packed);
  }

  template <class N>
  void define(const one_head& e, values<N>& x) const {
    using std::exp, std::sin, std::cos;
    for (extent c = 0; c < channels; ++c) {
      auto const at = [&](extent t, extent part) { return e.at(t, part * channels + c, out_width()); };
      auto const state_at = [&](extent part) { return e.at(part, c, channels); };
      N real = x.initial[state_at(0)], imaginary = complex ? x.initial[state_at(parts - 1)] : N(0);
      for (extent t = 0; t < e.tokens; ++t) {
        auto const i = learned ? static_cast<std::size_t>(c) : e.at(t, c, channels);
        if (e.begins(t)) real = imaginary = N(0);
        N const size = exp(x.in[1][i]), angle = complex ? x.in[2][i] : N(0);
        N const turned = size * (cos(angle) * real - sin(angle) * imaginary);
        if (complex) {
          imaginary = size * (sin(angle) * real + cos(angle) * imaginary) + x.in[0][at(t, parts - 1)];
          x.out[at(t, parts - 1)] = imaginary;
        }
        real = turned + x.in[0][at(t, 0)];
        x.out[at(t, 0)] = real;
      }
      x.final[state_at(0)] = real;
      if (complex) x.final[state_at(parts - 1)] = imaginary;
    }
  }

  template <class Tensors, class E, class S>
  Tensors tensors(const std::vector<E>& elements, const std::vector<S>& sums) const {
    if constexpr (complex) {
      return {elements[0], factor(sums[1]), factor(sums[2])};
    } else {
      return {elements[0], factor(sums[1])};
    }
  }

 private:
  template <class A>
  auto factor(const ringfold::view<A, 4>& of) const {
    if constexpr (learned) {
      return ringfold::view<A, 2>{of.data, {of.extents[2], of.extents[3]}, {of.strides[2], of.strides[3]}};
    } else {
      return of;
    }
  }
};

}  // namespace rules
