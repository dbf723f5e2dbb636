#pragma once

#include <ringfold/algebra/affine.hpp>

/// \file
/// Affine maps of complex numbers, s -> a s + b, each with a number of its own.

namespace ringfold {

/// A complex number. The standard's own would cost every includer its streams, and its products ask for infinities.
template <class A>
struct complex_number {
  A real = 0, imaginary = 0;

  RINGFOLD_HD friend complex_number conjugate(complex_number a) { return {a.real, -a.imaginary}; }
  /// a b + c
  RINGFOLD_HD friend complex_number fused(complex_number a, complex_number b, complex_number c) {
    return {detail::fused(a.real, b.real, detail::fused(-a.imaginary, b.imaginary, c.real)),
            detail::fused(a.real, b.imaginary, detail::fused(a.imaginary, b.real, c.imaginary))};
  }
};

namespace detail {

/// first, then the other, on numbers whose imaginary parts lie in another row.
struct apply_complex {
  extent into_stride, factor_stride, state_stride, value_stride;

  template <class A>
  RINGFOLD_HD void operator()(A& into, const A& factor, const A& state, const A& value) const {
    auto const at = [](const A& real, extent stride) { return complex_number<A>{real, (&real)[stride]}; };
    auto const made = fused(at(factor, factor_stride), at(state, state_stride), at(value, value_stride));
    into = made.real, (&into)[into_stride] = made.imaginary;
  }
};

struct multiply_complex {
  extent into_stride, first_stride, then_stride;

  template <class A>
  RINGFOLD_HD void operator()(A& into, const A& first, const A& then) const {
    apply_complex{into_stride, first_stride, then_stride, 0}(into, first, then, A{0});
  }
};

}  // namespace detail

/// Maps of states [batch, heads, 2, columns]: real parts in the first row, imaginary parts in the second.
///
/// `gate` is the product of all factors itself: sums of angles would lose, over a long shard, what is left of a turn.
/// Factors are no larger than 1, so that products underflow to 0 and nothing else happens.
template <class A, class Space = host_space>
struct complex_affine : affine<A, transition::elementwise, Space> {
  using base = affine<A, transition::elementwise, Space>;
  using typename base::element, typename base::state;

  /// into = what the element makes of a state; into has memory of its own.
  template <class Stream>
  static void apply(Stream on, const state& s, const element& e, const state& into) {
    on.elementwise(detail::apply_complex{into.strides[2], e.gate.strides[2], s.strides[2], e.value.strides[2]},
                   real(into), real(e.gate), real(s), real(e.value));
  }

  /// into = first, then the other; into has memory of its own.
  template <class Stream>
  static void compose(Stream on, const element& first, const element& then, const element& into) {
    on.elementwise(detail::multiply_complex{into.gate.strides[2], first.gate.strides[2], then.gate.strides[2]},
                   real(into.gate), real(first.gate), real(then.gate));
    apply(on, first.value, then, into.value);
  }

  static element transposed(const element&, const state&) = delete;  // its gate is the conjugate

 private:
  static state real(const state& of) { return slice(of, 2, 0, 1); }
};

}  // namespace ringfold
