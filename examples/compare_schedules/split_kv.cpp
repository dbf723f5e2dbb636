#include <ringfold/attention/split_kv.hpp>

#include "prepare.hpp"
#include "schedules.hpp"

namespace compare_schedules {

std::unique_ptr<call> prepare_split_kv(const experiment& e, const any_rank& rank, ringfold::counters& book,
                                       ringfold::trace_track& track) {
  return prepare<false>(e, rank, book, track, [](auto comm, auto local) { return ringfold::split_kv(comm, local); });
}

}  // namespace compare_schedules
