#pragma once

#include <ringfold/collective/posting.hpp>

/// \file
/// Everybody's view to the rank at a distance: the halo.

namespace ringfold {

/// Sends `from` to rank + distance and receives `to` from rank - distance; ranks beyond the ends have no peer, unless
/// `wraps`. Returns whether something arrives in `to`. A distance of 0, or of all ranks wrapped, copies.
///
/// **Steps** one. **Bytes** one view. **Memory** none. **Order** none. **Overlap** none.
/// \snippet collective/shift_test.cpp shift
template <communicator C, class From, class To, int Rank, class Space>
bool shift(C& comm, view<From, Rank, Space> from, view<To, Rank, Space> to, int distance, bool wraps, posting& lists,
           stream_t<C> stream, role what = role::other) {
  int const me = comm.rank(), size = comm.size();
  auto const peer_at = [&](int offset) {
    int const rank = me + offset;
    if (wraps) return (rank % size + size) % size;
    return rank >= 0 && rank < size ? rank : -1;
  };
  int const target = peer_at(distance), source = peer_at(-distance);
  lists.clear();
  if (source == me) {
    copy_own(stream, piece_of(to, what), piece_of(from, what));
    return true;
  }
  if (target >= 0) lists.send(piece_of(from, what, wire(comm, target)));
  if (source >= 0) lists.receive(piece_of(to, what, wire(comm, source)));
  lists.run(comm, stream);
  return source >= 0;
}

}  // namespace ringfold
