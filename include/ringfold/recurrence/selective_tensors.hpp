#pragma once

#include <ringfold/recurrence/tensors.hpp>

/// \file
/// What a selective scan reads and what gradients it has.

namespace ringfold {

/// What a selective scan reads of some tokens (const T), or its gradients; owns nothing.
template <class T, class Space = host_space>
struct selective_rows {
  view<T, 4, Space> x;                        ///< [batch, row, head, channel]
  view<detail::sum_like<T>, 4, Space> time;   ///< as x: what Mamba calls delta
  view<T, 4, Space> write, read;              ///< [batch, row, head, state]: B and C
  view<detail::sum_like<T>, 3, Space> rates;  ///< [head, state, channel]: A

  selective_rows rows(range r) const {
    return {slice(x, row_axis, r), slice(time, row_axis, r), slice(write, row_axis, r), slice(read, row_axis, r),
            rates};
  }
};

/// What a caller hands to a selective scan (const T), or its gradients.
///
/// x and time [batch, rows, heads, value_dim], time (Mamba's delta) never negative; write and read (B and C) [batch,
/// rows, heads, dim]; rates (A) [heads, dim, value_dim], never positive. Gradients of rates are of the caller's rows
/// alone, as a data-parallel gradient: add them up over the ranks.
template <class T, class Space = host_space>
struct selective_tensors {
  using element = T;
  static constexpr bool are_gradients = !std::is_const_v<T>;
  static constexpr std::array<const char*, 5> names = {"dx", "dtime", "dwrite", "dread", "drates"};
  static constexpr std::array<bool, 5> rounded = {true, false, true, true, false};  ///< which are of elements

  argument<T, 4, Space> x;
  argument<detail::sum_like<T>, 4, Space> time;
  argument<T, 4, Space> write, read;
  argument<detail::sum_like<T>, 3, Space> rates;

  auto members() { return std::tie(x, time, write, read, rates); }
  auto members() const { return std::tie(x, time, write, read, rates); }

  template <class P>
  static std::array<tensor_extents, 5> extents(const P& p, extent rows) {
    tensor_extents const channels{{p.batch, rows, p.heads, p.value_dim}}, state{{p.batch, rows, p.heads, p.dim}};
    return {{channels, channels, state, state, {{p.heads, p.dim, p.value_dim}, {"heads", "dim", "value dim", ""}}}};
  }

  /// \throws usage_error when a state could grow, or a number is infinite: no time at such a rate has no decay.
  void check_numbers(const char* call) const {
    detail::check_each(call, "time", time.at, "at least 0, and finite",
                       [](auto each) { return each >= 0 && each - each == 0; });
    detail::check_each(call, "rates", rates.at, "logarithms of decays, at most 0, and finite",
                       [](auto each) { return each <= 0 && each - each == 0; });
  }
  template <class P>
  auto operands(const P&, extent) const {
    return selective_rows<T, Space>{x.at, time.at, write.at, read.at, rates.at};
  }
};

}  // namespace ringfold
