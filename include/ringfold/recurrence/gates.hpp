#pragma once

#include <ringfold/algebra/affine.hpp>
#include <ringfold/algebra/exponential.hpp>
#include <ringfold/recurrence/tensors.hpp>

/// \file
/// Gates of a recurrence: how much of a state each token leaves.

namespace ringfold {

/// What has a gate of its own. Gates are natural logarithms of decays, never positive; -inf forgets all.
///
/// - `none`: linear attention, LASP-2.
/// - `per_head`, [heads]: Retention, Lightning Attention.
/// - `per_token`, [batch, rows, heads]: Mamba-2, simple GLA.
/// - `per_row`, [batch, rows, heads, dim], one for each row of the state: GLA, HGRN2.
enum class gating : unsigned char { none, per_head, per_token, per_row };

/// The number of axes that gates are given with; where there are none, they are given by {}.
template <gating Gates>
inline constexpr int gate_axes = Gates == gating::per_token ? 3
                                 : Gates == gating::per_row ? 4
                                                            : 1;

namespace detail {

/// Gates as [batch, row, head, dim or 1], whatever they are given for: what is given once is seen again and again.
template <gating Gates, class A, class Space>
view<A, 4, Space> spread(const view<A, gate_axes<Gates>, Space>& gates, extent batch, extent rows) {
  view<A, 4, Space> made{gates.data, {batch, rows, gates.extents[0], 1}, {0, 0, gates.strides[0], 0}};
  if constexpr (gate_axes<Gates> > 1) {
    for (int axis = 0; axis < gate_axes<Gates>; ++axis) {
      made.extents[axis] = gates.extents[axis], made.strides[axis] = gates.strides[axis];
    }
  }
  return made;
}

/// What gates must measure.
template <gating Gates, class P>
tensor_extents extents_of_gates(const P& p, extent rows) {
  if constexpr (Gates == gating::none) return {{-1}};
  if constexpr (Gates == gating::per_head) return {{p.heads}, {"heads"}};
  return {{p.batch, rows, p.heads, p.dim}};
}

/// \throws usage_error when one is positive, or not a number.
template <class A, int Axes>
void check_gate_signs(const char* call, const view<A, Axes>& gates) {
  if (gates.data == nullptr) return;
  host_stream{}.elementwise(
      [&](const auto& gate) {
        if (gate <= 0) return;
        throw usage_error(say("%s: gates hold %g; they are logarithms of decays, so allowed: at most 0", call,
                              static_cast<double>(gate)));
      },
      gates);
}

}  // namespace detail

}  // namespace ringfold
