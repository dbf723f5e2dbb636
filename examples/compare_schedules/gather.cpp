#include <ringfold/attention/gather.hpp>

#include "prepare.hpp"
#include "schedules.hpp"

namespace compare_schedules {

std::unique_ptr<call> prepare_gather(const experiment& e, const any_rank& rank, ringfold::counters& book,
                                     ringfold::trace_track& track) {
  return prepare(e, rank, book, track, [](auto comm, auto local) { return ringfold::gather(comm, local); });
}

}  // namespace compare_schedules
