#pragma once

#include <ringfold/collective/ring_pass.hpp>

/// \file
/// What ranks add to each other's parcels, carried on around the ring and home.

namespace ringfold {

/// The way back of a ring_pass(): sums that follow the parcels, one step behind, and end at their owners.
///
/// A sum is born at the first foreign rank that wants the parcel, goes on with it to the last one, and from there
/// straight home. It is never lent: each hop is one copy, made while the rank computes its own part.
///
/// `buffer(origin, slot)` is memory for the sum of a rank's parcel, in one of 3 slots; `arrived_home()` memory for the
/// own one when it comes back; `wanted(rank, origin)` as in ring_pass(); `add(into, from)` adds on the stream.
///
/// **Steps** at most size - 1. **Bytes** of a sum: once per hop from the first foreign rank that wants the parcel to
/// the last, and once home. **Memory** three sums, and the own one as it arrives. **Order** a sum's terms are added in
/// ring order from its owner on. **Overlap** a sum travels while the next rank computes its own part.
/// Source: zhuzilin/ring-flash-attention (dK and dV ring).
template <int N, communicator C, class Buffer, class Home, class Wanted, class Add>
class ring_return {
 public:
  ring_return(C& comm, Buffer buffer, Home arrived_home, Wanted wanted, Add add, stream_t<C> on)
      : comm_(comm),
        buffer_(buffer),
        arrived_home_(arrived_home),
        wanted_(wanted),
        add_(add),
        on_(on),
        me_(comm.rank()),
        size_(comm.size()) {}

  /// One step of the ring: `compute(parcel*)` adds the caller's part to the sum for the rank at this distance behind,
  /// or gets nullptr when the caller wants nothing of it. `home` is where the caller's own sum ends.
  template <class Compute>
  void step(int distance, parcel<N>& home, Compute compute) {
    int const origin = schedule::ring::held(me_, size_, distance);
    path const way = path_of(origin);
    bool const comes = distance > way.first && distance <= way.last, mine = wanted_(me_, origin);
    int const own_slot = (busy_ + 1) % 3, other_slot = (busy_ + 2) % 3;
    request_t<C> posted;
    or_poison(comm_, [&] {
      parcel<N> arriving = buffer_(origin, other_slot), own = buffer_(origin, own_slot);
      posted = post(distance, comes ? &arriving : nullptr);
      compute(mine ? &own : nullptr);
      posted.arrived(on_);
      if (comes && mine) add_(own, arriving);
      come_home(distance, home);
      posted.reusable(on_);
      total_ = mine ? own : arriving;
      busy_ = mine ? own_slot : other_slot;
    });
  }

  /// Sends the last sums home; the caller's is complete afterwards.
  void finish(parcel<N>& home) {
    request_t<C> posted;
    or_poison(comm_, [&] {
      posted = post(size_, nullptr);
      posted.arrived(on_);
      come_home(size_, home);
      posted.reusable(on_);
    });
  }

 private:
  using ring = schedule::ring;

  /// The first and the last distance behind its owner at which a parcel is wanted; 0 and 0 where nobody does.
  struct path {
    int first = 0, last = 0;
  };
  path path_of(int origin) const {
    path way;
    for (int distance = 1; distance < size_; ++distance) {
      if (!wanted_((origin + distance) % size_, origin)) continue;
      if (way.first == 0) way.first = distance;
      way.last = distance;
    }
    return way;
  }

  bool home_at(int distance) const {
    int const last = path_of(me_).last;
    return last > 0 && distance == last + 1;
  }

  void come_home(int distance, parcel<N>& home) {
    if (home_at(distance)) add_(home, arrived_home_());
  }

  /// The exchange while the caller computes for the rank at `distance`: on goes the sum of the step before.
  request_t<C> post(int distance, parcel<N>* arriving) {
    int const behind = distance - 1, sent_origin = ring::held(me_, size_, behind);
    path const sent = path_of(sent_origin);
    bool const sends = behind > 0 && behind >= sent.first && behind <= sent.last, comes_home = home_at(distance);
    if (!sends && arriving == nullptr && !comes_home) return {};
    piece sends_list[N], receives[2 * N];
    std::size_t count = 0;
    int const to = wire(comm_, behind == sent.last ? sent_origin : ring::to(me_, size_));
    for (int i = 0; i < N && sends; ++i) sends_list[i] = total_.pieces[i], sends_list[i].peer = to;
    for (int i = 0; i < N && arriving != nullptr; ++i) {
      receives[count] = arriving->pieces[i];
      receives[count++].peer = wire(comm_, ring::from(me_, size_));
    }
    if (comes_home) {
      parcel<N> const mine = arrived_home_();
      for (const piece& each : mine.pieces) {
        receives[count] = each;
        receives[count++].peer = wire(comm_, (me_ + distance - 1) % size_);
      }
    }
    return comm_.post({.sends = {sends_list, sends ? std::size_t{N} : 0}, .receives = {receives, count}}, on_);
  }

  C& comm_;
  Buffer buffer_;
  Home arrived_home_;
  Wanted wanted_;
  Add add_;
  stream_t<C> on_;
  int me_, size_;
  parcel<N> total_{};
  int busy_ = 0;
};

template <class C, class Buffer, class Home, class Wanted, class Add>
ring_return(C&, Buffer, Home, Wanted, Add, stream_t<C>)
    -> ring_return<decltype(std::declval<Home&>()())::count, C, Buffer, Home, Wanted, Add>;

}  // namespace ringfold
