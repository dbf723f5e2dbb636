#pragma once

#include <concepts>

#include <ringfold/core/sizes.hpp>

/// \file
/// Exclusive scans: who tells whom what, so that everybody learns what all before it make together.
///
/// Slots stand in a row; a rank may own several. Each has an element of its own. At the end each slot has `before`, the
/// product of all elements before it, in order. A schedule is a pure function from (slots, slot, round) to a move.

namespace ringfold::schedule {

/// What a slot sends: its own element, what it has of those before it, the two together, or its group's.
enum class scanned : unsigned char { nothing, own, before, both, group };

/// One round of one slot. What comes from a slot before stands right before what this slot has, and is put in front of it.
struct scan_move {
  scanned sends = scanned::nothing;
  int to = -1, from = -1;  ///< -1: nobody
  bool grows = false;      ///< what comes joins the group too, from either side
  int piece = 0;           ///< of the state, where it travels in pieces
};

/// Bytes of a state and of what an element has besides its value, and how many columns a state may be cut along, with or
/// without the rest of an element.
///
/// Schedules publish with them what a slot sends where each rank owns one, in order, and no document begins.
struct scan_sizes {
  extent state = 0, transition = 0, columns = 1;
  bool transition_is_cut = false;

  constexpr extent element() const { return state + transition; }
  /// Of one of so many nearly equal parts of a state, and of an element besides.
  constexpr extent state_part(int index, int count) const { return part(state, index, count); }
  constexpr extent transition_part(int index, int count) const {
    return transition_is_cut ? part(transition, index, count) : transition;
  }

 private:
  constexpr extent part(extent whole, int index, int count) const {
    return whole / columns * (columns / count + (index < columns % count ? 1 : 0));
  }
};

/// A state handed on from slot to slot, each of which applies its own element; in `pieces` parts, one behind the other.
///
/// Messages carry states, and states alone are needed of the algebra. The order is the serial one, bit for bit.
/// **Steps** slots - 2 + pieces. **Bytes** one state. Source: LASP (2024); in pieces, ZeCO's All-Scan (2025).
struct chain {
  int pieces = 1;

