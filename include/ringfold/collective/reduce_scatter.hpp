#pragma once

#include <ringfold/collective/posting.hpp>
#include <ringfold/core/workspace.hpp>
#include <ringfold/schedule/direct.hpp>

/// \file
/// Sums views over all ranks and leaves each rank its part.

namespace ringfold {

/// Sums the ranks' views and writes range place(rank) of axis `along` of the sum to `mine`.
///
/// Terms are added in the order of ranks, whoever adds them, so that the sum is bitwise the same wherever it lands.
/// `scratch` gives size - 1 times the size of `mine`; elements are of an accumulation type.
///
/// **Steps** one. **Bytes** all parts but the own one. **Memory** size - 1 parts. **Order** rank 0 first.
/// **Overlap** none.
/// \snippet collective/reduce_scatter_test.cpp reduce_scatter
template <communicator C, class From, class T, int Rank, class Space, class Place>
void reduce_scatter(C& comm, view<From, Rank, Space> all, view<T, Rank, Space> mine, int along, Place place,
                    posting& lists, arena<Space>& scratch, stream_t<C> stream, role what = role::gradient) {
  int const me = comm.rank(), size = comm.size();
  // A dense view like `mine`, one for each other rank, in the order of ranks.
  auto part = mine;
  extent elements = 1;
  for (int axis = Rank - 1; axis >= 0; --axis) part.strides[axis] = elements, elements *= part.extents[axis];
  T* const terms = scratch.template take<T>(checked_multiply(elements, size - 1));
  auto const term_of = [&](int rank) {
    part.data = terms + elements * (rank < me ? rank : rank - 1);
    return part;
  };

  lists.clear();
  for (int step = 1; step <= schedule::direct::steps(size); ++step) {
    int const to = schedule::direct::to(me, size, step), from = schedule::direct::from(me, size, step);
    lists.send(piece_of(slice(all, along, place(to)), what, wire(comm, to)));
    lists.receive(piece_of(term_of(from), what, wire(comm, from)));
  }
  lists.run(comm, stream, pattern::all_to_all);

  auto const own = slice(all, along, place(me));
  copy_own(stream, piece_of(mine, what), piece_of(me == 0 ? view<const T, Rank, Space>(own) : term_of(0), what));
  for (int rank = 1; rank < size; ++rank) {
    stream.elementwise(elementwise::add_to{}, mine, rank == me ? view<const T, Rank, Space>(own) : term_of(rank));
  }
}

}  // namespace ringfold
