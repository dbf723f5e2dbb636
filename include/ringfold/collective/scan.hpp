#pragma once

#include <ringfold/collective/all_to_all_scan.hpp>
#include <ringfold/collective/chain_scan.hpp>
#include <ringfold/collective/gather_scan.hpp>
#include <ringfold/collective/monoid_scan.hpp>
#include <ringfold/collective/narrow_scan.hpp>
#include <ringfold/collective/two_level_scan.hpp>

/// \file
/// Exclusive scans over ranks: what all shards before a shard make of a state. The schedule is a free choice.

namespace ringfold {

namespace detail {

template <class Schedule, class G, class C>
struct scan_by {
  using type = monoid_scan<Schedule, G, C>;
};
template <class G, class C>
struct scan_by<schedule::chain, G, C> {
  using type = chain_scan<G, C>;
};
template <schedule::gathering Schedule, class G, class C>
struct scan_by<Schedule, G, C> {
  using type = gather_scan<Schedule, G, C>;
};
template <class G, class C>
struct scan_by<schedule::all_to_all, G, C> {
  using type = all_to_all_scan<G, C>;
};
template <class Schedule, class G, class C>
  requires requires { typename Schedule::template scan<G, C>; }
struct scan_by<Schedule, G, C> {
  using type = typename Schedule::template scan<G, C>;
};
template <class Inner, class Outer, class G, class C>
struct scan_by<schedule::two_level<Inner, Outer>, G, C> {
  using type = two_level_scan<schedule::two_level<Inner, Outer>, typename scan_by<Outer, G, C>::type, G, C>;
};
template <class T, class Schedule, class G, class C>
struct scan_by<schedule::narrowed<T, Schedule>, G, C> {
  using type = narrow_scan<typename scan_by<Schedule, narrowed<G, T>, C>::type, T, G, C>;
};

}  // namespace detail

/// The scan of a schedule: its own `template scan<G, C>` where it has one; a chain_scan where it hands states on, a
/// gather_scan where it gathers elements, else what is named like it, and for the others a monoid_scan; a narrow_scan of
/// any of these.
template <class Schedule, class G, communicator C>
using scan_of = typename detail::scan_by<Schedule, G, C>::type;

/// Makes a scan; all its memory is taken of the arena.
/// \snippet collective/scan_test.cpp scan
template <class Schedule, class G, communicator C>
scan_of<Schedule, G, C> scan(Schedule schedule, G algebra, C comm, scan_slots slots, arena<space_t<C>>& memory) {
  return {schedule, algebra, comm, static_cast<scan_slots&&>(slots), memory};
}

}  // namespace ringfold
