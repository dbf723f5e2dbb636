#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/core/group.hpp>

#include "prepare.hpp"
#include "schedules.hpp"

namespace compare_schedules {

std::unique_ptr<call> prepare_usp(const experiment& e, const any_rank& rank, ringfold::counters& book,
                                  ringfold::trace_track& track) {
  return prepare(e, rank, book, track, [](auto comm, auto local) {
    auto const g = ringfold::grid(comm, comm.size() / columns_of(comm.size()), columns_of(comm.size()));
    return ringfold::ulysses(g.row(), ringfold::ring(g.col(), local));
  });
}

}  // namespace compare_schedules
