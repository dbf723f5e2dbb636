#include <ringfold/attention/query_ring.hpp>

#include "prepare.hpp"
#include "schedules.hpp"

namespace compare_schedules {

std::unique_ptr<call> prepare_query_ring(const experiment& e, const any_rank& rank, ringfold::counters& book,
                                         ringfold::trace_track& track) {
  return prepare<false>(e, rank, book, track, [](auto comm, auto local) { return ringfold::query_ring(comm, local); });
}

}  // namespace compare_schedules
