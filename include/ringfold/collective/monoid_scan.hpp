#pragma once

#include <utility>
#include <vector>

#include <ringfold/algebra/scan_algebra.hpp>
#include <ringfold/collective/posting.hpp>
#include <ringfold/schedule/scan.hpp>
#include <ringfold/schedule/slots.hpp>

/// \file
/// Exclusive scans that join elements in few rounds.

namespace ringfold {

/// The state that enters each of the caller's slots: elements join each other by a schedule of few rounds.
///
/// Used as chain_scan is. A seed is made a part of slot 0's element, so that nobody else needs it.
/// What a message would be put in front of may begin with a document already: then it is not sent.
/// **Steps, Bytes, Order** the schedule's. **Memory** seven elements for each of the caller's slots.
/// **Overlap** the caller's work between start() and finish(), with advance() in between.
/// Throws what the communicator throws. Source: the schedule's.
template <class Schedule, class G, communicator C>
class monoid_scan {
 public:
  using stream = stream_t<C>;
  using space = space_t<C>;
  using state = typename G::state;
  using element = typename G::element;
  static_assert(scan_monoid<G, stream>,
                "[ringfold] scan: this schedule joins elements, and these do not join; add    compose(stream, first, "
                "then, into); value_of(element); views(element);    or hand states on by schedule::chain");

  /// \throws usage_error when a slot has no owner.
  monoid_scan(Schedule schedule, G algebra, C comm, const scan_slots& slots, arena<space>& memory)
      : algebra_(algebra), comm_(comm) {
    slots.check(comm.size());
    for (int const slot : slots.of(comm.rank())) {
      auto const one = [&] { return algebra_.take_element(memory); };
      held_.push_back({slot, {}, one(), {one(), one()}, {one(), one()}, one(), one()});
    }
    plan(schedule, slots);
  }

  /// As chain_scan's.
  void start(span<const element> mine, const state* seed, stream on) {
    std::size_t index = 0;
    for (held& each : held_) {
      each.own = mine[index++];
      each.joined = false;
      on.elementwise(elementwise::set_zero{}, algebra_.value_of(each.before[0]));
      if (each.slot == 0 && seed != nullptr) {
        // An element that forgets what enters lets the seed through to its own slot alone.
        detail::copy_views(algebra_, on, *seed, algebra_.value_of(each.before[0]));
        if (!forgets_first_) {
          detail::copy_views(algebra_, on, each.own, each.seeded);
          algebra_.apply(on, *seed, each.own, algebra_.value_of(each.seeded));
          each.own = each.seeded;
        }
      }
      if (grows_) detail::copy_views(algebra_, on, each.own, each.group[0]);
    }
    at_ = 0;
    post(on);
  }

  bool advance(stream on) {
    while (at_ < rounds_.size() && posted_.test()) end_round(on);
    return at_ == rounds_.size();
  }

  void finish(stream on) {
    while (at_ < rounds_.size()) end_round(on);
  }

  const state& before(int own) const { return algebra_.value_of(held_[static_cast<std::size_t>(own)].before[0]); }

  /// What the slots before the own-th one of the caller make together, where anything was joined for it.
  const element& element_before(int own) const { return held_[static_cast<std::size_t>(own)].before[0]; }
  bool joined(int own) const { return held_[static_cast<std::size_t>(own)].joined; }
  /// What they make with the slot's own, which is all where a document begins in it. Once, after the last round.
  const element& element_through(int own, bool alone, stream on) {
    return through(held_[static_cast<std::size_t>(own)], alone, on);
  }

 private:
  struct held {
    int slot;
    element own, seeded;
    element before[2], group[2];  // the present one first
    element came, both;
    bool joined = false;  // before[0] is made of something
  };

  /// A message of one round that is the caller's to send or to receive; places are among the caller's slots, or -1.
  struct move {
    schedule::scanned sends;
    int sender, receiver, to, from;  // to and from are ranks
    bool in_front, joins_group, group_in_front;
    bool whole;  ///< a document begins in the message: what stands in front of it does not count
  };

