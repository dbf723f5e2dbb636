#include "expected.hpp"

#include <algorithm>
#include <vector>

namespace compare_scans {

namespace {

using ringfold::scan_slots, schedule::scan_sizes;

struct message {
  int from, to;  ///< ranks
  extent bytes;
};

template <class Some>
auto& at(Some& of, int i) {
  return of[static_cast<std::size_t>(i)];
}

/// Ranks that send each other what a schedule says.
class play {
 public:
  play(int ranks, const scan_sizes& of)
      : of_(of), rounds_(static_cast<std::size_t>(ranks)), bytes_(static_cast<std::size_t>(ranks)) {}

  expected outcome() const { return {*std::max_element(rounds_.begin(), rounds_.end()), bytes_}; }

  /// A rank hands on its slots one after the other, each piece by piece.
  void scan(const schedule::chain& by, const scan_slots& slots) {
    std::vector<int> came(static_cast<std::size_t>(by.pieces));  // in which round, by piece
    for (int slot = 0; slot < slots.count(); ++slot) {
      for (int piece = 0; piece < by.pieces; ++piece) {
        int& now = at(rounds_, slots.owner(slot));
        now = std::max(now, at(came, piece));
        if (slot + 1 == slots.count() || slots.owner(slot + 1) == slots.owner(slot)) continue;
        at(bytes_, slots.owner(slot)) += of_.state_part(piece, by.pieces);
        at(came, piece) = ++now;
      }
    }
  }

  template <schedule::joining Schedule>
  void scan(const Schedule& by, const scan_slots& slots) {
    join(by, slots, {slots.count()});
  }

  /// What a rank hands on is what some rank further on has not got, and needs: one of its slots stands behind.
  template <schedule::gathering Schedule>
  void scan(const Schedule& by, const scan_slots& slots) {
    auto const circle = slots.circle();
    int const ranks = static_cast<int>(circle.size());
    std::vector<std::vector<bool>> needed;  // by place in the circle, and slot
    for (int const rank : circle) {
      needed.emplace_back(static_cast<std::size_t>(slots.count()));
      std::fill_n(needed.back().begin(), slots.of(rank).back(), true);
    }
    std::vector<std::vector<message>> rounds;
    for (int round = by.rounds(ranks) - 1; round >= 0; --round) {
      schedule::gather_move const move = by.at(ranks, round);
      rounds.emplace_back();
      for (int from = 0; from < ranks; ++from) {
        int const to = (from + move.distance) % ranks;
        for (int back = move.first; back < move.first + move.count; ++back) {
          for (int const slot : slots.of(at(circle, (from + ranks - back) % ranks))) {
            if (!at(needed, to)[static_cast<std::size_t>(slot)]) continue;
            at(needed, from)[static_cast<std::size_t>(slot)] = true;
            rounds.back().push_back({at(circle, from), at(circle, to), slot == 0 ? of_.state : of_.element()});
          }
        }
      }
    }
    for (auto round = rounds.rbegin(); round != rounds.rend(); ++round) send(*round);
  }

  void scan(const schedule::all_to_all& by, const scan_slots& slots) {
    auto const circle = slots.circle();
    int const parts = by.parts(static_cast<int>(circle.size()), of_.columns);
    std::vector<message> there, back;
    for (int part = 0; part < parts; ++part) {
      int const folds = at(circle, part);
      extent const state = of_.state_part(part, parts);
      for (int slot = 0; slot < slots.count(); ++slot) {
        extent const transition = slot > 0 ? of_.transition_part(part, parts) : 0;
        if (slot + 1 < slots.count()) there.push_back({slots.owner(slot), folds, state + transition});
        if (slot > 0) back.push_back({folds, slots.owner(slot), state});
      }
    }
    send(there), send(back);
  }

  /// Runs of slots on one node join, and the owners of their last ones speak for them.
  template <class Inner, class Outer>
  void scan(const schedule::two_level<Inner, Outer>& by, const scan_slots& slots) {
    auto const node = [&](int slot) { return slots.owner(slot) / by.ranks_per_node; };
    std::vector<int> ends, speakers;
    for (int slot = 0; slot < slots.count(); ++slot) {
      if (slot + 1 < slots.count() && node(slot + 1) == node(slot)) continue;
      ends.push_back(slot + 1), speakers.push_back(slots.owner(slot));
    }
    join(by.inner, slots, ends);
    scan(by.outer, scan_slots(speakers));
    std::vector<message> spread;
    for (std::size_t run = 1; run < ends.size(); ++run) {
      std::vector<bool> told(rounds_.size());
      for (int slot = ends[run - 1]; slot < ends[run]; ++slot) {
        int const owner = slots.owner(slot);
        if (!told[static_cast<std::size_t>(owner)]) spread.push_back({speakers[run], owner, of_.state});
        told[static_cast<std::size_t>(owner)] = true;
      }
    }
    send(spread);
  }

 private:
  /// Together: each after all that its sender had heard and sent by then.
  void send(const std::vector<message>& all) {
    auto const then = rounds_;
    for (const message& each : all) {
      if (each.from == each.to) continue;
      int const round = at(then, each.from) + 1;
      at(bytes_, each.from) += each.bytes;
      for (int const rank : {each.from, each.to}) at(rounds_, rank) = std::max(at(rounds_, rank), round);
    }
  }

  /// Elements are joined within each of some runs, all at once.
  template <class Schedule>
  void join(const Schedule& by, const scan_slots& slots, const std::vector<int>& ends) {
    int most = 0;
    for (std::size_t run = 0, begin = 0; run < ends.size(); begin = static_cast<std::size_t>(ends[run++])) {
      most = std::max(most, by.rounds(ends[run] - static_cast<int>(begin)));
    }
    for (int round = 0; round < most; ++round) {
      std::vector<message> all;
      int begin = 0;
      for (int const end : ends) {
        for (int slot = begin; slot < end && round < by.rounds(end - begin); ++slot) {
          int const to = by.at(end - begin, slot - begin, round).to;
          if (to >= 0) all.push_back({slots.owner(slot), slots.owner(begin + to), of_.element()});
        }
        begin = end;
      }
      send(all);
    }
  }

  scan_sizes of_;
  std::vector<int> rounds_;  ///< of ranks: that of the last message that each has sent or heard
  std::vector<extent> bytes_;
};

}  // namespace

expected expect(const any_schedule& by, const scan_slots& slots, int ranks, const scan_sizes& of) {
  bool in_order = slots.count() == ranks;
  for (int slot = 0; slot < slots.count(); ++slot) in_order = in_order && slots.owner(slot) == slot;
  // Where one of two ranks folds for both, it has heard all it needs before the first of the two rounds.
  bool const folds_alone = std::holds_alternative<schedule::all_to_all>(by.which) && ranks == 2 && of.columns == 1;
  if (in_order && !folds_alone) {
    expected published{by.rounds(ranks), {}};
    for (int rank = 0; rank < ranks; ++rank) published.bytes.push_back(by.bytes(ranks, rank, of));
    return published;
  }
  play all(ranks, of);
  std::visit([&](const auto& schedule) { all.scan(schedule, slots); }, by.which);
  return all.outcome();
}

}  // namespace compare_scans
