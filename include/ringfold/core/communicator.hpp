#pragma once

#include <concepts>
#include <exception>
#include <utility>

#include <ringfold/core/stream.hpp>

/// \file
/// What a transport must offer, and the arithmetic of ranks.

namespace ringfold {

/// The claim on a posted exchange. It is move-only; one that was moved from, or default-made, is complete.
///
/// Waiting happens on a stream: a host stream's caller blocks, a device stream's later work waits.
/// "Arrived" and "reusable" are two things: with lent memory, one wait for both deadlocks a ring.
/// Destroying a live request waits until its memory is no longer touched; it never throws.
template <class R, class Stream>
concept request_on = std::default_initializable<R> && std::movable<R> && !std::copyable<R> && requires(R& r, Stream s) {
  r.arrived(s);                               // later work on s may read what was received
  r.reusable(s);                              // later work on s may overwrite what was sent
  { r.test() } -> std::convertible_to<bool>;  // complete? (never blocks; drives progress)
};

/// A request of a communicator that lends: a receive without memory is answered by the sender's own.
template <class R, class Stream>
concept lending_request_on = request_on<R, Stream> && requires(R& r, Stream s, int i) {
  { r.received(i) } -> std::same_as<piece>;  // where the i-th receive is; may be sent on before release
  r.release(s);                              // after earlier work on s, the lent memory is no longer read
};

/// Ranks that exchange pieces. Copies are the same communicator; groups of one share its order and its counters.
///
/// post() sees all work already on the stream, never blocks on a peer, and accepts empty exchanges and self-sends.
template <class C>
concept communicator = std::copyable<C> && requires(C& c, const C& cc, exchange x, typename C::stream s) {
  { cc.rank() } noexcept -> std::same_as<int>;
  { cc.size() } noexcept -> std::same_as<int>;
  { c.post(x, s) } -> request_on<typename C::stream>;
};

template <class C>
using stream_t = typename C::stream;
template <class C>
using space_t = typename C::stream::space;
template <class C>
using request_t = decltype(std::declval<C&>().post(exchange{}, std::declval<typename C::stream>()));

/// Whether a communicator lends the sender's memory to a receive without memory.
template <class C>
inline constexpr bool lends = lending_request_on<request_t<C>, stream_t<C>>;

/// Where the ranks of a communicator stand in the numbering of all ranks: every stride-th, count of them.
struct axis {
  int stride = 1;
  int count = 1;
};

/// The place of an owner along an axis.
constexpr int member_of(axis along, int owner) { return owner / along.stride % along.count; }

/// The owner that `owner` becomes when its place along an axis is changed to `member`.
constexpr int owner_at(axis along, int owner, int member) {
  return owner + (member - member_of(along, owner)) * along.stride;
}

/// A communicator's axis: all ranks, unless it is a group.
template <class C>
constexpr axis axis_of(const C& c) {
  if constexpr (requires { c.axis(); }) {
    return c.axis();
  } else {
    return {1, c.size()};
  }
}

/// The number that the wire knows a rank of this communicator by.
template <class C>
constexpr int wire(const C& c, int rank) {
  if constexpr (requires { c.wire(rank); }) {
    return c.wire(rank);
  } else {
    return rank;
  }
}

/// Runs f, which deals with posted exchanges; if it throws, every other rank learns why before anything unwinds.
///
/// Keep the requests outside of f: they then outlive the news, and their memory with them.
template <class C, class F>
void or_poison(C& c, F f) {
  try {
    f();
  } catch (...) {
    if constexpr (requires { c.poison(std::current_exception()); }) c.poison(std::current_exception());
    throw;
  }
}

}  // namespace ringfold
