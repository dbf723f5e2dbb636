#include <ringfold/attention/ulysses.hpp>

#include "prepare.hpp"
#include "schedules.hpp"

namespace compare_schedules {

std::unique_ptr<call> prepare_ulysses(const experiment& e, const any_rank& rank, ringfold::counters& book,
                                      ringfold::trace_track& track) {
  return prepare(e, rank, book, track, [](auto comm, auto local) { return ringfold::ulysses(comm, local); });
}

}  // namespace compare_schedules
