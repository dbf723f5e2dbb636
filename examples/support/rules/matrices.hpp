#pragma once

#include <ringfold/recurrence/decay.hpp>
#include <ringfold/recurrence/delta.hpp>

#include "experiment.hpp"

namespace rules {

enum class writing : unsigned char { adds, corrects, of_low_rank };

/// States of matrices that forget, and what a token writes: its value (linear attention), what its value differs from what
/// its key reads (delta rules), or its value and what another vector reads (RWKV-7).
/// Inputs: q, k, v, beta or a and b, logarithms of decays.
template <writing Writing, ringfold::gating Gates>
struct matrices {
  extent dim = 3, value_dim = 4, chunk = 4;
  double strength = 2, resets = 0.05, scale = 0.5;

  static constexpr bool gated = Gates != ringfold::gating::none, by_head = Gates == ringfold::gating::per_head;
  static constexpr std::size_t gates_at = Writing == writing::adds ? 3 : Writing == writing::corrects ? 4 : 5;

  auto rule() const {
    if constexpr (Writing == writing::adds) {
      return ringfold::decay<Gates>{chunk};
    } else if constexpr (Writing == writing::corrects) {
      return ringfold::delta_rule<Gates>{chunk};
    } else {
      return ringfold::dplr<Gates>{chunk};
    }
  }
  /// Keys and betas are such that beta k^T k is at most 2, and no state grows; low ranks let them grow but little.
  std::vector<input> inputs() const {
    double const longest = Writing == writing::adds ? 1 : std::sqrt(1 / static_cast<double>(dim));
    std::vector<input> made{{dim}, {dim, true, -longest, longest}, {value_dim}};
    if (Writing == writing::corrects) made.push_back({1, true, 0, 2});
    if (Writing == writing::of_low_rank) made.insert(made.end(), 2, {dim, true, -longest / 2, longest / 2});
    made.push_back({gate_width(), !by_head, -strength, 0, by_head ? 0 : resets});
    return made;
  }
  extent gate_width() const { return Gates == ringfold::gating::per_row ? dim : gated ? 1 : 0; }
  extent out_width() const { return value_dim; }
  extent state_size() const { return dim * value_dim; }
  template <class T>
  auto problem(ringfold::layout tokens, documents packed, extent batch, extent heads) const {
    return ringfold::make_recurrence<T>(tokens, {.batch = batch, .heads = heads, .dim = dim, .value_dim = value_dim},
                                        packed, scale);
  }

  template <class N>
  void define(const one_head& e, values<N>& x) const {
    using std::exp;
    std::vector<N> state = x.initial;
    auto const in = [&](std::size_t of, extent t, extent i, extent width) { return x.in[of][e.at(t, i, width)]; };
    for (extent t = 0; t < e.tokens; ++t) {
      if (e.begins(t)) std::fill(state.begin(), state.end(), N(0));
      auto const read_by = [&](std::size_t of, extent j) {
        N sum(0);
        for (extent d = 0; d < dim; ++d) sum += in(of, t, d, dim) * state[static_cast<std::size_t>(d * value_dim + j)];
        return sum;
      };
      auto const forget = [&](extent d) {
        extent const width = gate_width(), i = width > 1 ? d : 0;
        N const left = gated ? exp(x.in[gates_at][by_head ? 0 : e.at(t, i, width)]) : N(1);
        for (extent j = 0; j < value_dim; ++j) state[static_cast<std::size_t>(d * value_dim + j)] *= left;
      };
      std::vector<N> read(static_cast<std::size_t>(value_dim));
      for (extent j = 0; j < value_dim && Writing == writing::of_low_rank; ++j)
        read[static_cast<std::size_t>(j)] = read_by(3, j);
      for (extent d = 0; d < dim; ++d) forget(d);
      for (extent j = 0; j < value_dim; ++j) {
        N const value = in(2, t, j, value_dim);
        N const corrected = Writing == writing::corrects ? in(3, t, 0, 1) * (value - read_by(1, j)) : value;
        for (extent d = 0; d < dim; ++d) {
          N& each = state[static_cast<std::size_t>(d * value_dim + j)];
          each += in(1, t, d, dim) * corrected;
          if (Writing == writing::of_low_rank) each += in(4, t, d, dim) * read[static_cast<std::size_t>(j)];
        }
        x.out[e.at(t, j, value_dim)] = N(scale) * read_by(0, j);
      }
    }
    x.final = state;
  }

  template <class Tensors, class E, class S>
  Tensors tensors(const std::vector<E>& elements, const std::vector<S>& sums) const {
    auto const gates = of_gates(sums[gates_at]);
    if constexpr (Writing == writing::adds) {
      return {elements[0], elements[1], elements[2], gates};
    } else if constexpr (Writing == writing::corrects) {
      return {elements[0], elements[1], elements[2], first_of_rows(sums[3]), gates};
    } else {
      return {elements[0], elements[1], elements[2], elements[3], elements[4], gates};
    }
  }

 private:
  template <class A>
  static auto of_gates(const ringfold::view<A, 4>& all) {
    if constexpr (Gates == ringfold::gating::none) {
      return ringfold::view<A, 1>{};
    } else if constexpr (by_head) {
      return ringfold::view<A, 1>{all.data, {all.extents[2]}, {all.strides[2]}};
    } else if constexpr (Gates == ringfold::gating::per_token) {
      return first_of_rows(all);
    } else {
      return all;
    }
  }
};

}  // namespace rules
