#pragma once

#include <ringfold/recurrence/mlstm.hpp>

#include "experiment.hpp"

namespace rules {

/// mLSTM. Inputs: q, k, v, logarithms of input and of forget gates.
struct memory_cell {
  extent dim = 2, value_dim = 3, chunk = 4;
  double strongest = 2, resets = 0, scale = 0.75;

  ringfold::mlstm rule() const { return {chunk}; }
  std::vector<input> inputs() const {
    return {{dim}, {dim}, {value_dim}, {1, true, -strongest, strongest, resets}, {1, true, -2, 0, resets}};
  }
  extent out_width() const { return value_dim; }
  extent state_size() const { return (dim + 1) * (value_dim + 1); }
  template <class T>
  auto problem(ringfold::layout tokens, documents packed, extent batch, extent heads) const {
    return ringfold::make_recurrence<T>(tokens, {.batch = batch, .heads = heads, .dim = dim, .value_dim = value_dim},
                                        packed, scale);
  }

  /// States as they are, without exponents: 0 stands where those were.
  numbers plain(const numbers& states) const {
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

  template <class N>
  void define(const one_head& e, values<N>& x) const {
    using std::exp, std::fabs, std::max;
    extent const width = value_dim + 1;
    std::vector<N> state(x.initial.begin(), x.initial.begin() + dim * width);
    for (extent t = 0; t < e.tokens; ++t) {
      N const in = exp(x.in[3][e.at(t, 0, 1)]), left = exp(x.in[4][e.at(t, 0, 1)]);
      if (e.begins(t)) std::fill(state.begin(), state.end(), N(0));
      std::vector<N> read(static_cast<std::size_t>(width));
      for (extent d = 0; d < dim; ++d) {
        for (extent j = 0; j < width; ++j) {
          auto& each = state[static_cast<std::size_t>(d * width + j)];
          N const v = j == value_dim ? N(1) : x.in[2][e.at(t, j, value_dim)];
          each = left * each + in * x.in[1][e.at(t, d, dim)] * v;
          read[static_cast<std::size_t>(j)] += N(scale) * x.in[0][e.at(t, d, dim)] * each;
        }
      }
      for (extent j = 0; j < value_dim; ++j) {
        x.out[e.at(t, j, value_dim)] = read[static_cast<std::size_t>(j)] / max(fabs(read.back()), N(1));
      }
    }
    std::copy(state.begin(), state.end(), x.final.begin());
  }

  template <class Tensors, class E, class S>
  Tensors tensors(const std::vector<E>& elements, const std::vector<S>& sums) const {
    return {elements[0], elements[1], elements[2], first_of_rows(sums[3]), first_of_rows(sums[4])};
  }
};

}  // namespace rules
