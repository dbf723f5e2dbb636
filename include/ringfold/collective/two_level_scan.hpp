#pragma once

#include <vector>

#include <ringfold/collective/monoid_scan.hpp>
#include <ringfold/schedule/two_level_scan.hpp>

/// \file
/// Exclusive scans within nodes, over nodes, and back.

namespace ringfold {

namespace detail {

/// Slots that follow each other on one node; the owner of the last one speaks for the run.
struct slot_runs {
  std::vector<int> first;  ///< of each, and the end
  std::vector<int> of;     ///< by slot

  slot_runs(const scan_slots& slots, int ranks_per_node) {
    if (ranks_per_node < 1) throw usage_error(say("scan: %d ranks per node; allowed: 1 or more", ranks_per_node));
    int node = -1;
    for (int slot = 0; slot < slots.count(); ++slot) {
      if (slots.owner(slot) / ranks_per_node != node) first.push_back(slot);
      node = slots.owner(slot) / ranks_per_node;
      of.push_back(static_cast<int>(first.size()) - 1);
    }
    first.push_back(slots.count());
  }

  int count() const { return static_cast<int>(first.size()) - 1; }
  int begin(int run) const { return first[static_cast<std::size_t>(run)]; }
  int last(int run) const { return first[static_cast<std::size_t>(run) + 1] - 1; }
  int holding(int slot) const { return of[static_cast<std::size_t>(slot)]; }

  /// Runs as slots of those who speak for them.
  scan_slots as_slots(const scan_slots& slots) const {
    std::vector<int> speakers;
    std::vector<unsigned char> forgets, fresh;
    for (int run = 0; run < count(); ++run) {
      speakers.push_back(slots.owner(last(run)));
      fresh.push_back(slots.fresh_at(begin(run)));
      forgets.push_back(!reached(slots, last(run)) || slots.forgets_at(last(run)));
    }
    return {static_cast<std::vector<int>&&>(speakers), static_cast<std::vector<unsigned char>&&>(forgets),
            static_cast<std::vector<unsigned char>&&>(fresh)};
  }

  /// Whether what enters a slot's run enters the slot too: no document begins between.
  bool reached(const scan_slots& slots, int slot) const {
    if (slots.fresh_at(slot)) return false;
    for (int before = begin(holding(slot)); before < slot; ++before) {
      if (slots.forgets_at(before)) return false;
    }
    return true;
  }
};

/// A schedule for every run by itself, all at once.
template <class Inner>
struct in_runs {
  Inner inner;
  slot_runs runs;

  int rounds(int) const {
    int most = 0;
    for (int run = 0; run < runs.count(); ++run) {
      int const needed = inner.rounds(runs.last(run) + 1 - runs.begin(run));
      most = needed > most ? needed : most;
    }
    return most;
  }
  schedule::scan_move at(int, int slot, int round) const {
    int const run = runs.holding(slot), first = runs.begin(run), length = runs.last(run) + 1 - first;
    if (round >= inner.rounds(length)) return {};
    auto move = inner.at(length, slot - first, round);
    if (move.to >= 0) move.to += first;
    if (move.from >= 0) move.from += first;
    return move;
  }
};

}  // namespace detail

/// The state that enters each of the caller's slots: elements are joined within nodes, the scan of runs goes over nodes.
///
/// Used as chain_scan is. Over is the scan of the outer schedule; it deals with those alone that speak for a run.
/// **Steps, Bytes, Order** the schedule's. **Memory** that of both scans, and two states for each of the caller's slots.
/// **Overlap** the caller's work between start() and finish(), with advance() in between.
/// Throws what the communicator throws. Source: schedule::two_level's.
template <class Schedule, class Over, class G, communicator C>
class two_level_scan {
 public:
  using stream = stream_t<C>;
  using space = space_t<C>;
  using state = typename G::state;
  using element = typename G::element;

