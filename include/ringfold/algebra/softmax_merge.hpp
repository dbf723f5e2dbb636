#pragma once

#include <concepts>
#include <type_traits>

#include <ringfold/algebra/exponential.hpp>
#include <ringfold/algebra/monoid.hpp>
#include <ringfold/algebra/partial.hpp>
#include <ringfold/core/stream.hpp>

/// \file
/// The merge of closed softmax partials: a commutative monoid with the identity (0, -inf).
///
/// The widespread form `o -= sigmoid(lse_b - lse_a) * (o - o_b)` is not one: it gives NaN when a row is still empty.

namespace ringfold {

namespace detail {
template <class Base, class T>
struct logarithm_of;  // log2(x) = to_2 * log_base(x) and back
template <class T>
struct logarithm_of<base_e, T> {
  static constexpr T to_2 = floating<T>::log2_e, from_2 = floating<T>::ln_2;
};
template <class T>
struct logarithm_of<base_2, T> {
  static constexpr T to_2 = 1, from_2 = 1;
};
}  // namespace detail

/// The log-sum-exp of two partials together, and what their outputs count for in it.
template <class T>
struct merged_lse {
  T lse, weight_a, weight_b;
};

/// Merges two log-sum-exps, each finite or -inf. The weights add up to 1, or are both 0 when both rows are empty.
///
/// Exchanging a and b exchanges the weights and changes no bit; -inf changes no bit of the other side.
template <class Base = base_e, std::floating_point T>
RINGFOLD_HD merged_lse<T> merged_weights(T lse_a, T lse_b) {
  using logarithm = detail::logarithm_of<Base, T>;
  bool const b_is_larger = lse_a < lse_b;
  T const high = b_is_larger ? lse_b : lse_a, low = b_is_larger ? lse_a : lse_b;
  if (high == -detail::floating<T>::infinity && low == high) return {high, 0, 0};

  T const ratio = exponential::exp2(low - high, T{logarithm::to_2}), sum = 1 + ratio;
  T const lse = sum == 1 ? high : detail::fused(exponential::log2(sum), T{logarithm::from_2}, high);
  T const high_weight = 1 / sum, low_weight = ratio * high_weight;
  return b_is_larger ? merged_lse<T>{lse, low_weight, high_weight} : merged_lse<T>{lse, high_weight, low_weight};
}

/// One element of the merged output. What has weight 0 is not read as a number: an empty row may hold anything.
template <std::floating_point T>
RINGFOLD_HD T merged_output(T weight_a, T a, T weight_b, T b) {
  // The fma rounds one product and not the other, so which is which must not depend on who is called a.
  bool const exchange = weight_a < weight_b || (weight_a == weight_b && a < b);
  T const high_weight = exchange ? weight_b : weight_a, high = exchange ? b : a;
  T const low_weight = exchange ? weight_a : weight_b, low = exchange ? a : b;
  if (low_weight == 0) return high_weight == 0 ? T{0} : high;
  return detail::fused(high_weight, high, low_weight * low);
}

/// The merge for one element of one row, as a monoid.
template <class T, class Base = base_e>
struct softmax_monoid {
  struct element {
    T o, lse;
  };
  static constexpr bool commutative = true;

