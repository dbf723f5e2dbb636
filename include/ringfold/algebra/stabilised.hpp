#pragma once

#include <ringfold/algebra/affine.hpp>

/// \file
/// States that grow and shrink beyond all numbers: kept with an exponent beside them.

namespace ringfold {

namespace detail {

/// e^(exponent - largest), where nothing at all has an exponent of -inf.
template <class A>
RINGFOLD_HD A share_of(A exponent, A largest) {
  return exponent == -floating<A>::infinity ? A{0} : exponential::exp2(exponent - largest, floating<A>::log2_e);
}

/// One column: its last row is the exponent of those before.
struct apply_stabilised {
  extent rows, into_stride, state_stride, value_stride;

  template <class A>
  RINGFOLD_HD void operator()(A& into, const A& gate, const A& state, const A& value) const {
    bool nothing = true;  // zeros are zeros, whatever stands beside them
    for (extent row = 0; row + 1 < rows; ++row) nothing = nothing && (&state)[row * state_stride] == 0;
    A const left = nothing ? -floating<A>::infinity : (&state)[(rows - 1) * state_stride] + gate;
    A const own = (&value)[(rows - 1) * value_stride], largest = numbers::max(left, own);
    A const of_left = share_of(left, largest), of_own = share_of(own, largest);
    for (extent row = 0; row + 1 < rows; ++row) {
      (&into)[row * into_stride] = fused(of_left, (&state)[row * state_stride], of_own * (&value)[row * value_stride]);
    }
    (&into)[(rows - 1) * into_stride] = largest;
  }
};

}  // namespace detail

/// Maps S -> exp(gate) S + B, a gate for each head, of states e^m C with m the largest exponent that went into them.
///
/// A state is [batch, heads, rows, columns]: the last row holds m, for each column, and those before it C. Nothing is
/// overflown by an exponential that the largest one is taken out of; an element of no tokens has an m of -inf, and
/// columns of zeros count as nothing whatever their m.
/// Source: the stabiliser state of xLSTM (Beck et al., 2024), as a monoid.
template <class A, class Space = host_space>
struct stabilised : affine<A, transition::scalar, Space> {
  using base = affine<A, transition::scalar, Space>;
  using typename base::element, typename base::state;
  static constexpr bool holds_exponents = true;  ///< which no number may be rounded beside

  /// into = what the element makes of a state; into has memory of its own.
  template <class Stream>
  static void apply(Stream on, const state& s, const element& e, const state& into) {
    auto const first_row = [](const state& of) { return slice(of, 2, 0, 1); };
    on.elementwise(detail::apply_stabilised{s.extents[2], into.strides[2], s.strides[2], e.value.strides[2]},
                   first_row(into), detail::repeated(e.gate, 3, s.extents[3]), first_row(s), first_row(e.value));
  }

  /// into = first, then the other; into has memory of its own.
  template <class Stream>
  static void compose(Stream on, const element& first, const element& then, const element& into) {
    on.elementwise(detail::add_logarithms{}, into.gate, first.gate, then.gate);
    apply(on, first.value, then, into.value);
  }

  static element transposed(const element&, const state&) = delete;  // exponents are no linear map
};

}  // namespace ringfold
