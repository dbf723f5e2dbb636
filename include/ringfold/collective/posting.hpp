#pragma once

#include <vector>

#include <ringfold/core/communicator.hpp>

/// \file
/// The lists of an exchange while it is put together, kept between calls so that a step allocates nothing.

namespace ringfold {

/// Pieces to be sent and received; empty pieces are left out, since both ends know the extents.
struct posting {
  std::vector<piece> sends, receives;

  void clear() { sends.clear(), receives.clear(); }
  void send(const piece& p) {
    if (p.elements() > 0) sends.push_back(p);
  }
  void receive(const piece& p) {
    if (p.elements() > 0) receives.push_back(p);
  }

  /// Posts the exchange; nothing is posted, and a complete request returned, when there are no pieces.
  template <communicator C>
  request_t<C> post(C& comm, stream_t<C> stream, pattern shape = pattern::pairs) const {
    if (sends.empty() && receives.empty()) return {};
    return comm.post({.sends = sends, .receives = receives, .shape = shape}, stream);
  }

  /// Posts and waits on the stream until everything has arrived and may be overwritten.
  template <communicator C>
  void run(C& comm, stream_t<C> stream, pattern shape = pattern::pairs) const {
    auto posted = post(comm, stream, shape);
    or_poison(comm, [&] {
      posted.arrived(stream);
      posted.reusable(stream);
    });
  }
};

/// Copies the part that a rank would send itself. \throws shape_error when the two ends are not alike.
template <class Stream>
void copy_own(Stream on, const piece& to, const piece& from) {
  for (int axis = 0; axis < 4; ++axis) {
    if (to.extents[axis] == from.extents[axis] && to.type == from.type) continue;
    throw shape_error(
        say("the own part goes from [%lld, %lld, %lld, %lld] to [%lld, %lld, %lld, %lld]; both must be alike",
            static_cast<long long>(from.extents[0]), static_cast<long long>(from.extents[1]),
            static_cast<long long>(from.extents[2]), static_cast<long long>(from.extents[3]),
            static_cast<long long>(to.extents[0]), static_cast<long long>(to.extents[1]),
            static_cast<long long>(to.extents[2]), static_cast<long long>(to.extents[3])));
  }
  on.copy(to, from);
}

namespace detail {

/// Copies a state or an element of an algebra of scans, view by view.
template <class G, class Stream, class Some>
void copy_views(const G& algebra, Stream on, const Some& from, const Some& to) {
  auto const source = algebra.views(from), target = algebra.views(to);
  for (std::size_t i = 0; i < source.size(); ++i) {
    on.copy(piece_of(target[i], role::state), piece_of(source[i], role::state));
  }
}

}  // namespace detail

}  // namespace ringfold
