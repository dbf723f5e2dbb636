#pragma once

#include <ringfold/collective/parcel.hpp>
#include <ringfold/schedule/ring.hpp>

/// \file
/// Parcels of pieces, passed once around a ring.

namespace ringfold {

/// Passes every rank's parcel once around the ring, as far as somebody still wants it, and shows each to each rank.
///
/// `receive(origin, slot)` describes the parcel of a rank as it arrives here, in one of two buffers (slot 0 or 1);
/// on a communicator that lends it has no memory. `wanted(rank, origin)` is a pure function that all ranks share.
/// `visit(origin, parcel*)` is called for every rank's parcel, its own first; with nullptr for one that did not come.
///
/// **Steps** size - 1. **Bytes** of a parcel: once per hop from its owner to the last rank that wants it.
/// **Memory** two parcels, none where memory is lent. **Order** rank r visits r, r-1, ..., r+1; with
/// schedule::reversed_ring r, r+1, ..., r-1.
/// **Overlap** a parcel travels on while it is visited.
/// Throws what visit throws, after poisoning; what the communicator throws.
/// Source: Ring Attention (Liu et al., 2023); zhuzilin/ring-flash-attention.
/// \snippet collective/ring_pass_test.cpp ring_pass
template <class Ring = schedule::ring, int N, communicator C, class Receive, class Wanted, class Visit>
void ring_pass(C& comm, const parcel<N>& mine, Receive receive, Wanted wanted, Visit visit, stream_t<C> stream) {
  int const me = comm.rank(), size = comm.size(), next = Ring::to(me, size), previous = Ring::from(me, size);
  // A parcel goes on to `to` as long as that rank or one behind it wants it.
  auto const travels = [&](int origin, int to) {
    for (int rank = to; rank != origin; rank = Ring::to(rank, size)) {
      if (wanted(rank, origin)) return true;
    }
    return false;
  };

  // The own parcel's request lives to the end: where memory is lent, ranks further on still read it.
  request_t<C> home, moving[2];
  or_poison(comm, [&] {
    parcel<N> held = mine;
    bool present = true;
    request_t<C>* brought = nullptr;  // the request that brought the held parcel
    for (int step = 0; step < size; ++step) {
      int const origin = Ring::held(me, size, step), coming = Ring::held(me, size, step + 1);
      bool const last = step == Ring::steps(size);
      bool const sends = !last && travels(origin, next), receives = !last && travels(coming, me);
      parcel<N> arriving = receives ? receive(coming, step % 2) : parcel<N>{};
      request_t<C>& posted = step == 0 ? home : moving[step % 2];
      if (sends || receives) {
        for (piece& each : held.pieces) each.peer = wire(comm, next);
        for (piece& each : arriving.pieces) each.peer = wire(comm, previous);
        posted = comm.post({.sends = {held.pieces, sends ? std::size_t{N} : 0},
                            .receives = {arriving.pieces, receives ? std::size_t{N} : 0}},
                           stream);
      }
      visit(origin, present ? &held : nullptr);
      if constexpr (lends<C>) {
        if (brought != nullptr) brought->release(stream);
      }
      brought = nullptr;
      if (sends || receives) {
        posted.arrived(stream);
        if (step > 0) posted.reusable(stream);
      }
      if (receives) {
        held = received<N, C>(posted, arriving.pieces, 0);
        if constexpr (lends<C>) brought = &posted;
      }
      present = receives;
    }
    home.reusable(stream);
  });
}

}  // namespace ringfold
