#pragma once

#include <ringfold/recurrence/tensors.hpp>

/// \file
/// What a diagonal recurrence reads and what gradients it has.

namespace ringfold {

/// What the numbers of a state are.
enum class field : unsigned char { real, complex };

/// Whether factors are made for each token, [batch, rows, heads, channels], or learned once, [heads, channels].
enum class factors : unsigned char { of_tokens, learned };

/// What a diagonal recurrence reads of some tokens (const T), or its gradients, [batch, row, head, channel]; owns nothing.
template <class T, class Space = host_space>
struct diagonal_rows {
  view<T, 4, Space> x;
  view<detail::sum_like<T>, 4, Space> gates, angles;  ///< spread over all four axes

  diagonal_rows rows(range r) const {
    return {slice(x, row_axis, r), slice(gates, row_axis, r), slice(angles, row_axis, r)};
  }
};

/// What a caller hands to a diagonal recurrence (const T), or its gradients.
///
/// x [batch, rows, heads, value_dim]: of complex numbers first all real parts, then all imaginary parts. Gates are
/// logarithms of the sizes of factors, never positive; angles, in radians, are {} for real numbers. Gradients of learned
/// factors are of the caller's rows alone, as a data-parallel gradient: add them up over the ranks.
template <class T, field Field, factors Factors, class Space = host_space>
struct diagonal_tensors {
  using element = T;
  static constexpr bool are_gradients = !std::is_const_v<T>;
  static constexpr std::array<const char*, 3> names = {"dx", "dgates", "dangles"};
  static constexpr std::array<bool, 3> rounded = {true, false, false};  ///< which are of elements, not of sums
  using factor = argument<detail::sum_like<T>, Factors == factors::learned ? 2 : 4, Space>;

  argument<T, 4, Space> x;
  factor gates;
  factor angles{};

  auto members() { return std::tie(x, gates, angles); }
  auto members() const { return std::tie(x, gates, angles); }

  template <class P>
  static std::array<tensor_extents, 3> extents(const P& p, extent rows) {
    extent const channels = p.value_dim / (Field == field::complex ? 2 : 1);
    tensor_extents wanted{{p.batch, rows, p.heads, channels}};
    if (Factors == factors::learned) wanted = {{p.heads, channels}, {"heads", "channels", "", ""}};
    return {{{{p.batch, rows, p.heads, p.value_dim}}, wanted, Field == field::complex ? wanted : tensor_extents{{-1}}}};
  }

  /// \throws usage_error when a factor would be larger than 1, or no number.
  void check_numbers(const char* call) const {
    detail::check_each(call, "gates", gates.at, "logarithms of factors, at most 0",
                       [](auto each) { return each <= 0; });
    detail::check_each(call, "angles", angles.at, "finite radians", [](auto each) { return each - each == 0; });
  }

  /// As the verbs read or add to them: what is given once is seen again at each token.
  template <class P>
  auto operands(const P& p, extent rows) const {
    auto const spread = [&](const auto& of) {
      view<detail::sum_like<T>, 4, Space> made{of.data, {p.batch, rows, p.heads, 0}, {}};
      constexpr int given = std::remove_cvref_t<decltype(of)>::rank;
      for (int axis = 0; axis < given; ++axis) {
        made.extents[4 - given + axis] = of.extents[axis], made.strides[4 - given + axis] = of.strides[axis];
      }
      return made;
    };
    return diagonal_rows<T, Space>{x.at, spread(gates.at), spread(angles.at)};
  }
};

}  // namespace ringfold
