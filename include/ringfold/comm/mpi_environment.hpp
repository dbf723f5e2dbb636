#pragma once

#include <chrono>
#include <thread>
#include <type_traits>

#include <ringfold/comm/mpi.hpp>

/// \file
/// MPI started and stopped by scope, so that an exception on one rank ends all of them at once.

namespace ringfold {

/// MPI, initialized for as long as this lives.
///
/// Finalizing while other ranks wait hangs for ever, so an exception never gets that far: one that nobody catches
/// ends all ranks from std::terminate, with its text; one that unwinds through here does so without.
class mpi_environment {
 public:
  /// \throws usage_error when MPI was initialized before, transport_error when it cannot be.
  mpi_environment(int& argc, char**& argv, int thread_level = MPI_THREAD_SERIALIZED) {
    int initialized = 0, provided = 0;
    MPI_Initialized(&initialized);
    if (initialized != 0) throw usage_error(say("mpi_environment: MPI is initialized already"));
    detail::mpi_check(MPI_Init_thread(&argc, &argv, thread_level, &provided), "MPI_Init_thread");
    before_ = std::set_terminate([] { end(std::current_exception()); });
  }
  mpi_environment(const mpi_environment&) = delete;
  mpi_environment& operator=(const mpi_environment&) = delete;

  ~mpi_environment() {
    std::set_terminate(before_);
    if (detail::mpi_finalized()) return;
    if (std::uncaught_exceptions() > exceptions_) {
      detail::end_all_ranks(world_rank(), "an exception is leaving the scope of mpi_environment");
    }
    meet();
    MPI_Finalize();
  }

  /// Ends all ranks with the text of an exception on stderr; exit code 2 for a usage_error, 1 for anything else.
  [[noreturn]] static void end(const std::exception_ptr& failure) noexcept {
    detail::ending const end = detail::ending_of(failure);
    detail::end_all_ranks(world_rank(), end.text.text, end.code);
  }

 private:
  /// Waits for all ranks. Open MPI's launcher may hang when one rank aborts while another finalizes.
  static void meet() {
    MPI_Request all = MPI_REQUEST_NULL;
    MPI_Ibarrier(MPI_COMM_WORLD, &all);
    int met = 0;
    while (MPI_Test(&all, &met, MPI_STATUS_IGNORE) == MPI_SUCCESS && met == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }

  static int world_rank() {
    int rank = -1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
  }

  std::terminate_handler before_ = nullptr;
  int exceptions_ = std::uncaught_exceptions();
};

/// Runs f(mpi) on all ranks between MPI's start and its end, and returns what f returns, or 0.
///
/// What f throws ends all ranks, with its rank and text on stderr and exit code 2 for a usage_error, 1 otherwise.
template <class F>
int with_mpi(int& argc, char**& argv, F&& f, const mpi_options& options = {}) {
  mpi_environment environment(argc, argv);
  try {
    mpi world(MPI_COMM_WORLD, options);
    if constexpr (std::is_void_v<std::invoke_result_t<F&, mpi&>>) {
      f(world);
      return 0;
    } else {
      return f(world);
    }
  } catch (...) {
    mpi_environment::end(std::current_exception());
  }
}

}  // namespace ringfold
