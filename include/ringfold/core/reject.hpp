#pragma once

#include <ringfold/core/communicator.hpp>

/// \file
/// What a user reads when a type does not fit: the one thing that is missing, and the line to add.
/// A bare concept is not enough: nvcc names no reason when one fails.

namespace ringfold {

namespace detail {
template <class C>
concept has_stream = requires { typename C::stream; } && stream<typename C::stream>;
template <class C>
concept has_rank = requires(const C& c) {
  { c.rank() } noexcept -> std::same_as<int>;
};
template <class C>
concept has_size = requires(const C& c) {
  { c.size() } noexcept -> std::same_as<int>;
};
template <class C>
concept has_post = has_stream<C> && requires(C& c, exchange x, typename C::stream s) { c.post(x, s); };
template <class C>
concept has_request = has_post<C> && request_on<request_t<C>, typename C::stream>;
}  // namespace detail

/// Stands where a communicator was expected; naming it fails to compile with one line.
template <class C>
struct not_a_communicator {
  static constexpr bool stream = detail::has_stream<C>;
  static constexpr bool post = !stream || detail::has_post<C>;
  static_assert(std::copyable<C>,
                "[ringfold] not a communicator: it must be copyable; hold the connection by a pointer");
  static_assert(stream, "[ringfold] not a communicator: add    using stream = ringfold::host_stream;");
  static_assert(detail::has_rank<C>, "[ringfold] not a communicator: add    int rank() const noexcept;");
  static_assert(detail::has_size<C>, "[ringfold] not a communicator: add    int size() const noexcept;");
  static_assert(post, "[ringfold] not a communicator: add    my_request post(ringfold::exchange x, stream s);");
  static_assert(!stream || !post || detail::has_request<C>,
                "[ringfold] not a communicator: what post() returns must be a move-only, default-constructible class "
                "with    void arrived(stream); void reusable(stream); bool test();");
};

}  // namespace ringfold
