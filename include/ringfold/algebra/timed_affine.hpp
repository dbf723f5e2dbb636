#pragma once

#include <ringfold/algebra/affine.hpp>

/// \file
/// Affine maps of states whose elements decay at rates of their own, while time passes that columns share.

namespace ringfold {

/// How much time passes, and B; the rates are nobody's element and everybody's.
template <class A, class Space = host_space>
struct timed_element {
  view<A, 4, Space> gate;   ///< [batch, head, 1, columns]: time, never negative
  view<A, 4, Space> value;  ///< [batch, head, rows, columns]
  view<A, 4, Space> rates;  ///< [1, head, rows, columns], natural logarithms of decay by time; never positive
};

namespace detail {

struct apply_timed {
  template <class A>
  RINGFOLD_HD void operator()(A& into, const A& time, const A& rate, const A& state, const A& value) const {
    into = fused(exponential::exp2(time * rate, floating<A>::log2_e), state, value);
  }
};

}  // namespace detail

/// Maps S -> exp(time x rates) S + B of states [batch, heads, rows, columns], elementwise.
///
/// Time alone travels, a number for each column, and not a decay for each element: every rank has the rates. They lie in
/// memory of this algebra, which whoever makes an element fills through it.
/// Source: Mamba (Gu and Dao, 2023), whose states these are.
template <class A, class Space = host_space>
struct timed_affine {
  using number = A;
  using space = Space;
  using element = timed_element<A, Space>;
  using state = view<A, 4, Space>;

  extent batch, heads, rows, columns;
  state rates;  ///< [1, heads, rows, columns]

  state take_state(arena<Space>& memory) const { return memory.template take_view<A>(batch, heads, rows, columns); }
  element take_element(arena<Space>& memory) const {
    return {memory.template take_view<A>(batch, heads, extent{1}, columns), take_state(memory), rates};
  }

  static std::array<state, 1> views(const state& s) { return {s}; }
  static std::array<state, 2> views(const element& e) { return {e.gate, e.value}; }
  static const state& value_of(const element& e) { return e.value; }

  /// Some columns, as affine's.
  template <class Number>
  static view<Number, 4, Space> part(const view<Number, 4, Space>& s, int index, int count) {
    return affine<A, transition::elementwise, Space>::part(s, index, count);
  }
  static element part(const element& e, int index, int count) {
    return {part(e.gate, index, count), part(e.value, index, count), part(e.rates, index, count)};
  }
  extent most_parts() const { return columns; }
  /// What takes memory for such a part.
  timed_affine of_part(int index, int count) const {
    auto const narrow = part(rates, index, count);
    return {batch, heads, rows, narrow.extents[3], narrow};
  }

  /// into = what the element makes of a state; into has memory of its own.
  template <class Stream>
  static void apply(Stream on, const state& s, const element& e, const state& into) {
    on.elementwise(detail::apply_timed{}, into, detail::repeated(e.gate, 2, s.extents[2]),
                   detail::repeated(e.rates, 0, s.extents[0]), s, e.value);
  }

  /// into = first, then the other; into has memory of its own.
  template <class Stream>
  static void compose(Stream on, const element& first, const element& then, const element& into) {
    on.elementwise(detail::add_logarithms{}, into.gate, first.gate, then.gate);
    apply(on, first.value, then, into.value);
  }
};

}  // namespace ringfold
