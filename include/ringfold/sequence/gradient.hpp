#pragma once

#include <ringfold/sequence/problem.hpp>

/// \file
/// What a backward pass is given and what it adds to.

namespace ringfold {

/// What a backward pass knows of its queries' results; owns nothing.
///
/// delta is sum over dim of (out * dout), less the gradient of lse: a number per row and head that holds for all keys.
template <class T, class Space = host_space>
struct cotangent {
  view<const T, 4, Space> dout;                 ///< [batch, row, head, value_dim]
  view<const accumulate_t<T>, 3, Space> lse;    ///< [batch, row, head]
  view<const accumulate_t<T>, 3, Space> delta;  ///< [batch, row, head]
};

/// Where the gradients of a block's keys and values are summed, in the accumulation type; owns nothing.
template <class Sum, class Space = host_space>
struct block_gradient {
  view<Sum, 4, Space> k, v;
};

}  // namespace ringfold
