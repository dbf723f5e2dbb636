#pragma once

#include <type_traits>

#include <ringfold/collective/chain_scan.hpp>
#include <ringfold/collective/monoid_scan.hpp>

/// \file
/// Exclusive scans over ranks: what all shards before a shard make of a state. The schedule is a free choice.

namespace ringfold {

/// The scan of a schedule: a chain_scan where it hands states on, else a monoid_scan.
template <class Schedule, class G, communicator C>
using scan_of = std::conditional_t<Schedule::carries_states, chain_scan<G, C>, monoid_scan<Schedule, G, C>>;

/// Makes a scan; all its memory is taken of the arena.
/// \snippet collective/scan_test.cpp scan
template <class Schedule, class G, communicator C>
scan_of<Schedule, G, C> scan(Schedule schedule, G algebra, C comm, scan_slots slots, arena<space_t<C>>& memory) {
  return {schedule, algebra, comm, static_cast<scan_slots&&>(slots), memory};
}

}  // namespace ringfold
