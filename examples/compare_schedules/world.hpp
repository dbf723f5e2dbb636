#pragma once

#include <variant>

#include <ringfold/comm/threads.hpp>
#ifdef RINGFOLD_WITH_MPI
#include <ringfold/comm/mpi.hpp>
#endif

/// \file
/// Where the ranks run: threads of this process, or processes that mpirun started.

namespace compare_schedules {

/// A long sequence keeps a rank waiting for another's work; a mistake must not wait for ever.
inline constexpr std::chrono::milliseconds longest_wait = std::chrono::hours(2);

/// One rank of either kind.
struct any_rank {
#ifdef RINGFOLD_WITH_MPI
  std::variant<ringfold::threads, ringfold::mpi> of;
#else
  std::variant<ringfold::threads> of;
#endif
};

struct world {
  int ranks = 1;
  bool first = true;  ///< whether this process has rank 0: it checks, and it alone prints and writes
#ifdef RINGFOLD_WITH_MPI
  ringfold::mpi* processes = nullptr;
#endif
};

/// Calls f(communicator) on every rank that this process has.
template <class F>
void on_ranks(const world& all, F f) {
#ifdef RINGFOLD_WITH_MPI
  if (all.processes != nullptr) return f(*all.processes);
#endif
  ringfold::run_ranks(all.ranks, [&f](ringfold::threads comm) { f(comm); }, {.deadline = longest_wait});
}

}  // namespace compare_schedules
