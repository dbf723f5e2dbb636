#pragma once

#include <vector>

#include <ringfold/algebra/scan_algebra.hpp>
#include <ringfold/collective/posting.hpp>
#include <ringfold/schedule/scan.hpp>
#include <ringfold/schedule/slots.hpp>

/// \file
/// Exclusive scans that hand a state on from slot to slot.

namespace ringfold {

/// The state that enters each of the caller's slots: each slot sends on what its element makes of what entered it.
///
/// Every rank makes one, calls start() with the elements of its slots, does meanwhile what needs no state, and calls
/// finish(). All memory is taken of the arena when it is made. Between documents nothing is sent.
/// With several pieces, a piece goes on as soon as it was worked on, while the next ones are on their way.
/// **Steps** slots - 2 + pieces from the first slot to the last. **Bytes** a state from each slot but the last.
/// **Memory** two states for each of the caller's slots, and one. **Order** the serial one.
/// **Overlap** the caller's work between start() and finish(), with advance() in between; pieces with each other.
/// Throws what the communicator throws. Source: schedule::chain's.
template <class G, communicator C>
class chain_scan {
 public:
  using stream = stream_t<C>;
  using space = space_t<C>;
  using state = typename G::state;
  using element = typename G::element;
  static_assert(
      scan_action<G, stream>,
      "[ringfold] scan: these states cannot be handed on; add    take_state(arena); take_element(arena); "
      "views(state); apply(stream, state, element, into); part(state or element, index, count); most_parts();");

  /// \throws usage_error when a slot has no owner, or the state cannot be cut into so many pieces.
  chain_scan(schedule::chain schedule, G algebra, C comm, scan_slots slots, arena<space>& memory)
      : algebra_(algebra), comm_(comm), slots_(static_cast<scan_slots&&>(slots)), pieces_(schedule.pieces) {
    slots_.check(comm.size());
    if (pieces_ < 1 || pieces_ > algebra_.most_parts()) {
      throw usage_error(say("scan: a state in %d pieces; allowed: 1 to %lld", pieces_,
                            static_cast<long long>(algebra_.most_parts())));
    }
    nothing_ = algebra_.take_state(memory);
    for (int const slot : slots_.of(comm.rank())) {
      held_.push_back({slot, algebra_.take_state(memory), algebra_.take_state(memory), {}, {}, {}});
      held_.back().coming.resize(static_cast<std::size_t>(pieces_));
      held_.back().going.resize(static_cast<std::size_t>(pieces_));
      reads_nothing_ = reads_nothing_ || slots_.begins(slot);
    }
    lists_.sends.reserve(8), lists_.receives.reserve(8);
  }

  /// Begins: `mine` are the elements of the caller's slots, readable until finish(); `seed` enters slot 0, and is looked
  /// at by its owner only.
  void start(span<const element> mine, const state* seed, stream on) {
    if (reads_nothing_) on.elementwise(elementwise::set_zero{}, nothing_);
    std::size_t index = 0;
    for (held& each : held_) {
      each.own = mine[index++];
      if (!slots_.enters(each.slot)) {
        detail::copy_views(algebra_, on, each.slot == 0 && seed != nullptr ? *seed : nothing_, each.before);
        continue;
      }
      for (int piece = 0; piece < pieces_; ++piece) {
        lists_.clear();
        for (auto const& view : algebra_.views(algebra_.part(each.before, piece, pieces_))) {
          lists_.receive(piece_of(view, role::state, wire(comm_, slots_.owner(each.slot - 1))));
        }
        each.coming[static_cast<std::size_t>(piece)] = lists_.post(comm_, on);
      }
    }
    next_ = 0, next_piece_ = 0, complete_ = false;
    advance(on);
  }

  /// Hands on what has come by now, and never waits. Whether before() is complete, without finish().
  bool advance(stream on) {
    or_poison(comm_, [&] {
      while (next_ < held_.size() && (slots_.forgets_at(held_[next_].slot) || next_coming().test())) hand_on(on);
      if (next_ == held_.size() && !complete_ && all_came()) complete(on);
    });
    return complete_;
  }

  /// Ends: before() is what enters each of the caller's slots.
  void finish(stream on) {
    or_poison(comm_, [&] {
      while (next_ < held_.size()) hand_on(on);
      if (!complete_) complete(on);
      for (held& each : held_) {
        for (auto& going : each.going) {
          going.arrived(on);
          going.reusable(on);
        }
      }
    });
  }

  /// What enters the own-th of the caller's slots: zero where nothing does.
  const state& before(int own) const { return held_[static_cast<std::size_t>(own)].before; }

 private:
  struct held {
    int slot;
    state before, after;
    element own;
    std::vector<request_t<C>> coming, going;
  };

  request_t<C>& next_coming() { return held_[next_].coming[static_cast<std::size_t>(next_piece_)]; }

  /// The next piece of the next slot: always in this order, as the receiver's.
  void hand_on(stream on) {
    held& each = held_[next_];
    if (!slots_.forgets_at(each.slot)) next_coming().arrived(on);
    if (slots_.leaves(each.slot)) send_on(each, next_piece_, on);
    if (++next_piece_ == pieces_) ++next_, next_piece_ = 0;
  }

  /// What came to slots that forget: hand_on() did not wait for it.
  bool all_came() {
    for (held& each : held_) {
      for (auto& coming : each.coming) {
        if (slots_.forgets_at(each.slot) && !coming.test()) return false;
      }
    }
    return true;
  }
  void complete(stream on) {
    for (held& each : held_) {
      for (auto& coming : each.coming) {
        if (slots_.forgets_at(each.slot)) coming.arrived(on);
      }
    }
    complete_ = true;
  }

  void send_on(held& from, int piece, stream on) {
    state const enters = algebra_.part(slots_.forgets_at(from.slot) ? nothing_ : from.before, piece, pieces_);
    state const after = algebra_.part(from.after, piece, pieces_);
    algebra_.apply(on, enters, algebra_.part(from.own, piece, pieces_), after);
    lists_.clear();
    for (auto const& view : algebra_.views(after)) {
      lists_.send(piece_of(view, role::state, wire(comm_, slots_.owner(from.slot + 1))));
    }
    from.going[static_cast<std::size_t>(piece)] = lists_.post(comm_, on);
  }

  G algebra_;
  C comm_;
  scan_slots slots_;
  int pieces_;
  state nothing_{};
  bool reads_nothing_ = false;
  std::vector<held> held_;
  std::size_t next_ = 0;
  int next_piece_ = 0;
  bool complete_ = false;
  posting lists_;
};

}  // namespace ringfold