  static constexpr bool carries_states = true, keeps_order = true;
  constexpr int rounds(int slots) const { return slots > 1 ? slots - 2 + pieces : 0; }
  /// Messages that a slot sends, each of one piece.
  constexpr int messages(int slots, int slot) const { return slot + 1 < slots ? pieces : 0; }
  static constexpr extent bytes(int slots, int slot, scan_sizes of) { return slot + 1 < slots ? of.state : 0; }
  constexpr scan_move at(int slots, int slot, int round) const {
    auto const piece_of = [&](int sender) {
      bool const busy = sender >= 0 && sender + 1 < slots && round >= sender && round < sender + pieces;
      return busy ? round - sender : -1;
    };
    scan_move made;
    if (int const piece = piece_of(slot); piece >= 0)
      made.sends = scanned::both, made.to = slot + 1, made.piece = piece;
    if (piece_of(slot - 1) >= 0) made.from = slot - 1;
    return made;
  }
};

/// In how many pieces a chain is fastest, where a message of n bytes takes latency + n seconds_per_byte.
///
/// The best integer near sqrt((slots - 2) bytes seconds_per_byte / latency), which makes (slots - 2 + pieces) messages
/// of bytes / pieces fastest; at least 1, at most the columns. Source: the model of ZeCO (2025), with start-up costs.
/// \snippet collective/scan_test.cpp pieces
constexpr int pipeline_pieces(int slots, extent bytes, double latency, double seconds_per_byte, extent columns) {
  int pieces = 1;
  // One piece more costs a latency, and saves on every slot's way what it takes off a piece.
  while (pieces < columns && static_cast<double>(pieces) * (pieces + 1) * latency <
                                 (slots - 2) * static_cast<double>(bytes) * seconds_per_byte) {
    ++pieces;
  }
  return pieces;
}

/// Elements shifted by one, then doubled: after round t a slot has the 2^t elements before it.
///
/// **Steps** 1 + ceil(log2(slots - 1)). **Bytes** one element a round. Source: Hillis and Steele (1986).
struct hillis_steele {
  static constexpr bool carries_states = false, keeps_order = false;
  static constexpr int rounds(int slots) {
    int made = slots > 1 ? 1 : 0;
    for (int distance = 1; distance < slots - 1; distance *= 2) ++made;
    return made;
  }
  static constexpr int messages(int slots, int slot) {
    int made = slot + 1 < slots ? 1 : 0;
    for (int distance = 1; distance < slots - 1; distance *= 2) made += slot >= 1 && slot + distance < slots;
    return made;
  }
  static constexpr extent bytes(int slots, int slot, scan_sizes of) { return messages(slots, slot) * of.element(); }
  static constexpr scan_move at(int slots, int slot, int round) {
    if (round == 0)
      return {.sends = slot + 1 < slots ? scanned::own : scanned::nothing,
              .to = slot + 1 < slots ? slot + 1 : -1,
              .from = slot - 1};
    int const distance = 1 << (round - 1);
    bool const sends = slot >= 1 && slot + distance < slots;
    return {.sends = sends ? scanned::before : scanned::nothing,
            .to = sends ? slot + distance : -1,
            .from = slot - distance >= 1 ? slot - distance : -1};
  }
};

/// Distances 1, 2, 3, 6, 12, ...: the second round sends two elements in one, which saves most of a round.
///
/// **Steps** ceil(log2(slots - 1) + log2(4 / 3)). **Bytes** one element a round. Source: Traeff, 123-doubling (2025).
struct doubling_123 {
  static constexpr bool carries_states = false, keeps_order = false;
  static constexpr int distance(int round) { return round < 2 ? round + 1 : 3 << (round - 2); }
  static constexpr int rounds(int slots) {
    int made = slots > 1 ? 1 : 0;
    while (made > 0 && distance(made) < slots - (made == 1 ? 0 : 1)) ++made;
    return made;
  }
  static constexpr int messages(int slots, int slot) {
    int made = 0;
    for (int round = 0; round < rounds(slots); ++round) made += at(slots, slot, round).to >= 0;
    return made;
  }
  static constexpr extent bytes(int slots, int slot, scan_sizes of) { return messages(slots, slot) * of.element(); }
  static constexpr scan_move at(int slots, int slot, int round) {
    int const far = distance(round), nearest = round < 2 ? 0 : 1;  // slot 0 has nothing before it to send on
    bool const sends = slot >= nearest && slot + far < slots;
    return {.sends = !sends       ? scanned::nothing
                     : round == 0 ? scanned::own
                     : round == 1 ? scanned::both
                                  : scanned::before,
            .to = sends ? slot + far : -1,
            .from = slot - far >= nearest ? slot - far : -1};
  }
};

/// Groups of 2, 4, 8, ... exchange what they make, in pairs.
///
/// **Steps** ceil(log2 slots). **Bytes** one element a round. Source: MPI_Exscan of MPICH and Open MPI.
struct recursive_doubling {
  static constexpr bool carries_states = false, keeps_order = false;
  static constexpr int rounds(int slots) {
    int made = 0;
    while (1 << made < slots) ++made;
    return made;
  }
  static constexpr int messages(int slots, int slot) {
    int made = 0;
    for (int round = 0; round < rounds(slots); ++round) made += (slot ^ 1 << round) < slots;
    return made;
  }
  static constexpr extent bytes(int slots, int slot, scan_sizes of) { return messages(slots, slot) * of.element(); }
  static constexpr scan_move at(int slots, int slot, int round) {
    int const partner = slot ^ 1 << round;
    if (partner >= slots) return {};
    return {.sends = scanned::group, .to = partner, .from = partner, .grows = true};
  }
};

/// A schedule that joins elements.
template <class S>
concept joining = !S::carries_states && requires(S s, int n) {
  { s.at(n, n, n) } -> std::same_as<scan_move>;
};

namespace detail {

/// The free monoid over slots: runs that only join end to start.
struct run_of_slots {
  int first = 0, end = 0;
  bool broken = false;
  constexpr run_of_slots then(run_of_slots next) const {
    if (first == end) return next;
    if (next.first == next.end) return *this;
    return {first, next.end, broken || next.broken || end != next.first};
  }
  constexpr bool operator==(const run_of_slots&) const = default;
};

/// What each piece of each slot ends with when a schedule runs over the free monoid.
struct scanned_runs {
  static constexpr int most = 40, most_pieces = 5;
  run_of_slots before[most][most_pieces] = {};
  bool met = true;  ///< every message by its receiver, and their number is the one that is stated
};

template <class Schedule>
constexpr scanned_runs played(const Schedule& s, int slots) {
  scanned_runs made;
  run_of_slots group[scanned_runs::most] = {};
  int sent[scanned_runs::most] = {};
  for (int slot = 0; slot < slots; ++slot) group[slot] = {slot, slot + 1};
  for (int round = 0; round < s.rounds(slots); ++round) {
    run_of_slots message[scanned_runs::most] = {};
    for (int slot = 0; slot < slots; ++slot) {
      scan_move const move = s.at(slots, slot, round);
      if ((move.to >= 0) != (move.sends != scanned::nothing)) made.met = false;
      if (move.to >= 0 && (move.to >= slots || s.at(slots, move.to, round).from != slot)) made.met = false;
      if (move.from >= 0 && s.at(slots, move.from, round).to != slot) made.met = false;
      run_of_slots const own{slot, slot + 1}, held = made.before[slot][move.piece];
      message[slot] = move.sends == scanned::own      ? own
                      : move.sends == scanned::before ? held
                      : move.sends == scanned::both   ? held.then(own)
                                                      : group[slot];
      sent[slot] += move.to >= 0;
    }
    for (int slot = 0; slot < slots; ++slot) {
      scan_move const move = s.at(slots, slot, round);
      if (move.from < 0) continue;
      run_of_slots const came = message[move.from];
      run_of_slots& before = made.before[slot][s.at(slots, move.from, round).piece];
      if (move.from < slot) before = came.then(before);
      if (move.grows) group[slot] = move.from < slot ? came.then(group[slot]) : group[slot].then(came);
    }
  }
  for (int slot = 0; slot < slots; ++slot) made.met = made.met && sent[slot] == s.messages(slots, slot);
  return made;
}

/// Whether every slot ends with all slots before it.
template <class Schedule>
constexpr bool scans(const Schedule& s, int slots, int pieces = 1) {
  scanned_runs const made = played(s, slots);
  for (int slot = 1; slot < slots; ++slot) {
    for (int piece = 0; piece < pieces; ++piece) {
      if (made.before[slot][piece] != run_of_slots{0, slot}) return false;
    }
  }
  return made.met;
}

template <class Schedule>
constexpr bool scans_everywhere(const Schedule& s, int pieces = 1) {
  for (int slots = 1; slots <= 34; slots += slots < 18 ? 1 : 7) {
    if (!scans(s, slots, pieces)) return false;
  }
  return true;
}

}  // namespace detail

static_assert(detail::scans_everywhere(chain{}));
static_assert(detail::scans_everywhere(chain{2}, 2) && detail::scans_everywhere(chain{5}, 5));
static_assert(detail::scans_everywhere(hillis_steele{}));
static_assert(detail::scans_everywhere(doubling_123{}));
static_assert(detail::scans_everywhere(recursive_doubling{}));

}  // namespace ringfold::schedule
