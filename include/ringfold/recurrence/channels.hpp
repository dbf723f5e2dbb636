#pragma once

#include <ringfold/algebra/complex_affine.hpp>
#include <ringfold/recurrence/diagonal_tensors.hpp>

/// \file
/// Real and complex numbers of channels, side by side.

namespace ringfold::detail {

/// The numbers of a token or of a state, channel by channel; imaginary parts follow all real ones.
template <class A, field Field>
struct channels;

template <class A>
struct channels<A, field::real> {
  using number = A;
  A* data;
  extent count;
  number operator[](extent c) const { return data[c]; }
  void set(extent c, number to) const { data[c] = to; }
};

template <class A>
struct channels<A, field::complex> {
  using number = complex_number<A>;
  A* data;
  extent count;
  number operator[](extent c) const { return {data[c], data[count + c]}; }
  void set(extent c, number to) const { data[c] = to.real, data[count + c] = to.imaginary; }
};

template <class A>
  requires std::is_floating_point_v<A>
A conjugate(A a) {
  return a;
}

/// state = factor state + x for all channels.
template <class Row>
void step(Row factor, Row state, Row x) {
  for (extent c = 0; c < state.count; ++c) state.set(c, fused(factor[c], state[c], x[c]));
}

/// The cotangents of states that were multiplied, from those of the products.
template <class Row>
void step_back(Row factor, Row cotangent) {
  using number = typename Row::number;
  for (extent c = 0; c < cotangent.count; ++c) {
    cotangent.set(c, fused(conjugate(factor[c]), cotangent[c], number{}));
  }
}

/// The gradient of a factor's logarithm, its real part that of the size's and its imaginary part that of the angle, from
/// the state that was multiplied and its cotangent.
template <class N>
N slope_of(N state, N cotangent) {
  return fused(conjugate(state), cotangent, N{});
}

}  // namespace ringfold::detail
