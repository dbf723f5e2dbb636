#pragma once

#include <cstring>

#include <ringfold/core/dtype.hpp>
#include <ringfold/core/exchange.hpp>

/// \file
/// An ordered queue of work on data. Combinators touch data only through it.

namespace ringfold {

/// A queue of work: copies and elementwise functions on memory of its space, done in order.
template <class S>
concept stream = std::copyable<S> && requires(S s, const piece& p) {
  typename S::space;
  s.copy(p, p);
};

namespace detail {

template <int Rank, class F, class First, class... Rest>
void for_each_element(F& f, First first, Rest... rest) {
  if constexpr (Rank == 0) {
    f(*first.data, *rest.data...);
  } else {
    constexpr auto adjacent = [](const auto& of) { return of.strides[of.rank - 1] == 1; };
    if (Rank == 1 && adjacent(first) && (adjacent(rest) && ...)) {  // by index, compilers vectorise it
      for (extent i = 0; i < first.extents[First::rank - 1]; ++i) f(first.data[i], rest.data[i]...);
      return;
    }
    for (extent i = 0; i < first.extents[First::rank - Rank]; ++i) {
      for_each_element<Rank - 1>(f, first, rest...);
      first.data += first.strides[First::rank - Rank];
      ((rest.data += rest.strides[Rest::rank - Rank]), ...);
    }
  }
}

inline void copy_strided(char* to, const extent* to_strides, const char* from, const extent* from_strides,
                         const extent* extents, int axes, extent run) {
  // Fold axes that follow each other in both memories into one run.
  while (axes > 0 && (extents[axes - 1] == 1 || (to_strides[axes - 1] == run && from_strides[axes - 1] == run))) {
    run *= extents[--axes];
  }
  if (axes == 0) {
    std::memcpy(to, from, static_cast<std::size_t>(run));
    return;
  }
  for (extent i = 0; i < extents[0]; ++i) {
    copy_strided(to + i * to_strides[0], to_strides + 1, from + i * from_strides[0], from_strides + 1, extents + 1,
                 axes - 1, run);
  }
}

}  // namespace detail

/// Functions for elementwise(), the same on every stream.
namespace elementwise {

struct set_zero {
  template <class T>
  RINGFOLD_HD void operator()(T& element) const {
    element = T(0);
  }
};

struct add_to {
  template <class T, class U>
  RINGFOLD_HD void operator()(T& sum, const U& term) const {
    sum += term;
  }
};

/// By way of the type that sums of To are kept in, which 16 bits are made of.
struct round_to {
  template <class To, class From>
  RINGFOLD_HD void operator()(To& to, const From& from) const {
    to = static_cast<To>(static_cast<accumulate_t<To>>(from));
  }
};

}  // namespace elementwise

/// Work done at once by the calling thread.
struct host_stream {
  using space = host_space;

  /// Copies a piece into another of the same extents and type.
  void copy(const piece& to, const piece& from) const {
    if (from.elements() == 0) return;
    detail::copy_strided(static_cast<char*>(to.data), to.strides, static_cast<const char*>(from.data), from.strides,
                         from.extents, 4, from.type.bytes());
  }

  /// Calls f on the elements of views of equal extents, together.
  template <class F, class First, class... Rest>
  void elementwise(F f, First first, Rest... rest) const {
    detail::for_each_element<First::rank>(f, first, rest...);
  }
};

/// Memory that nobody has: its addresses fault when read.
struct phantom_space {};

/// A queue that does nothing, for phantom memory: what runs on it is proved to touch no data by itself.
struct phantom_stream {
  using space = phantom_space;
  void copy(const piece&, const piece&) const {}
  template <class F, class... V>
  void elementwise(F, V...) const {}
};

}  // namespace ringfold
