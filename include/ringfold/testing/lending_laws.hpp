#pragma once

#include <ringfold/testing/traffic.hpp>

/// \file
/// What the library relies on in a communicator that lends memory; communicator_laws() runs them.

namespace ringfold::laws {

/// A receive without memory sees what was sent for as long as it is not released, whatever the sender does once its
/// own request is reusable.
template <communicator C>
  requires lends<C>
void lending(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  stream_t<C> const s{};
  for (extent const count : {1, 3, 600}) {
    marked out(count), like(count), word_out(1), word_in(1);
    auto posted = letter<C>(comm)
                      .send(out.filled(me, next, 0), next)
                      .receive(like.without_memory(wire(comm, previous)), previous)
                      .post();
    posted.arrived(s);
    auto const seen = [&] { return view_of<double, 2>(posted.received(0)); };
    like.expect("lending", seen(), previous, me, 0);
    letter<C>(comm).send(word_out, next).receive(word_in, previous).post().arrived(s);  // everybody holds a loan
    for (int look = 0; look < 100; ++look) {
      if (posted.test()) out.overwrite();
    }
    letter<C>(comm).send(word_out, next).receive(word_in, previous).post().arrived(s);
    like.expect("lending", seen(), previous, me, 0);
    posted.release(s);
    posted.release(s);
    posted.reusable(s);
    out.overwrite();
  }
}

/// Borrowed memory may be sent on before it is released: its owner alone waits until the last reader lets go.
template <communicator C>
  requires lends<C>
void sending_on(C comm, int laps = 2) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  stream_t<C> const s{};
  for (extent const count : {2, 400}) {
    marked mine(count);
    request_t<C> home, moving[2];
    piece held = mine.filled(me, 0, 0).to(0);
    for (int step = 0; step < laps * size; ++step) {
      request_t<C>& posted = step == 0 ? home : moving[step % 2];
      posted = letter<C>(comm).send(held, next).receive(mine.without_memory(0), previous).post();
      posted.arrived(s);
      if (step > 0) posted.reusable(s);
      held = posted.received(0);
      int const origin = ((me - step - 1) % size + size) % size;
      mine.expect("sending on", view_of<double, 2>(held), origin, 0, 0);
      if (step > 0) (step == 1 ? home : moving[(step - 1) % 2]).release(s);
    }
    home.release(s);
    moving[0].release(s);
    moving[1].release(s);
    home.reusable(s);
    mine.overwrite();
  }
}

/// What was sent on stays readable on its way, after the rank that sent it on has released it.
template <communicator C>
  requires lends<C>
void released_on_the_way(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  int const after_next = (me + 2) % size, origin = (me + 2 * size - 2) % size;
  if (size < 3) return;  // its words would have to overtake the memory that is on its way
  stream_t<C> const s{};
  for (extent const count : {2, 400}) {
    marked mine(count), word_out(1), word_in(1);
    auto lent = letter<C>(comm).send(mine.filled(me, 0, 0), next).receive(mine.without_memory(0), previous).post();
    lent.arrived(s);
    auto sent_on = letter<C>(comm).send(lent.received(0), next).post();
    lent.release(s);
    letter<C>(comm).send(word_out, previous).receive(word_in, next).post().arrived(s);  // it was sent on and released
    for (int look = 0; look < 100; ++look) {
      if (lent.test()) mine.overwrite();
    }
    letter<C>(comm).send(word_out, after_next).receive(word_in, origin).post().arrived(s);  // its owner has looked
    auto received = letter<C>(comm).receive(mine.without_memory(0), previous).post();
    received.arrived(s);
    mine.expect("released on the way", view_of<double, 2>(received.received(0)), origin, 0, 0);
    received.release(s);
    sent_on.reusable(s);
    lent.reusable(s);
    mine.overwrite();
  }
}

}  // namespace ringfold::laws
