#pragma once

#include <ringfold/recurrence/short_convolution.hpp>

#include "experiment.hpp"

namespace rules {

/// A short convolution along the sequence. Inputs: x, weights.
struct convolved {
  extent width = 4, channels = 3;

  ringfold::short_convolution rule() const { return {}; }
  std::vector<input> inputs() const { return {{channels}, {channels * width, false}}; }
  extent out_width() const { return channels; }
  extent state_size() const { return (width - 1) * channels; }
  template <class T>
  auto problem(ringfold::layout tokens, documents packed, extent batch, extent heads) const {
    return ringfold::make_recurrence<T>(tokens, {.batch = batch, .heads = heads, .dim = width, .value_dim = channels},
                                        packed);
  }

  template <class N>
  void define(const one_head& e, values<N>& x) const {
    for (extent c = 0; c < channels; ++c) {
      extent begin = 0;  // of the document
      auto const token = [&](extent t) {
        if (t >= begin) return x.in[0][e.at(t, c, channels)];
        return begin > 0 ? N(0) : x.initial[e.at(width - 1 + t, c, channels)];
      };
      for (extent t = 0; t < e.tokens; ++t) {
        if (e.begins(t)) begin = t;
        for (extent w = 0; w < width; ++w) {
          x.out[e.at(t, c, channels)] += x.in[1][e.at(c, w, width)] * token(t - (width - 1) + w);
        }
      }
      for (extent row = 0; row < width - 1; ++row) {
        x.final[e.at(row, c, channels)] = token(e.tokens - (width - 1) + row);
      }
    }
  }

  template <class Tensors, class E, class S>
  Tensors tensors(const std::vector<E>& elements, const std::vector<S>& sums) const {
    return {elements[0], weights(sums[1])};
  }

 private:
  template <class A>
  ringfold::view<A, 3> weights(const ringfold::view<A, 4>& of) const {
    return {of.data, {of.extents[2], channels, width}, {of.strides[2], width, 1}};
  }
};

}  // namespace rules
