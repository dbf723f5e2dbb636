#pragma once

#include <ringfold/core/exchange.hpp>
#include <ringfold/sequence/gradient.hpp>

/// \file
/// What must outlast a forward pass for its backward pass.

namespace ringfold {

/// All that a backward pass needs of its forward pass: five tensors of the caller's. Nothing else is kept by anybody.
///
/// plan::forward() returns it and backward_plan::backward() takes it; it owns nothing. In between the tensors may be
/// anywhere: backward() wants the same numbers, at whatever address and in whatever strides. They may be copied out and
/// dropped, and brought back; or dropped and made again, since a forward call gives the same bits each time.
/// \snippet attention/saved_test.cpp saved
template <class T, class Space = host_space>
struct saved {
  view<const T, 4, Space> q, k, v, out;
  view<const accumulate_t<T>, 3, Space> lse;  ///< without memory where forward() was not asked for it

  /// The same tensors elsewhere: hook(role, tensor) is called for each, in this order, and returns where it is from now on.
  template <class Hook>
  saved moved_by(Hook hook) const {
    return {hook(role::query, q), hook(role::key, k), hook(role::value, v), hook(role::output, out),
            hook(role::lse, lse)};
  }
};

}  // namespace ringfold
