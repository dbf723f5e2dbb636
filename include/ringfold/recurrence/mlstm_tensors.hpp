#pragma once

#include <ringfold/recurrence/tensors.hpp>

/// \file
/// What an mLSTM reads and what gradients it has.

namespace ringfold {

/// What an mLSTM reads of some tokens (const T), or its gradients, [batch, row, head, width]; owns nothing.
template <class T, class Space = host_space>
struct mlstm_rows {
  view<T, 4, Space> q, k, v;
  view<detail::sum_like<T>, 4, Space> input, forget;  ///< width 1

  mlstm_rows rows(range r) const {
    return {slice(q, row_axis, r), slice(k, row_axis, r), slice(v, row_axis, r), slice(input, row_axis, r),
            slice(forget, row_axis, r)};
  }
};

/// What a caller hands to an mLSTM (const T), or its gradients.
///
/// q and k [batch, rows, heads, dim], v with value_dim; the gates [batch, rows, heads] are logarithms: that of an input
/// gate may be any number, that of a forget gate is never positive.
template <class T, class Space = host_space>
struct mlstm_tensors {
  using element = T;
  static constexpr bool are_gradients = !std::is_const_v<T>;
  static constexpr std::array<const char*, 5> names = {"dq", "dk", "dv", "dinput", "dforget"};
  static constexpr std::array<bool, 5> rounded = {true, true, true, false, false};  ///< which are of elements

  argument<T, 4, Space> q, k, v;
  argument<detail::sum_like<T>, 3, Space> input, forget;

  auto members() { return std::tie(q, k, v, input, forget); }
  auto members() const { return std::tie(q, k, v, input, forget); }

  template <class P>
  static std::array<tensor_extents, 5> extents(const P& p, extent rows) {
    tensor_extents const keys{{p.batch, rows, p.heads, p.dim}}, gates{{p.batch, rows, p.heads}};
    return {{keys, keys, {{p.batch, rows, p.heads, p.value_dim}}, gates, gates}};
  }

  /// \throws usage_error when a forget gate is larger than 1, or an input gate no number or infinite.
  void check_numbers(const char* call) const {
    detail::check_each(call, "input", input.at, "logarithms of gates, below infinity",
                       [](auto each) { return each - each == 0 || each < 0; });
    detail::check_each(call, "forget", forget.at, "logarithms of gates, at most 0",
                       [](auto each) { return each <= 0; });
  }
  template <class P>
  auto operands(const P& p, extent rows) const {
    auto const four_axes = [&](const view<detail::sum_like<T>, 3, Space>& of) {
      return view<detail::sum_like<T>, 4, Space>{
          of.data, {p.batch, rows, p.heads, 1}, {of.strides[0], of.strides[1], of.strides[2], 0}};
    };
    return mlstm_rows<T, Space>{q.at, k.at, v.at, four_axes(input.at), four_axes(forget.at)};
  }
};

}  // namespace ringfold
