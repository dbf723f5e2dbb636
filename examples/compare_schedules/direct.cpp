#include <ringfold/attention/direct.hpp>

#include "prepare.hpp"
#include "schedules.hpp"

namespace compare_schedules {

std::unique_ptr<call> prepare_direct(const experiment& e, const any_rank& rank, ringfold::counters& book,
                                     ringfold::trace_track& track) {
  return prepare<false>(e, rank, book, track, [](auto comm, auto local) { return ringfold::direct(comm, local); });
}

}  // namespace compare_schedules