  /// \throws usage_error when a slot has no owner, nodes have no ranks, or the outer schedule cannot be.
  two_level_scan(Schedule schedule, G algebra, C comm, scan_slots slots, arena<space>& memory)
      : algebra_(algebra),
        comm_(comm),
        slots_(static_cast<scan_slots&&>(slots)),
        runs_(slots_, schedule.ranks_per_node),
        over_nodes_(runs_.as_slots(slots_)),
        within_({schedule.inner, runs_}, algebra, comm, slots_, memory),
        over_(schedule.outer, algebra, comm, over_nodes_, memory) {
    int own = 0, spoken = 0;
    std::size_t most = 0;
    for (int const slot : slots_.of(comm.rank())) {
      int const run = runs_.holding(slot);
      if (mine_.empty() || mine_.back().run != run) mine_.push_back({run, over_nodes_.owner(run), -1, {}, {}, {}});
      own_run& each = mine_.back();
      if (slot == runs_.last(run)) each.speaks = spoken++;
      places_.push_back({mine_.size() - 1, each.slots.size()});
      each.slots.push_back({own++, slot, over_nodes_.enters(run) && runs_.reached(slots_, slot), {}});
      if (each.slots.back().entered) each.slots.back().before = algebra.take_state(memory);
    }
    for (own_run& each : mine_) {
      if (!over_nodes_.enters(each.run)) continue;
      if (each.speaks < 0) each.came = algebra.take_state(memory);
      for (int slot = runs_.begin(each.run); slot < runs_.last(each.run); ++slot) {
        int const rank = slots_.owner(slot);
        bool known = rank == each.speaker || !runs_.reached(slots_, slot);
        for (int const listener : each.listeners) known = known || listener == rank;
        if (!known) each.listeners.push_back(rank);
      }
      most += each.listeners.size() + 1;
    }
    lists_.sends.reserve(most), lists_.receives.reserve(most);
    totals_.resize(static_cast<std::size_t>(spoken));
  }
  /// As chain_scan's.
  void start(span<const element> mine, const state* seed, stream on) {
    phase_ = phase::within;
    within_.start(mine, seed, on);
    advance(on);
  }

  bool advance(stream on) {
    if (phase_ == phase::within && within_.advance(on)) go_over(on);
    if (phase_ == phase::over && over_.advance(on)) spread(on);
    if (phase_ == phase::spread && posted_.test()) settle(on);
    return phase_ == phase::settled;
  }

  void finish(stream on) {
    within_.finish(on);
    if (phase_ == phase::within) go_over(on);
    over_.finish(on);
    if (phase_ == phase::over) spread(on);
    if (phase_ == phase::spread) settle(on);
  }

  const state& before(int own) const {
    place const at = places_[static_cast<std::size_t>(own)];
    own_slot const& slot = mine_[at.run].slots[at.slot];
    return slot.entered ? slot.before : within_.before(own);
  }

 private:
  enum class phase : unsigned char { within, over, spread, settled };
  struct own_slot {
    int own, slot;
    bool entered;  ///< by what enters its run
    state before;
  };
  struct place {
    std::size_t run, slot;
  };
  struct own_run {
    int run, speaker;
    int speaks;                  ///< the caller's place among those that speak here, or -1
    std::vector<int> listeners;  ///< ranks that wait for what enters the run
    state came;
    std::vector<own_slot> slots;
  };

  /// What runs make together goes over the nodes; nobody asks for the last one's.
  void go_over(stream on) {
    for (const own_run& each : mine_) {
      if (each.speaks < 0 || !over_nodes_.leaves(each.run)) continue;
      int const slot = each.slots.back().slot;
      totals_[static_cast<std::size_t>(each.speaks)] =
          within_.element_through(each.slots.back().own, slots_.forgets_at(slot), on);
    }
    over_.start(totals_, nullptr, on);
    phase_ = phase::over;
  }

  void spread(stream on) {
    lists_.clear();
    for (const own_run& each : mine_) {
      for (int const listener : each.listeners) {
        bool const hears = listener == comm_.rank();
        if (each.speaks < 0 && !hears) continue;
        for (auto const& view : algebra_.views(hears ? each.came : over_.before(each.speaks))) {
          piece const one = piece_of(view, role::state, wire(comm_, hears ? each.speaker : listener));
          hears ? lists_.receive(one) : lists_.send(one);
        }
      }
    }
    posted_ = lists_.post(comm_, on);
    phase_ = phase::spread;
  }

  void settle(stream on) {
    or_poison(comm_, [&] {
      posted_.arrived(on);
      posted_.reusable(on);
    });
    for (const own_run& each : mine_) {
      for (const own_slot& slot : each.slots) {
        if (!slot.entered) continue;
        state const& enters = each.speaks < 0 ? each.came : over_.before(each.speaks);
        if (within_.joined(slot.own)) {
          algebra_.apply(on, enters, within_.element_before(slot.own), slot.before);
        } else {
          auto const source = algebra_.views(enters), target = algebra_.views(slot.before);
          for (std::size_t i = 0; i < source.size(); ++i) {
            on.copy(piece_of(target[i], role::state), piece_of(source[i], role::state));
          }
        }
      }
    }
    phase_ = phase::settled;
  }

  G algebra_;
  C comm_;
  scan_slots slots_;
  detail::slot_runs runs_;
  scan_slots over_nodes_;
  monoid_scan<detail::in_runs<decltype(Schedule::inner)>, G, C> within_;
  Over over_;
  std::vector<own_run> mine_;
  std::vector<place> places_;  // of the caller's slots
  std::vector<element> totals_;
  phase phase_ = phase::settled;
  posting lists_;
  request_t<C> posted_;
};

}  // namespace ringfold
