#pragma once

#include <ringfold/core/view.hpp>

/// \file
/// Which heads of a problem the verbs of a rule go through.

namespace ringfold {

/// Some heads of a problem, for which it stands to a rule's verbs; operands and states are still those of all heads.
template <class P>
struct some_heads {
  using element = typename P::element;
  using accumulate = typename P::accumulate;

  range batches, heads;
  extent dim, value_dim;
  double scale;

  some_heads(const P& p, range of_batch, range of_heads)
      : batches(of_batch), heads(of_heads), dim(p.dim), value_dim(p.value_dim), scale(p.scale) {}
};

/// Calls f(batch, head) for some heads of a problem; heads of one number in the order of their batches.
template <class P, class F>
void for_each_head(const some_heads<P>& p, F f) {
  for (extent b = p.batches.first; b < p.batches.first + p.batches.count; ++b) {
    for (extent h = p.heads.first; h < p.heads.first + p.heads.count; ++h) f(b, h);
  }
}
/// Calls it for all of them.
template <class P, class F>
void for_each_head(const P& p, F f) {
  for_each_head(some_heads<P>(p, {0, p.batch}, {0, p.heads}), f);
}

}  // namespace ringfold
