#pragma once

#include <ringfold/testing/traffic.hpp>

/// \file
/// What the library relies on in a request; communicator_laws() runs them.

namespace ringfold::laws {

/// An exchange without pieces is legal, waits for nobody and is complete.
template <communicator C>
void empty_exchange(C comm) {
  auto nothing = letter<C>(comm).post();
  nothing.arrived(stream_t<C>{});
  nothing.reusable(stream_t<C>{});
  require(nothing.test(), say("empty exchange: rank %d, it is not complete", comm.rank()));
}

/// A request that is destroyed or assigned to completes first: what it receives is there, what it sent was read.
template <communicator C>
void drop_drains(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  request_t<C> kept;
  for (int message = 0; message < 6; ++message) {
    marked out(200), in(200);
    {
      auto posted = letter<C>(comm).send(out.filled(me, next, message), next).receive(in, previous).post();
      if (message % 2 == 1) {
        kept = std::move(posted);
        kept = {};
      }
    }
    out.overwrite();
    in.expect("drop drains", previous, me, message);
  }
}

/// A request that was moved from, or default-made, is complete; the one it was moved to carries on.
template <communicator C>
void moves(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  marked out(200), in(200);
  auto posted = letter<C>(comm).send(out.filled(me, next, 0), next).receive(in, previous).post();
  request_t<C> moved(std::move(posted)), made;
  for (request_t<C>* each : {&posted, &made}) {
    each->arrived(stream_t<C>{});
    each->reusable(stream_t<C>{});
    require(each->test(), say("moves: rank %d, a request that holds nothing is not complete", me));
  }
  moved.arrived(stream_t<C>{});
  in.expect("moves", previous, me, 0);
  moved.reusable(stream_t<C>{});
  require(moved.test(), say("moves: rank %d, an exchange that arrived and is reusable is not complete", me));
}

/// Once a request is reusable, what was sent may be overwritten, whether its own receives were looked at or not;
/// test() alone gets there too.
template <communicator C>
void reusable_before_arrived(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  for (int message = 0; message < 4; ++message) {
    marked out(1000), in(1000);
    auto posted = letter<C>(comm).send(out.filled(me, next, message), next).receive(in, previous).post();
    if (message % 2 == 0) {
      posted.reusable(stream_t<C>{});
    } else {
      while (!posted.test()) {}
    }
    out.overwrite();
    posted.arrived(stream_t<C>{});
    in.expect("reusable before arrived", previous, me, message);
  }
}

/// Who waits for one request keeps all others going: ranks that each wait for their sends do not block each other.
template <communicator C>
void progress(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  marked out(20'000), in(20'000);
  auto sent = letter<C>(comm).send(out.filled(me, next, 0), next).post();
  auto received = letter<C>(comm).receive(in, previous).post();
  sent.reusable(stream_t<C>{});
  out.overwrite();
  received.arrived(stream_t<C>{});
  in.expect("progress", previous, me, 0);
}

}  // namespace ringfold::laws