  /// Plays the schedule for all slots, so that every rank knows which messages would change nothing.
  void plan(const Schedule& schedule, const scan_slots& slots) {
    auto const count = static_cast<std::size_t>(slots.count());
    // Whether what a slot has begins with a document: nothing in front of it counts.
    std::vector<unsigned char> before = slots.fresh, group = slots.forgets;
    auto const place = [&](int slot) {
      for (std::size_t own = 0; own < held_.size(); ++own) {
        if (held_[own].slot == slot) return static_cast<int>(own);
      }
      return -1;
    };
    forgets_first_ = count > 0 && slots.forgets_at(0);
    std::size_t most = 0;
    for (int round = 0; round < schedule.rounds(slots.count()); ++round) {
      std::vector<move> mine;
      auto const before_now = before, group_now = group;
      for (int sender = 0; sender < slots.count(); ++sender) {
        auto const m = schedule.at(slots.count(), sender, round);
        if (m.to < 0) continue;
        auto const from = static_cast<std::size_t>(sender), to = static_cast<std::size_t>(m.to);
        bool const in_front = sender < m.to && !before_now[to];
        bool const group_in_front = sender < m.to, joins_group = m.grows && (!group_in_front || !group_now[to]);
        unsigned char const closed = m.sends == schedule::scanned::own      ? slots.forgets[from]
                                     : m.sends == schedule::scanned::before ? before_now[from]
                                     : m.sends == schedule::scanned::both   ? before_now[from] | slots.forgets[from]
                                                                            : group_now[from];
        if (in_front) before[to] = closed;
        if (joins_group) group[to] |= closed;
        if (!in_front && !joins_group) continue;
        bool const whole = m.sends == schedule::scanned::both ? slots.forgets_at(sender) : closed != 0;
        move const one{m.sends,     place(sender),  place(m.to), slots.owner(m.to), slots.owner(sender), in_front,
                       joins_group, group_in_front, whole};
        grows_ = grows_ || joins_group;
        if (one.sender >= 0 || one.receiver >= 0) mine.push_back(one);
      }
      most = mine.size() > most ? mine.size() : most;
      if (!mine.empty()) rounds_.push_back(std::move(mine));
    }
    lists_.sends.reserve(2 * most), lists_.receives.reserve(2 * most);
  }

  void end_round(stream on) {
    or_poison(comm_, [&] {
      posted_.arrived(on);
      posted_.reusable(on);
      for (const move& each : rounds_[at_]) {
        if (each.receiver >= 0) join(held_[static_cast<std::size_t>(each.receiver)], each, on);
      }
    });
    ++at_;
    post(on);
  }

  /// Both ends of a pair of ranks list their messages by sending slot.
  void post(stream on) {
    if (at_ == rounds_.size()) return;
    lists_.clear();
    for (const move& each : rounds_[at_]) {
      if (each.sender >= 0) {
        for (auto const& view : algebra_.views(message(held_[static_cast<std::size_t>(each.sender)], each, on))) {
          lists_.send(piece_of(view, role::state, wire(comm_, each.to)));
        }
      }
      if (each.receiver >= 0) {
        for (auto const& view : algebra_.views(held_[static_cast<std::size_t>(each.receiver)].came)) {
          lists_.receive(piece_of(view, role::state, wire(comm_, each.from)));
        }
      }
    }
    posted_ = lists_.post(comm_, on);
  }

  const element& message(held& from, const move& m, stream on) {
    switch (m.sends) {
      case schedule::scanned::before: return from.before[0];
      case schedule::scanned::group: return from.group[0];
      case schedule::scanned::both: return through(from, m.whole, on);
      default: return from.own;
    }
  }

  const element& through(held& from, bool alone, stream on) {
    if (!from.joined || alone) return from.own;
    algebra_.compose(on, from.before[0], from.own, from.both);
    return from.both;
  }

  void join(held& to, const move& m, stream on) {
    if (m.in_front && to.joined) {
      algebra_.compose(on, to.came, to.before[0], to.before[1]);
      std::swap(to.before[0], to.before[1]);
    } else if (m.in_front) {
      detail::copy_views(algebra_, on, to.came, to.before[0]);
      to.joined = true;
    }
    if (!m.joins_group) return;
    if (!m.group_in_front && m.whole) {
      detail::copy_views(algebra_, on, to.came, to.group[0]);
      return;
    }
    algebra_.compose(on, m.group_in_front ? to.came : to.group[0], m.group_in_front ? to.group[0] : to.came,
                     to.group[1]);
    std::swap(to.group[0], to.group[1]);
  }

  G algebra_;
  C comm_;
  std::vector<held> held_;
  std::vector<std::vector<move>> rounds_;
  std::size_t at_ = 0;
  bool grows_ = false, forgets_first_ = false;
  posting lists_;
  request_t<C> posted_;
};

}  // namespace ringfold
