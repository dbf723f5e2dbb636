#pragma once

#include <vector>

#include <ringfold/collective/told_slots.hpp>
#include <ringfold/schedule/all_to_all_scan.hpp>

/// \file
/// Exclusive scans in which every rank folds one part of the state for all.

namespace ringfold {

/// The state that enters each of the caller's slots: parts of all elements go to the ranks that fold them, and come back.
///
/// Used as chain_scan is. Parts are dealt to the ranks that own slots, by their first ones. Between documents nothing is
/// sent; of a slot that a document begins in travels the state that it leaves, as of slot 0.
/// **Steps, Order** the schedule's. **Bytes** at most the schedule's. **Memory** a state for each of the caller's slots,
/// two where one begins a document and leaves something, a part of a state and of an element for each slot of anybody's, and a state.
/// **Overlap** the caller's work between start() and finish(), with advance() in between.
/// Throws what the communicator throws. Source: schedule::all_to_all's.
template <class G, communicator C>
class all_to_all_scan {
 public:
  using stream = stream_t<C>;
  using space = space_t<C>;
  using state = typename G::state;
  using element = typename G::element;
  static_assert(
      scan_parts<G, space>,
      "[ringfold] scan: by this schedule everybody folds one part of the state, and these states have none; "
      "add    of_part(index, count);    which gives take_state(arena) and take_element(arena) of such a part");

  /// \throws usage_error when a slot has no owner.
  all_to_all_scan(schedule::all_to_all schedule, G algebra, C comm, scan_slots slots, arena<space>& memory)
      : algebra_(algebra),
        comm_(comm),
        slots_(static_cast<scan_slots&&>(slots)),
        mine_(algebra, slots_, comm.rank(), memory) {
    slots_.check(comm.size());
    circle_ = slots_.circle();
    parts_ = schedule.parts(static_cast<int>(circle_.size()), algebra_.most_parts());
    circle_.resize(static_cast<std::size_t>(parts_));  // who folds
    std::size_t const sent = mine_.own().size() * circle_.size();
    for (int part = 0; part < parts_; ++part) {
      if (circle_[index(part)] != comm_.rank()) continue;
      auto const narrow = algebra_.of_part(part, parts_);
      parts_of_.resize(index(slots_.count()));
      for (int slot = 0; slot < slots_.count(); ++slot) {
        auto& each = parts_of_[index(slot)];
        if (slots_.enters(slot)) each.before = narrow.take_state(memory);
        if (slots_.leaves(slot) && !slots_.begins(slot)) each.own = narrow.take_element(memory);
      }
    }
    std::size_t const most = 2 * (sent > parts_of_.size() ? sent : parts_of_.size());
    lists_.sends.reserve(most), lists_.receives.reserve(most);
  }

  /// As chain_scan's.
  void start(span<const element> mine, const state* seed, stream on) {
    mine_.begin(slots_, mine, seed, on);
    lists_.clear();
    for (int part = 0; part < parts_; ++part) {
      for (const auto& each : mine_.own()) {
        if (!slots_.leaves(each.slot)) continue;
        if (slots_.begins(each.slot)) {
          send(algebra_.part(each.after, part, parts_), circle_[index(part)]);
        } else {
          send(algebra_.part(each.own, part, parts_), circle_[index(part)]);
        }
      }
    }
    for (int slot = 0; slot < static_cast<int>(parts_of_.size()); ++slot) {
      if (!slots_.leaves(slot)) continue;
      if (slots_.begins(slot)) {
        receive(parts_of_[index(slot + 1)].before, slots_.owner(slot));
      } else {
        receive(parts_of_[index(slot)].own, slots_.owner(slot));
      }
    }
    posted_ = lists_.post(comm_, on);
    rounds_left_ = 2;
  }

  bool advance(stream on) {
    while (rounds_left_ > 0 && posted_.test()) end_round(on);
    return rounds_left_ == 0;
  }

  void finish(stream on) {
    while (rounds_left_ > 0) end_round(on);
  }

  const state& before(int own) const { return mine_.own()[index(own)].before; }

 private:
  /// A part of what enters a slot, and of its element.
  struct folded {
    state before{};
    element own{};
  };

  static std::size_t index(int i) { return static_cast<std::size_t>(i); }

  template <class Some>
  void send(const Some& part, int to) {
    for (auto const& view : algebra_.views(part)) lists_.send(piece_of(view, role::state, wire(comm_, to)));
  }
  template <class Some>
  void receive(const Some& part, int from) {
    for (auto const& view : algebra_.views(part)) lists_.receive(piece_of(view, role::state, wire(comm_, from)));
  }

  void end_round(stream on) {
    or_poison(comm_, [&] {
      posted_.arrived(on);
      posted_.reusable(on);
    });
    if (--rounds_left_ == 1) bring_home(on);
  }

  /// Folds the caller's part for all slots, and sends each its own.
  void bring_home(stream on) {
    lists_.clear();
    for (int slot = 0; slot < static_cast<int>(parts_of_.size()); ++slot) {
      folded const& each = parts_of_[index(slot)];
      if (slots_.leaves(slot) && !slots_.begins(slot))
        algebra_.apply(on, each.before, each.own, parts_of_[index(slot + 1)].before);
      if (slots_.enters(slot)) send(each.before, slots_.owner(slot));
    }
    for (int part = 0; part < parts_; ++part) {
      for (const auto& each : mine_.own()) {
        if (slots_.enters(each.slot)) receive(algebra_.part(each.before, part, parts_), circle_[index(part)]);
      }
    }
    posted_ = lists_.post(comm_, on);
  }

  G algebra_;
  C comm_;
  scan_slots slots_;
  detail::told_slots<G, stream> mine_;
  int parts_ = 0;
  std::vector<int> circle_;
  std::vector<folded> parts_of_;  // of slots, where the caller folds
  int rounds_left_ = 0;
  posting lists_;
  request_t<C> posted_;
};

}  // namespace ringfold
