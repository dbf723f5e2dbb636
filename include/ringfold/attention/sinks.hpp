#pragma once

#include <type_traits>

#include <ringfold/algebra/softmax_merge.hpp>

/// \file
/// Attention sinks: a score for each head that takes weight from every row and gives no value.

namespace ringfold::detail {

/// A sink is a partial of its own, of output 0 and log-sum-exp `sink`: merged into a row, from its output's first element.
struct apply_sink {
  extent dim, stride;
  template <class Sum>
  RINGFOLD_HD void operator()(Sum& lse, const Sum& sink, Sum& o) const {
    auto const merged = merged_weights<base_e>(lse, sink);
    for (extent d = 0; d < dim; ++d) (&o)[d * stride] *= merged.weight_a;
    lse = merged.lse;
  }
};

/// The gradient of a head's sink: the sum over rows of its weight times -delta, from the head's first lse and delta.
struct sink_gradient {
  extent batch, rows, lse_strides[2], delta_strides[2];
  template <class Sum>
  RINGFOLD_HD void operator()(Sum& to, const Sum& sink, const Sum& lse, const Sum& delta) const {
    to = 0;
    if (sink == -floating<Sum>::infinity) return;  // no weight, not even in rows that saw nothing
    Sum sum = 0;
    for (extent b = 0; b < batch; ++b) {
      for (extent row = 0; row < rows; ++row) {
        Sum const total = (&lse)[b * lse_strides[0] + row * lse_strides[1]];
        Sum const of_row = (&delta)[b * delta_strides[0] + row * delta_strides[1]];
        // Where the sink is all there is, an infinite one too, their difference is no number.
        Sum const weight = sink == total ? Sum{1} : exponential::exp2(sink - total, floating<Sum>::log2_e);
        sum = fused(-weight, of_row, sum);
      }
    }
    to = sum;
  }
};

/// A number per head, seen by every batch and row.
template <class T, class Space>
view<T, 3, Space> per_head(const view<T, 1, Space>& of, extent batch, extent rows) {
  return {of.data, {batch, rows, of.extents[0]}, {0, 0, of.strides[0]}};
}

/// Merges every head's sink into its rows, where there are any.
template <class Stream, class Sum, class Space>
void apply_sinks(Stream on, const view<const Sum, 1, Space>& sinks, const view<Sum, 4, Space>& o,
                 const view<Sum, 3, Space>& lse) {
  if constexpr (std::is_floating_point_v<Sum>) {
    if (sinks.data == nullptr) return;
    on.elementwise(apply_sink{o.extents[3], o.strides[3]}, lse, per_head(sinks, o.extents[0], o.extents[1]),
                   first_of_rows(o));
  }
}

/// Writes the gradients of the sinks over this rank's rows, where they are asked for.
template <class Stream, class Sum, class Space>
void sink_gradients(Stream on, const view<const Sum, 1, Space>& sinks, const view<const Sum, 3, Space>& lse,
                    const view<Sum, 3, Space>& delta, const view<Sum, 1, Space>& to) {
  if constexpr (std::is_floating_point_v<Sum>) {
    if (to.data == nullptr) return;
    if (lse.size() == 0) return on.elementwise(elementwise::set_zero{}, to);  // there is no first row to begin with
    auto const first_of_heads = [](const auto& of) {
      return view<const Sum, 1, Space>{of.data, {of.extents[2]}, {of.strides[2]}};
    };
    on.elementwise(
        sink_gradient{
            lse.extents[0], lse.extents[1], {lse.strides[0], lse.strides[1]}, {delta.strides[0], delta.strides[1]}},
        to, sinks, first_of_heads(lse), first_of_heads(delta));
  }
}

}  // namespace ringfold::detail
