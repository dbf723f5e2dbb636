#pragma once

#include <ringfold/recurrence/selective_scan.hpp>

#include "experiment.hpp"

namespace rules {

/// Mamba-1. Inputs: x, time, write, read, rates.
struct selective {
  extent states = 2, channels = 3, chunk = 4;
  double fastest = 3;

  ringfold::selective_scan rule() const { return {chunk}; }
  std::vector<input> inputs() const {
    return {{channels}, {channels, true, 0, 1}, {states}, {states}, {states * channels, false, -fastest, 0}};
  }
  extent out_width() const { return channels; }
  extent state_size() const { return states * channels; }
  template <class T>
  auto problem(ringfold::layout tokens, documents packed, extent batch, extent heads) const {
    return ringfold::make_recurrence<T>(tokens, {.batch = batch, .heads = heads, .dim = states, .value_dim = channels},
                                        packed);
  }

  template <class N>
  void define(const one_head& e, values<N>& x) const {
    using std::exp;
    for (extent n = 0; n < states; ++n) {
      for (extent d = 0; d < channels; ++d) {
        N const rate = x.in[4][e.at(n, d, channels)];
        N state = x.initial[e.at(n, d, channels)];
        for (extent t = 0; t < e.tokens; ++t) {
          auto const at = e.at(t, d, channels), of_state = e.at(t, n, states);
          N const time = x.in[1][at];
          if (e.begins(t)) state = N(0);
          state = exp(time * rate) * state + time * x.in[0][at] * x.in[2][of_state];
          x.out[at] += x.in[3][of_state] * state;
        }
        x.final[e.at(n, d, channels)] = state;
      }
    }
  }

  template <class Tensors, class E, class S>
  Tensors tensors(const std::vector<E>& elements, const std::vector<S>& sums) const {
    return {elements[0], sums[1], elements[2], elements[3], rates(sums[4])};
  }

 private:
  template <class A>
  ringfold::view<A, 3> rates(const ringfold::view<A, 4>& of) const {
    return {of.data, {of.extents[2], states, channels}, {of.strides[2], channels, 1}};
  }
};

}  // namespace rules
