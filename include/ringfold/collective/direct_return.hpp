#pragma once

#include <ringfold/collective/ring_pass.hpp>

/// \file
/// What ranks make of each other's parcels, sent straight to its owner.

namespace ringfold {

/// The way back of a ring_pass() around the same ring: what a rank makes of a parcel goes to its owner at once, however
/// far that is.
///
/// `home` is where everything that others made of the caller's parcel is folded together by `fold(into, from)`, on the
/// stream; `arriving` is memory like it for one on its way, or none where memory is lent. `wanted(rank, origin)`: does
/// that rank make anything of that parcel? A pure function that all ranks share.
///
/// **Steps** at most size - 1. **Bytes** one result for each parcel that the caller worked on but its own.
/// **Memory** `arriving`, and two results on their way; the former not where memory is lent. **Order** folded by the
/// distance that the parcel had gone. **Overlap** a result travels while the next one is computed.
/// Source: TokenRing (Wang et al., 2024).
/// \snippet collective/direct_return_test.cpp direct_return
template <class Ring, int N, communicator C, class Wanted, class Fold>
class direct_return {
 public:
  direct_return(Ring, C& comm, parcel<N> home, parcel<N> arriving, Wanted wanted, Fold fold, stream_t<C> on)
      : comm_(comm), home_(home), arriving_(arriving), wanted_(wanted), fold_(fold), on_(on) {}

  /// Sends off what the caller made of the parcel that it holds at a step; call it for 1 .. size - 1 in turn.
  /// `made` must not change before the next but one call, or finish(), is over.
  void step(int step, parcel<N> made) {
    int const me = comm_.rank(), size = comm_.size();
    int const origin = Ring::held(me, size, step), reader = Ring::holder(me, size, step);
    finish();
    bool const sends = wanted_(me, origin), receives = wanted_(reader, me);
    if (!sends && !receives) return;
    for (piece& each : made.pieces) each.peer = wire(comm_, origin);
    for (piece& each : arriving_.pieces) each.peer = wire(comm_, reader);
    posted_ = comm_.post({.sends = {made.pieces, sends ? std::size_t{N} : 0},
                          .receives = {arriving_.pieces, receives ? std::size_t{N} : 0}},
                         on_);
    under_way_ = true, comes_ = receives;
  }

  /// Folds in what is still on its way; the home is complete after the last step.
  void finish() {
    if (!under_way_) return;
    under_way_ = false;
    or_poison(comm_, [&] {
      posted_.arrived(on_);
      if (comes_) fold_(home_, received<N, C>(posted_, arriving_.pieces, 0));
      if constexpr (lends<C>) posted_.release(on_);
      posted_.reusable(on_);
    });
  }

 private:
  C& comm_;
  parcel<N> home_, arriving_;
  Wanted wanted_;
  Fold fold_;
  stream_t<C> on_;
  request_t<C> posted_;
  bool under_way_ = false, comes_ = false;
};

}  // namespace ringfold
