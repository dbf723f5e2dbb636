#pragma once

#include <vector>

#include <ringfold/collective/told_slots.hpp>
#include <ringfold/schedule/gather_scan.hpp>

/// \file
/// Exclusive scans in which every rank folds the elements before its slots by itself.

namespace ringfold {

/// The state that enters each of the caller's slots: the elements before it come from all ranks, and are folded in order.
///
/// Used as chain_scan is. Nothing is sent past where somebody needs it: not across documents, not to ranks without
/// slots. Of a slot that a document begins in travels the state that it leaves, as of slot 0.
/// **Steps, Order** the schedule's. **Bytes** at most the schedule's. **Memory** a state for each of the caller's slots,
/// two where one begins a document and leaves something, an element for each other slot that comes by, and two states.
/// **Overlap** the caller's work between start() and finish(), with advance() in between.
/// Throws what the communicator throws. Source: the schedule's.
template <class Schedule, class G, communicator C>
class gather_scan {
 public:
  using stream = stream_t<C>;
  using space = space_t<C>;
  using state = typename G::state;
  using element = typename G::element;

  /// \throws usage_error when a slot has no owner.
  gather_scan(Schedule schedule, G algebra, C comm, scan_slots slots, arena<space>& memory)
      : algebra_(algebra),
        comm_(comm),
        slots_(static_cast<scan_slots&&>(slots)),
        mine_(algebra, slots_, comm.rank(), memory) {
    slots_.check(comm.size());
    known_.resize(static_cast<std::size_t>(slots_.count()));
    scratch_ = algebra_.take_state(memory);
    plan(schedule, memory);
  }

  /// As chain_scan's.
  void start(span<const element> mine, const state* seed, stream on) {
    mine_.begin(slots_, mine, seed, on);
    for (const auto& each : mine_.own()) known_[index(each.slot)] = {each.own, each.after};
    at_ = 0, folded_ = false;
    post(on);
  }

  bool advance(stream on) {
    while (at_ < rounds_.size() && posted_.test()) end_round(on);
    if (at_ == rounds_.size() && !folded_) fold(on);
    return folded_;
  }

  void finish(stream on) {
    while (at_ < rounds_.size()) end_round(on);
    if (!folded_) fold(on);
  }

  const state& before(int own) const { return mine_.own()[index(own)].before; }

 private:
  /// What a slot tells: of one that begins the state after it, of any other its element.
  struct known {
    element own{};
    state after{};
  };
  struct message {
    int slot, peer;
    bool sends;
  };

  static std::size_t index(int i) { return static_cast<std::size_t>(i); }

  /// Where the fold for a slot takes off: at the last slot that begins, or at the owner's own slot before it.
  int takes_off(int slot, int own_before) const {
    int from = slot - 1;
    while (!slots_.begins(from) && from != own_before) --from;
    return from;
  }

  /// From the last round to the first: what somebody needs, or hands on later, must come to him.
  void plan(const Schedule& schedule, arena<space>& memory) {
    auto const circle = slots_.circle();
    int const ranks = static_cast<int>(circle.size());
    std::vector<std::vector<int>> of;
    std::vector<std::vector<unsigned char>> wanted(circle.size(), std::vector<unsigned char>(known_.size()));
    for (int place = 0; place < ranks; ++place) {
      of.push_back(slots_.of(circle[index(place)]));
      int own_before = -1;
      for (int const slot : of.back()) {
        for (int need = slots_.enters(slot) ? takes_off(slot, own_before) : slot; need < slot; ++need)
          wanted[index(place)][index(need)] = 1;
        own_before = slot;
      }
    }
    std::size_t most = 0;
    for (int round = schedule.rounds(ranks) - 1; round >= 0; --round) {
      auto const move = schedule.at(ranks, round);
      std::vector<message> mine;
      for (int from = 0; from < ranks; ++from) {
        int const to = (from + move.distance) % ranks;
        int const sender = circle[index(from)], receiver = circle[index(to)];
        for (int back = move.first; back < move.first + move.count; ++back) {
          for (int const slot : of[index((from + ranks - back) % ranks)]) {
            if (!wanted[index(to)][index(slot)]) continue;
            wanted[index(from)][index(slot)] = 1;
            if (sender == comm_.rank()) mine.push_back({slot, receiver, true});
            if (receiver == comm_.rank()) mine.push_back({slot, sender, false}), take(slot, memory);
          }
        }
      }
      most = mine.size() > most ? mine.size() : most;
      if (!mine.empty()) rounds_.insert(rounds_.begin(), static_cast<std::vector<message>&&>(mine));
    }
    lists_.sends.reserve(2 * most), lists_.receives.reserve(2 * most);
  }

  void take(int slot, arena<space>& memory) {
    if (slots_.begins(slot)) {
      known_[index(slot)].after = algebra_.take_state(memory);
    } else {
      known_[index(slot)].own = algebra_.take_element(memory);
    }
  }

  /// Both ends of a pair of ranks list what travels by how far back it began, and by slot.
  void post(stream on) {
    if (at_ == rounds_.size()) return;
    lists_.clear();
    auto const list = [&](const auto& views, const message& each) {
      for (auto const& view : views) {
        piece const one = piece_of(view, role::state, wire(comm_, each.peer));
        each.sends ? lists_.send(one) : lists_.receive(one);
      }
    };
    for (const message& each : rounds_[at_]) {
      known const& of = known_[index(each.slot)];
      slots_.begins(each.slot) ? list(algebra_.views(of.after), each) : list(algebra_.views(of.own), each);
    }
    posted_ = lists_.post(comm_, on);
  }

  void end_round(stream on) {
    or_poison(comm_, [&] {
      posted_.arrived(on);
      posted_.reusable(on);
    });
    ++at_;
    post(on);
  }

  void fold(stream on) {
    int own_before = -1;
    const state* entered = nullptr;  // that slot
    for (auto& each : mine_.own()) {
      if (slots_.enters(each.slot)) {
        int const from = takes_off(each.slot, own_before);
        bool const begins = slots_.begins(from);
        state now = begins ? known_[index(from)].after : *entered;
        int const first = begins ? from + 1 : from;
        if (first == each.slot) detail::copy_views(algebra_, on, now, each.before);
        for (int slot = first; slot < each.slot; ++slot) {
          state const into = (each.slot - slot) % 2 == 1 ? each.before : scratch_;  // the last one into before
          algebra_.apply(on, now, known_[index(slot)].own, into);
          now = into;
        }
      }
      own_before = each.slot, entered = &each.before;
    }
    folded_ = true;
  }

  G algebra_;
  C comm_;
  scan_slots slots_;
  detail::told_slots<G, stream> mine_;
  state scratch_{};
  std::vector<known> known_;
  std::vector<std::vector<message>> rounds_;
  std::size_t at_ = 0;
  bool folded_ = false;
  posting lists_;
  request_t<C> posted_;
};

}  // namespace ringfold
