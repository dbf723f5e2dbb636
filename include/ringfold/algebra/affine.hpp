#pragma once

#include <array>
#include <type_traits>

#include <ringfold/algebra/exponential.hpp>
#include <ringfold/core/stream.hpp>
#include <ringfold/core/workspace.hpp>

/// \file
/// Affine maps of a state, S -> A S + B: what the tokens of a shard make of the state that enters it.

namespace ringfold {

/// What A is: 1, a number for each head, for each row of the state or for each of its elements, or a matrix.
///
/// Numbers are decays, kept as their logarithms (natural, never positive), so that long products underflow to 0 and
/// nothing else happens.
enum class transition : unsigned char { identity, scalar, diagonal, elementwise, dense };

/// A or its logarithm, and B.
template <class A, class Space = host_space>
struct affine_element {
  view<A, 4, Space> gate;   ///< [batch, head, rows or 1, columns of A or of the state or 1]; none for the identity
  view<A, 4, Space> value;  ///< [batch, head, rows, columns]
};

namespace detail {

/// out = A s + b with s and out the elements of one row and column; A by its first element of the row, s of the column.
template <transition Kind>
struct apply_affine {
  extent rows = 0, gate_stride = 0, state_stride = 0;

  template <class A>
  RINGFOLD_HD void operator()(A& out, const A& gate, const A& state, const A& value) const {
    if constexpr (Kind == transition::identity) {
      out = state + value;
    } else if constexpr (Kind == transition::dense) {
      A sum = value;
      for (extent k = 0; k < rows; ++k) sum = fused((&gate)[k * gate_stride], (&state)[k * state_stride], sum);
      out = sum;
    } else {
      out = fused(exponential::exp2(gate, floating<A>::log2_e), state, value);
    }
  }
};

/// One element of a product of matrices, from the first of a row and of a column.
struct product {
  extent terms, row_stride, column_stride;

  template <class A>
  RINGFOLD_HD void operator()(A& out, const A& row, const A& column) const {
    A sum = 0;
    for (extent k = 0; k < terms; ++k) sum = fused((&row)[k * row_stride], (&column)[k * column_stride], sum);
    out = sum;
  }
};

struct add_logarithms {
  template <class A>
  RINGFOLD_HD void operator()(A& out, const A& first, const A& then) const {
    out = first + then;
  }
};

/// A view that shows the same elements along an axis again and again.
template <class T, class Space>
view<T, 4, Space> repeated(view<T, 4, Space> of, int axis, extent count) {
  of.extents[axis] = count, of.strides[axis] = 0;
  return of;
}

}  // namespace detail

/// Affine maps of states [batch, head, rows, columns], as a monoid of elements and as an action on states.
///
/// Sums are in A, float or double. States may be cut along columns, and where A is no matrix along rows.
template <class A, transition Kind, class Space = host_space>
struct affine {
  using number = A;
  using space = Space;
  using element = affine_element<A, Space>;
  using state = view<A, 4, Space>;
  static constexpr transition kind = Kind;
  static constexpr int element_parts = Kind == transition::identity ? 1 : 2;

  extent batch, heads, rows, columns;

  state take_state(arena<Space>& memory) const { return memory.template take_view<A>(batch, heads, rows, columns); }
  element take_element(arena<Space>& memory) const {
    return {memory.template take_view<A>(Kind == transition::identity ? 0 : batch, heads,
                                         Kind == transition::scalar ? 1 : rows,
                                         Kind == transition::dense         ? rows
                                         : Kind == transition::elementwise ? columns
                                                                           : 1),
            take_state(memory)};
  }

  static std::array<state, 1> views(const state& s) { return {s}; }
  static std::array<state, element_parts> views(const element& e) {
    if constexpr (Kind == transition::identity) {
      return {e.value};
    } else {
      return {e.gate, e.value};
    }
  }

  /// The state after an element that was entered with zero; the part of an element that a constant map keeps.
  static const state& value_of(const element& e) { return e.value; }

  /// Some columns of a state, of `count` nearly equal parts; every schedule may cut these.
  template <class Number>
  static view<Number, 4, Space> part(const view<Number, 4, Space>& s, int index, int count) {
    extent const columns = s.extents[3], small = columns / count, larger = columns % count;
    return slice(s, 3, index * small + (index < larger ? index : larger), small + (index < larger ? 1 : 0));
  }
  static element part(const element& e, int index, int count) {
    return {Kind == transition::elementwise ? part(e.gate, index, count) : e.gate, part(e.value, index, count)};
  }
  extent most_parts() const { return columns; }
  /// What takes memory for such a part.
  affine of_part(int index, int count) const {
    return {batch, heads, rows, part(state{nullptr, {batch, heads, rows, columns}, {}}, index, count).extents[3]};
  }

  /// into = what the element makes of a state; into has memory of its own.
  template <class Stream>
  static void apply(Stream on, const state& s, const element& e, const state& into) {
    extent const rows = s.extents[2], columns = s.extents[3];
    if constexpr (Kind == transition::identity) {
      on.elementwise(detail::apply_affine<Kind>{}, into, s, s, e.value);
    } else if constexpr (Kind == transition::dense) {
      auto const first_of_row = detail::repeated(slice(e.gate, 3, 0, 1), 3, columns);
      auto const first_of_column = detail::repeated(slice(s, 2, 0, 1), 2, rows);
      on.elementwise(detail::apply_affine<Kind>{rows, e.gate.strides[3], s.strides[2]}, into, first_of_row,
                     first_of_column, e.value);
    } else {
      auto gate = Kind == transition::elementwise ? e.gate : detail::repeated(e.gate, 3, columns);
      if (Kind == transition::scalar) gate = detail::repeated(gate, 2, rows);
      on.elementwise(detail::apply_affine<Kind>{}, into, gate, s, e.value);
    }
  }

  /// into = first, then the other; into has memory of its own.
  template <class Stream>
  static void compose(Stream on, const element& first, const element& then, const element& into) {
    if constexpr (Kind == transition::dense) {
      extent const rows = first.gate.extents[2];
      auto const first_of_row = detail::repeated(slice(then.gate, 3, 0, 1), 3, rows);
      auto const first_of_column = detail::repeated(slice(first.gate, 2, 0, 1), 2, rows);
      on.elementwise(detail::product{rows, then.gate.strides[3], first.gate.strides[2]}, into.gate, first_of_row,
                     first_of_column);
    } else if constexpr (Kind != transition::identity) {
      on.elementwise(detail::add_logarithms{}, into.gate, first.gate, then.gate);
    }
    apply(on, first.value, then, into.value);
  }

  /// The map of cotangents, from the state that leaves to the one that enters: A transposed, and a value of its own.
  static element transposed(const element& e, const state& value) {
    if constexpr (Kind == transition::dense) {
      return {ringfold::transposed(e.gate, 2, 3), value};
    } else {
      return {e.gate, value};
    }
  }
};

}  // namespace ringfold
