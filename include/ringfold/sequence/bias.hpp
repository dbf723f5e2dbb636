#pragma once

#include <ringfold/core/overlap.hpp>
#include <ringfold/sequence/score.hpp>

/// \file
/// A number added to each score.

namespace ringfold {

namespace detail {

/// The element of a [batch, head, query, key] view for a pair; an axis of extent 1 holds for all.
template <class T>
T& element_for(const view<T, 4>& of, const token_pair& at) {
  auto const index = [&](int axis, extent i) { return of.extents[axis] == 1 ? 0 : i; };
  return of(index(0, at.batch), index(1, at.head), index(2, at.query), index(3, at.key));
}

template <class T>
void check_bias(const char* what, const view<T, 4>& given, const pair_bounds& of) {
  extent const wanted[] = {of.batches, of.heads, of.queries, of.keys};
  constexpr const char* names[] = {"batches", "heads", "queries", "keys"};
  for (int axis = 0; axis < 4; ++axis) {
    if (given.extents[axis] == 1 || given.extents[axis] == wanted[axis]) continue;
    throw shape_error(say("%s: %lld %s do not broadcast to %lld; 1 and %lld do", what,
                          static_cast<long long>(given.extents[axis]), names[axis],
                          static_cast<long long>(wanted[axis]), static_cast<long long>(wanted[axis])));
  }
  if (given.data == nullptr && given.size() > 0) throw usage_error(say("%s: it has no memory", what));
}

}  // namespace detail

/// s becomes s + bias.
template <class T>
struct bias_part : score_part {
  static constexpr bool changes = true;
  view<const T, 4> numbers;

  explicit bias_part(view<const T, 4> of) : numbers(of) {}

  template <class A>
  A operator()(A s, const token_pair& at) const {
    return s + static_cast<A>(detail::element_for(numbers, at));
  }
  void check(const pair_bounds& of) const { detail::check_bias("bias", numbers, of); }
};

/// The same, with its gradient.
template <class T, class Sum>
struct learned_bias_part : bias_part<T> {
  static constexpr bool collects = true;
  view<Sum, 4> gradient;

  learned_bias_part(view<const T, 4> of, view<Sum, 4> to) : bias_part<T>(of), gradient(to) {}

  template <class A>
  void collect(A slope, const token_pair& at) const {
    detail::element_for(gradient, at) += static_cast<Sum>(slope);
  }
  void check(const pair_bounds& of) const {
    bias_part<T>::check(of);
    detail::check_bias("bias gradient", gradient, of);
    if (detail::overlap(gradient, this->numbers)) {
      throw alias_error(say("bias: its gradient overlaps it; give it memory of its own"));
    }
  }
};

/// Adds bias(batch, head, query, key), in the numbers of the whole problem; an axis of extent 1 holds for all.
///
/// Every rank holds the bias of all pairs that it may compute: in full, or broadcast. It may be -inf, which hides the
/// pair, unless a part behind it bends that. It stays yours, and readable as long as plans use it.
template <class T>
scored<bias_part<std::remove_const_t<T>>> bias(view<T, 4> numbers) {
  return {0, bias_part<std::remove_const_t<T>>(numbers)};
}

/// The same; a backward pass adds the gradient of this rank's pairs to another view, which broadcasts likewise. Set it
/// to zero first, and add up the ranks', as a data-parallel gradient.
template <class T, class Sum>
scored<learned_bias_part<std::remove_const_t<T>, Sum>> bias(view<T, 4> numbers, view<Sum, 4> gradient) {
  return {0, {numbers, gradient}};
}

}  // namespace ringfold
