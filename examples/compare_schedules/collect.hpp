#pragma once

#include <vector>

#include <ringfold/collective/posting.hpp>

/// \file
/// Between measured calls: a barrier, and everybody's numbers to rank 0.

namespace compare_schedules {

/// Numbers as a piece of plain bytes.
template <class T>
ringfold::piece bytes_of(std::vector<T>& numbers, int peer) {
  ringfold::piece made;
  made.data = numbers.data();
  made.extents[3] = static_cast<ringfold::extent>(numbers.size() * sizeof(T));
  made.strides[3] = 1;
  made.type = {1, 8};
  made.peer = peer;
  return made;
}

/// Returns when every rank has called it: in round k everybody hears from the rank 2^k before.
template <class C>
void barrier(C& comm) {
  std::vector<char> token(1), heard(1);
  for (int distance = 1; distance < comm.size(); distance *= 2) {
    ringfold::posting round;
    round.send(bytes_of(token, (comm.rank() + distance) % comm.size()));
    round.receive(bytes_of(heard, (comm.rank() + comm.size() - distance) % comm.size()));
    round.run(comm, {});
  }
}

/// What every rank says, by rank, on every rank.
template <class C>
std::vector<char> everybody(C& comm, bool mine) {
  std::vector<char> said(static_cast<std::size_t>(comm.size()), mine);
  ringfold::posting lists;
  for (int rank = 0; rank < comm.size(); ++rank) {
    if (rank == comm.rank()) continue;
    ringfold::piece one = bytes_of(said, rank);
    one.extents[3] = 1;
    one.data = &said[static_cast<std::size_t>(comm.rank())];
    lists.send(one);
    one.data = &said[static_cast<std::size_t>(rank)];
    lists.receive(one);
  }
  lists.run(comm, {});
  return said;
}

/// On rank 0, calls show(rank, numbers) for each rank in turn; count(rank) is how many numbers a rank brings.
template <class T, class C, class Count, class Show>
void collect(C& comm, std::vector<T>& mine, Count count, Show show) {
  ringfold::posting one;
  if (comm.rank() != 0) {
    one.send(bytes_of(mine, 0));
    return one.run(comm, {});
  }
  show(0, mine);
  for (int rank = 1; rank < comm.size(); ++rank) {
    std::vector<T> theirs(static_cast<std::size_t>(count(rank)));
    one.clear();
    one.receive(bytes_of(theirs, rank));
    one.run(comm, {});
    show(rank, theirs);
  }
}

}  // namespace compare_schedules
