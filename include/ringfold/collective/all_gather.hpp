#pragma once

#include <ringfold/collective/posting.hpp>
#include <ringfold/schedule/direct.hpp>

/// \file
/// Every rank's pieces to every rank that wants them, in one exchange.

namespace ringfold {

/// Adds to an exchange: `mine` to every rank that wants it, and `receive(origin)` from every rank that I want.
///
/// `wanted(rank, origin)` is a pure function that all ranks share. Receives are listed by increasing distance.
///
/// **Steps** one. **Bytes** mine, once for each other rank that wants it. **Memory** the caller's; none where memory
/// is lent. **Order** by distance. **Overlap** the caller's, between post and arrived.
template <communicator C, class Receive, class Wanted>
void add_all_gather(posting& exchange, const C& comm, const piece& mine, Receive receive, Wanted wanted) {
  int const me = comm.rank(), size = comm.size();
  for (int step = 1; step <= schedule::direct::steps(size); ++step) {
    int const to = schedule::direct::to(me, size, step), from = schedule::direct::from(me, size, step);
    if (wanted(to, me)) {
      piece sent = mine;
      sent.peer = wire(comm, to);
      exchange.send(sent);
    }
    if (wanted(me, from)) {
      piece arriving = receive(from);
      arriving.peer = wire(comm, from);
      exchange.receive(arriving);
    }
  }
}

/// Gathers the ranks' views, one after the other along an axis, into one view on every rank.
///
/// `place(rank)` is the range of that axis that a rank's view becomes; the own one is copied.
/// \snippet collective/all_gather_test.cpp all_gather
template <communicator C, class From, class To, int Rank, class Space, class Place>
void all_gather(C& comm, view<From, Rank, Space> mine, view<To, Rank, Space> all, int along, Place place,
                posting& lists, stream_t<C> stream, role what = role::other) {
  lists.clear();
  copy_own(stream, piece_of(slice(all, along, place(comm.rank())), what), piece_of(mine, what));
  add_all_gather(
      lists, comm, piece_of(mine, what), [&](int origin) { return piece_of(slice(all, along, place(origin)), what); },
      [](int, int) { return true; });
  lists.run(comm, stream, pattern::all_gather);
}

}  // namespace ringfold
