#pragma once

#include <ringfold/collective/posting.hpp>
#include <ringfold/schedule/tournament.hpp>

/// \file
/// All-to-all that splits one axis of a view and joins another: sequence <-> heads, or any two axes.

namespace ringfold {

/// How a view is cut: peer j gets range `to(j)` of axis `split` of mine; its part becomes range `from(j)` of axis
/// `join` of the result. Ranges of `to` may overlap: then several ranks get the same part.
template <class To, class From>
struct cut {
  int split;
  To to;
  int join;
  From from;
};
template <class To, class From>
cut(int, To, int, From) -> cut<To, From>;

/// Adds the pieces of a resharding to an exchange, and copies the caller's own part at once.
///
/// Neither view needs to be contiguous, and nothing is packed: pieces are strided on both sides.
///
/// **Steps** one, together with whatever else is in the exchange. **Bytes** all parts but the own one.
/// **Memory** none. **Order** peers in tournament order. **Overlap** the caller's, between post and arrived.
/// Source: DeepSpeed-Ulysses (Jacobs et al., 2023); strided pieces: TEMPI.
/// \snippet collective/reshard_test.cpp reshard
template <communicator C, class From, class To, int Rank, class Space, class A, class B>
void add_reshard(posting& exchange, const C& comm, view<From, Rank, Space> from, view<To, Rank, Space> to,
                 const cut<A, B>& how, role what, stream_t<C> stream) {
  int const me = comm.rank(), size = comm.size();
  copy_own(stream, piece_of(slice(to, how.join, how.from(me)), what),
           piece_of(slice(from, how.split, how.to(me)), what));
  for (int step = 0; step < schedule::tournament::steps(size); ++step) {
    int const peer = schedule::tournament::partner(me, size, step);
    if (peer == me) continue;
    exchange.send(piece_of(slice(from, how.split, how.to(peer)), what, wire(comm, peer)));
    exchange.receive(piece_of(slice(to, how.join, how.from(peer)), what, wire(comm, peer)));
  }
}

/// Reshards one view into another and waits on the stream; lists are the caller's scratch.
template <communicator C, class From, class To, int Rank, class Space, class A, class B>
void reshard(C& comm, view<From, Rank, Space> from, view<To, Rank, Space> to, const cut<A, B>& how, posting& lists,
             stream_t<C> stream, role what = role::other) {
  lists.clear();
  add_reshard(lists, comm, from, to, how, what, stream);
  lists.run(comm, stream, pattern::all_to_all);
}

}  // namespace ringfold
