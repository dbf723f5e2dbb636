#pragma once

#include <chrono>
#include <climits>

#include <ringfold/comm/mpi_failure.hpp>
#include <ringfold/core/sizes.hpp>

/// \file
/// A private duplicate of an MPI communicator, and how it is used.

namespace ringfold {

/// What a failure does: end all ranks with its text (a rank that throws alone leaves the others waiting), or throw.
enum class on_failure { abort, throw_only };

struct mpi_options {
  std::chrono::milliseconds deadline{60'000};  ///< of each wait; zero: none
  /// Longer pieces are split; the smallest of all ranks' limits holds. At most INT_MAX.
  extent max_message_bytes = INT_MAX / 4096 * 4096;
  on_failure failure = on_failure::abort;
  /// Sends complete only when they are received, so that a test cannot lean on MPI's buffers.
  bool synchronous_sends = false;
};

namespace detail {

/// Owns the duplicate; its traffic meets nobody else's, and its errors are returned.
class mpi_duplicate {
 public:
  mpi_duplicate(MPI_Comm from, const mpi_options& given) : options(given) {
    check_mpi();
    check_thread();
    check_options();
    if (from == MPI_COMM_NULL) throw usage_error(say("mpi: the communicator is MPI_COMM_NULL"));
    int inter = 0;
    mpi_check(MPI_Comm_test_inter(from, &inter), "MPI_Comm_test_inter");
    if (inter != 0) throw usage_error(say("mpi: an intercommunicator; allowed are those within one group of ranks"));
    mpi_check(MPI_Comm_dup(from, &comm), "MPI_Comm_dup");
    mpi_check(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    mpi_check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
    mpi_check(MPI_Comm_size(comm, &size), "MPI_Comm_size");
    // Both ends of a message must cut it alike.
    mpi_check(MPI_Allreduce(MPI_IN_PLACE, &options.max_message_bytes, 1, MPI_INT64_T, MPI_MIN, comm), "MPI_Allreduce");
  }
  mpi_duplicate(const mpi_duplicate&) = delete;
  mpi_duplicate& operator=(const mpi_duplicate&) = delete;
  ~mpi_duplicate() {
    // Freeing is collective, and a rank that leaves by an exception does so alone.
    if (std::uncaught_exceptions() <= exceptions_ && !mpi_finalized()) MPI_Comm_free(&comm);
  }

  /// \throws usage_error when MPI does not allow calls from this thread.
  void check_thread() const {
    if (level_ >= MPI_THREAD_SERIALIZED) return;
    int main_thread = 0;
    MPI_Is_thread_main(&main_thread);
    if (main_thread != 0) return;
    throw usage_error(say("mpi: called from a thread that is not the main one; that needs MPI_THREAD_SERIALIZED"));
  }

  double deadline() const { return std::chrono::duration<double>(options.deadline).count(); }

  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0, size = 1;
  mpi_options options;

 private:
  void check_mpi() {
    int initialized = 0;
    MPI_Initialized(&initialized);
    if (initialized == 0) throw usage_error(say("mpi: MPI is not initialized; make a ringfold::mpi_environment first"));
    if (mpi_finalized()) throw usage_error(say("mpi: MPI is finalized already"));
    mpi_check(MPI_Query_thread(&level_), "MPI_Query_thread");
  }

  void check_options() const {
    if (options.deadline.count() < 0) {
      throw usage_error(say("mpi: a deadline of %lld ms; allowed are 0 (none) and more",
                            static_cast<long long>(options.deadline.count())));
    }
    if (options.max_message_bytes < 1 || options.max_message_bytes > INT_MAX) {
      throw usage_error(say("mpi: max_message_bytes %lld; allowed are 1..%d",
                            static_cast<long long>(options.max_message_bytes), INT_MAX));
    }
  }

  int level_ = MPI_THREAD_SINGLE;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace detail
}  // namespace ringfold