  RINGFOLD_HD element identity() const { return {0, -detail::floating<T>::infinity}; }
  RINGFOLD_HD element combine(const element& a, const element& b) const {
    auto const merged = merged_weights<Base>(a.lse, b.lse);
    return {merged_output(merged.weight_a, a.o, merged.weight_b, b.o), merged.lse};
  }
};

namespace detail {

template <class T, class Base>
concept mergeable = requires(const T& number) {
  merged_weights<Base>(number, number);
  merged_output(number, number, number, number);
};

template <class T, class Base>
struct merge_row {
  extent dim, into_stride, from_stride;
  RINGFOLD_HD void operator()(T& into_lse, const T& from_lse, T& into_o, const T& from_o) const {
    auto const merged = merged_weights<Base>(into_lse, from_lse);
    into_lse = merged.lse;
    T* into = &into_o;
    const T* from = &from_o;
    for (extent i = 0; i < dim; ++i, into += into_stride, from += from_stride) {
      *into = merged_output(merged.weight_a, *into, merged.weight_b, *from);
    }
  }
};

template <class T>
struct assign {
  T value;
  RINGFOLD_HD void operator()(T& to) const { to = value; }
};

template <class T>
struct scale {
  T factor;
  RINGFOLD_HD void operator()(T& value) const { value = fused(value, factor, T{0}); }
};

template <class A, class B>
void check_same_extents(const char* what, const A& a, const B& b) {
  for (int axis = 0; axis < A::rank; ++axis) {
    if (a.extents[axis] != b.extents[axis]) {
      throw shape_error(say("merge: axis %d of %s has %lld and %lld elements; they must be equal", axis, what,
                            static_cast<long long>(a.extents[axis]), static_cast<long long>(b.extents[axis])));
    }
  }
}

}  // namespace detail

/// Makes a partial the identity: outputs 0, log-sum-exps -inf.
template <class Stream, class T, class Space, class Base>
void set_identity(Stream stream, const partial<T, Space, Base>& to) {
  stream.elementwise(detail::assign<T>{T(0.0)}, to.o);
  stream.elementwise(detail::assign<T>{T(-__builtin_inf())}, to.lse);
}

/// Merges one partial into another; `from` is only read and must not overlap `into`.
///
/// Log-sum-exps are finite or -inf: pass foreign ones through adapt_lse first. Numbers other than float and double bring
/// merged_weights and merged_output of their own, to be found by argument-dependent lookup.
/// \throws shape_error when their extents differ.
template <class Stream, class T, class Space, class Base, class FromT, class FromSpace, class FromBase>
void merge(Stream stream, const partial<T, Space, Base>& into, const partial<FromT, FromSpace, FromBase>& from) {
  constexpr bool same_base = std::is_same_v<Base, FromBase>;
  constexpr bool same_type = std::is_same_v<T, FromT> && std::is_same_v<Space, FromSpace>;
  static_assert(
      same_base,
      "[ringfold] merge: one partial holds natural logarithms, the other logarithms of base 2; bring one over "
      "with    ringfold::convert<ringfold::base_e>(stream, partial)");
  static_assert(same_type, "[ringfold] merge: partials of different element types or memory spaces");
  constexpr bool known = detail::mergeable<T, Base>;
  static_assert(
      known,
      "[ringfold] merge: these numbers are neither float nor double; add    template <class Base> "
      "ringfold::merged_lse<T> merged_weights(T lse, T other); T merged_output(T weight, T o, T other_weight, "
      "T other);    beside their class");
  if constexpr (same_base && same_type && known) {
    detail::check_same_extents("the outputs", into.o, from.o);
    detail::check_same_extents("the log-sum-exps", into.lse, from.lse);
    detail::check_same_extents("an output and its log-sum-exp", into.lse, into.o);
    stream.elementwise(
        detail::merge_row<T, Base>{into.o.extents[dim_axis], into.o.strides[dim_axis], from.o.strides[dim_axis]},
        into.lse, from.lse, first_of_rows(into.o), first_of_rows(from.o));
  }
}

/// A log-sum-exp from elsewhere, where an empty row may be +inf (FlashAttention 2) or NaN; here it is -inf.
template <class T>
RINGFOLD_HD T adapt_lse(T foreign) {
  return foreign < detail::floating<T>::infinity ? foreign : -detail::floating<T>::infinity;
}

/// A logarithm of another base, e.g. FlashInfer's of base 2 as a natural one: convert<base_e, base_2>(lse).
template <class To, class From, class T>
RINGFOLD_HD T convert(T lse) {
  if constexpr (std::is_same_v<To, From>) return lse;
  return detail::fused(lse, detail::logarithm_of<From, T>::to_2 * detail::logarithm_of<To, T>::from_2, T{0});
}

/// The same partial with logarithms of another base: its log-sum-exps are converted where they are.
template <class To, class Stream, class T, class Space, class From>
partial<T, Space, To> convert(Stream stream, const partial<T, Space, From>& from) {
  if constexpr (!std::is_same_v<To, From>) {
    T const factor = detail::logarithm_of<From, T>::to_2 * detail::logarithm_of<To, T>::from_2;
    stream.elementwise(detail::scale<T>{factor}, from.lse);
  }
  return {from.o, from.lse};
}

}  // namespace ringfold
