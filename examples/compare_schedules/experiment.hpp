#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <ringfold/core/dtype.hpp>
#include <ringfold/sequence/problem.hpp>

/// \file
/// What is compared: one attention over whole tensors.

namespace compare_schedules {

using ringfold::dtype;
using ringfold::dtype_of;
using ringfold::extent;

/// Calls f(T{}) for the element type that a tag names: one of f32, f64, bf16, f16.
template <class F>
auto with_element(dtype type, F f) {
  if (type == dtype_of<float>) return f(float{});
  if (type == dtype_of<double>) return f(double{});
  if (type == dtype_of<ringfold::bf16>) return f(ringfold::bf16{});
  return f(ringfold::f16{});
}

/// A whole tensor, dense [batch, token, head, dim], that owns its elements.
struct tensor {
  dtype type;
  extent extents[4] = {};
  std::vector<std::byte> bytes;

  tensor() = default;
  tensor(dtype element, extent batch, extent tokens, extent heads, extent dim)
      : type(element), extents{batch, tokens, heads, dim} {
    using ringfold::checked_multiply;
    extent const elements = checked_multiply(checked_multiply(batch, tokens), checked_multiply(heads, dim));
    bytes.resize(static_cast<std::size_t>(checked_multiply(elements, type.bytes())));
  }

  /// T must be the type that the tag names.
  template <class T>
  ringfold::view<T, 4> as() {
    return ringfold::dense(reinterpret_cast<T*>(bytes.data()), extents[0], extents[1], extents[2], extents[3]);
  }
  template <class T>
  ringfold::view<const T, 4> as() const {
    return ringfold::dense(reinterpret_cast<const T*>(bytes.data()), extents[0], extents[1], extents[2], extents[3]);
  }
};

/// One attention, the same on every rank.
struct experiment {
  ringfold::layout tokens;
  ringfold::shape shape;
  ringfold::band mask;
  dtype type;
  int repeats = 1;
  tensor q, k, v;

  int ranks() const { return tokens.ranks(); }
  /// What sums are kept in.
  dtype sum_type() const {
    return with_element(type, []<class T>(T) { return dtype_of<ringfold::accumulate_t<T>>; });
  }
  template <class T>
  auto problem(const ringfold::layout& on) const {
    return ringfold::make_problem<T>(on, shape, mask);
  }
};

}  // namespace compare_schedules
