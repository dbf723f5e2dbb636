#pragma once

#include <ringfold/core/view.hpp>

/// \file
/// A closed softmax partial: normalised output and log-sum-exp, with the base of the logarithm in the type.

namespace ringfold {

struct base_e {};
struct base_2 {};

/// Output and log-sum-exp of queries over some keys; owns nothing. The identity is (0, -inf).
///
/// o is [batch, row, head, value_dim] and lse [batch, row, head], both in the accumulation type.
/// A base-2 partial cannot be merged with a base-e one: they are two types.
template <class Accumulate, class Space = host_space, class Base = base_e>
struct partial {
  using accumulate = Accumulate;
  using base = Base;
  view<Accumulate, 4, Space> o;
  view<Accumulate, 3, Space> lse;
};

}  // namespace ringfold
