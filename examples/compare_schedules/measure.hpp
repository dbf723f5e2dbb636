#pragma once

#include "progress.hpp"
#include "schedules.hpp"

#include <ringfold/wrap/trace_log.hpp>

/// \file
/// Runs one schedule on every rank, counts, times and collects.

namespace compare_schedules {

struct world;

/// Calls of one kind: forward or backward.
struct calls {
  std::vector<double> seconds;       ///< of each repeat, on the slowest rank
  std::vector<extent> bytes, steps;  ///< of one call, by rank
};

/// Whole gradients; those of sinks are summed over the ranks.
struct gradients {
  tensor q, k, v;
  std::vector<double> sinks;
};

/// What a schedule did; complete on rank 0 only.
struct measurement {
  calls forward, backward;
  extent workspace = 0;    ///< bytes, the most of any rank
  bool repeatable = true;  ///< every repeat gave the bits of the first call
  tensor out;
  gradients slopes;
  std::vector<std::vector<ringfold::trace_record>> trace;  ///< of one more call, by rank; empty unless asked for
  extent records_dropped = 0;
};

/// Every process calls it.
measurement measure(const schedule& s, const experiment& e, const world& where, bool trace, progress& show);

/// The whole attention by the kernel on one rank, no schedule at all: what times are held against.
measurement measure_kernel(const experiment& e, progress& show);

/// The same, once, with keys from `first_key` on and then those before it: the same sums in another order.
measurement kernel_results(const experiment& e, extent first_key);

}  // namespace compare_schedules
