#pragma once

#include <memory>
#include <string>

#include "experiment.hpp"
#include "support/traffic.hpp"

/// \file
/// The schedules that are compared.

namespace ringfold {
struct counters;
class trace_track;
}  // namespace ringfold

namespace compare_schedules {

class call;
struct any_rank;

/// Makes a schedule ready on one rank, for one attention.
using preparation = std::unique_ptr<call>(const experiment& e, const any_rank& rank, ringfold::counters& book,
                                          ringfold::trace_track& track);
preparation prepare_ring, prepare_gather, prepare_ulysses, prepare_usp, prepare_double_ring, prepare_direct,
    prepare_query_ring, prepare_split_kv;

/// What a rank must send in one call, worked out without the library.
using expectation = ringfold::examples::sent(const ringfold::examples::traffic& t, int rank);

struct schedule {
  const char* name;
  preparation* prepare;
  expectation *expected, *expected_backward;
  bool canonical;                  ///< whether it keeps a canonical order
  bool grid;                       ///< its ranks form rows of columns_of(ranks)
  int (*heads_needed)(int ranks);  ///< the fewest query heads that it can share out
};

/// The largest divisor of the ranks whose square does not exceed them: the columns of a two-level schedule.
int columns_of(int ranks);

/// ring, gather, ulysses, usp, double_ring, direct, query_ring and split_kv.
inline constexpr int schedule_count = 8;
extern const schedule schedules[schedule_count];

/// Why a schedule cannot run on so many ranks and heads in this order, and what is allowed; empty when it can.
std::string refusal(const schedule& s, int ranks, extent heads, bool canonical);

/// Who holds which token and what sees what, for the schedules' expected().
ringfold::examples::traffic traffic_of(const experiment& e);

}  // namespace compare_schedules
