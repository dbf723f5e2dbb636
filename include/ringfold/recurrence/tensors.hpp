#pragma once

#include <array>
#include <tuple>

#include <ringfold/core/arguments.hpp>
#include <ringfold/core/dtype.hpp>

/// \file
/// The tensors that a caller hands to a rule: what it reads, and the gradients of that.

namespace ringfold {

/// What a tensor must measure along as many axes as it has; the first is -1 for one that a rule does not have.
struct tensor_extents {
  extent of[4];
  const char* axes[4] = {"batch", "rows", "heads", "dim"};
};

namespace detail {

/// T, const where Like is.
template <class Like, class T>
using const_like = std::conditional_t<std::is_const_v<Like>, const T, T>;

/// What sums over elements of T are kept in, const where T is.
template <class T>
using sum_like = const_like<T, accumulate_t<T>>;

/// Calls f(name, view, extents) for each tensor of a rule: gradients have names with a d in front.
template <class Tensors, class P, class F>
void for_each_tensor(const Tensors& all, const P& p, extent rows, F f) {
  auto const wanted = Tensors::extents(p, rows);
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (f(Tensors::names[I] + (Tensors::are_gradients ? 0 : 1), std::get<I>(all.members()).at, wanted[I]), ...);
  }(std::make_index_sequence<Tensors::names.size()>{});
}

/// \throws shape_error, usage_error when one has other extents or no memory.
template <class Tensors, class P>
void check_tensors(const char* call, const Tensors& all, const P& p, extent rows) {
  for_each_tensor(all, p, rows, [&](const char* name, const auto& v, const tensor_extents& wanted) {
    if (wanted.of[0] >= 0) return check_view(call, name, v, wanted.of, wanted.axes);
    if (v.data != nullptr) throw usage_error(say("%s: %s given to a rule that has none; pass {}", call, name));
  });
}

/// \throws usage_error when a number is not as `allowed` says in words.
template <class V, class F>
void check_each(const char* call, const char* name, const V& v, const char* allowed, F is_allowed) {
  if (v.data == nullptr) return;
  host_stream{}.elementwise(
      [&](const auto& each) {
        if (is_allowed(each)) return;
        throw usage_error(say("%s: %s holds %g; allowed: %s", call, name, static_cast<double>(each), allowed));
      },
      v);
}

/// The tensors of a rule's gradients with numbers of another type: those that round are in `apart`, the others stay.
template <class Sums, class Gradients, class Space, std::size_t Count>
Sums before_rounding(const Gradients& to, const std::array<view<typename Sums::element, 4, Space>, Count>& apart) {
  Sums made;
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    auto const one = [&](auto& sum, const auto& user, std::size_t i) {
      if constexpr (std::is_same_v<decltype(sum.at), decltype(user.at)>) {
        sum.at = user.at;
      } else {
        sum.at = apart[i];
      }
    };
    (one(std::get<I>(made.members()), std::get<I>(to.members()), I), ...);
  }(std::make_index_sequence<Count>{});
  return made;
}

/// Calls f(rounded, sum) for each gradient that has been summed in memory apart.
template <class Gradients, class Sums, class F>
void for_each_rounded(const Gradients& to, const Sums& sums, F f) {
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    auto const one = [&](const auto& user, const auto& sum) {
      if constexpr (!std::is_same_v<decltype(sum.at), decltype(user.at)>) f(user.at, sum.at);
    };
    (one(std::get<I>(to.members()), std::get<I>(sums.members())), ...);
  }(std::make_index_sequence<Gradients::names.size()>{});
}

}  // namespace detail

}  // namespace ringfold
