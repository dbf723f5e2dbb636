#pragma once

#include <array>

#include <ringfold/algebra/scan_algebra.hpp>
#include <ringfold/core/dtype.hpp>
#include <ringfold/core/stream.hpp>

/// \file
/// An algebra whose states are kept, and travel, as narrower numbers than sums are in.

namespace ringfold {

namespace detail {

/// An element of an algebra whose elements have a `gate` and a `value`, with a narrower value.
template <class Element, class State>
struct narrow_element {
  Element sums;  ///< its gate, and memory to widen its value in
  State value;
};

}  // namespace detail

/// The algebra of G with states and values of T: they are widened to be worked with, and what is made is rounded.
///
/// Elements of G are made of a `gate` and a `value`, and its part(view, index, count) takes views of any number. Gates are
/// G's own numbers, contiguous along their last axis, and travel as their bits do, two or four numbers of T for each.
/// Every element has memory to widen its value in; for states there is some that all of this algebra share.
/// \snippet collective/narrow_scan_test.cpp narrowed
template <class G, class T>
class narrowed {
 public:
  using number = T;
  using space = typename G::space;
  using state = view<T, 4, space>;
  using element = detail::narrow_element<typename G::element, state>;
  static_assert(sizeof(T) < sizeof(typename G::number),
                "[ringfold] narrow: states are of no wider numbers than this; send them as they are");
  static_assert(!std::is_same_v<T, f16>,
                "[ringfold] narrow: f16 ends at 65504, and states may grow beyond; use    bf16    or    float");
  static_assert(
      !requires { requires G::holds_exponents; },
      "[ringfold] narrow: these states hold exponents, which cannot be rounded; send them as they are");

  narrowed(G of, arena<space>& memory)
      : of_(of), entering_(of.take_state(memory).data), leaving_(of.take_state(memory).data) {}

  state take_state(arena<space>& memory) const {
    arena<space> nowhere;
    auto const sums = of_.take_state(nowhere);
    auto const* const e = sums.extents;
    return memory.template take_view<T>(e[0], e[1], e[2], e[3]);
  }
  element take_element(arena<space>& memory) const { return {of_.take_element(memory), take_state(memory)}; }

  static std::array<state, 1> views(const state& s) { return {s}; }
  auto views(const element& e) const {
    constexpr std::size_t count = std::tuple_size_v<decltype(of_.views(e.sums))>;
    static_assert(count <= 2,
                  "[ringfold] narrow: elements have a gate, or none, and a value; this algebra's have more");
    if constexpr (count == 1) {
      return std::array{e.value};
    } else {
      return std::array{bits_of(e.sums.gate), e.value};
    }
  }
  static const state& value_of(const element& e) { return e.value; }

  state part(const state& s, int index, int count) const { return of_.part(s, index, count); }
  element part(const element& e, int index, int count) const {
    return {of_.part(e.sums, index, count), part(e.value, index, count)};
  }
  extent most_parts() const { return of_.most_parts(); }
  /// What takes memory for such a part.
  auto of_part(int index, int count) const {
    auto const part_of = of_.of_part(index, count);
    return narrowed<std::remove_const_t<decltype(part_of)>, T>(part_of, entering_, leaving_);
  }

  /// into = what the element makes of a state; into has memory of its own.
  template <class Stream>
  void apply(Stream on, const state& s, const element& e, const state& into) const {
    auto const enters = sums_like(s, entering_), leaves = sums_like(into, leaving_);
    on.elementwise(elementwise::round_to{}, enters, s);
    of_.apply(on, enters, widened(on, e), leaves);
    on.elementwise(elementwise::round_to{}, into, leaves);
  }

  /// into = first, then the other; into has memory of its own.
  template <class Stream>
  void compose(Stream on, const element& first, const element& then, const element& into) const {
    of_.compose(on, widened(on, first), widened(on, then), into.sums);
    on.elementwise(elementwise::round_to{}, into.value, into.sums.value);
  }

  /// Takes an element of G over: its gate as it is, its value rounded.
  template <class Stream>
  static void take_over(Stream on, const typename G::element& from, const element& into) {
    on.elementwise(elementwise::round_to{}, into.sums.gate, from.gate);
    on.elementwise(elementwise::round_to{}, into.value, from.value);
  }

 private:
  template <class, class>
  friend class narrowed;
  using wide = typename G::number;

  narrowed(G of, wide* entering, wide* leaving) : of_(of), entering_(entering), leaving_(leaving) {}

  static view<wide, 4, space> sums_like(const state& s, wide* data) {
    return dense<space>(data, s.extents[0], s.extents[1], s.extents[2], s.extents[3]);
  }
  template <class Stream>
  static const typename G::element& widened(Stream on, const element& e) {
    on.elementwise(elementwise::round_to{}, e.sums.value, e.value);
    return e.sums;
  }
  static state bits_of(const view<wide, 4, space>& gate) {
    constexpr extent each = sizeof(wide) / sizeof(T);
    auto const *n = gate.extents, *s = gate.strides;
    return {
        reinterpret_cast<T*>(gate.data), {n[0], n[1], n[2], n[3] * each}, {s[0] * each, s[1] * each, s[2] * each, 1}};
  }

  G of_;
  wide *entering_, *leaving_;
};

}  // namespace ringfold
