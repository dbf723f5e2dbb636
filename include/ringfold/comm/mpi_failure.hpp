#pragma once

#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <exception>

#include <ringfold/core/errors.hpp>

/// \file
/// MPI's return codes as exceptions, and exceptions as the end of all ranks.

namespace ringfold::detail {

/// The text of an MPI return code.
inline line mpi_text(int code) {
  char buffer[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  if (MPI_Error_string(code, buffer, &length) != MPI_SUCCESS) return say("MPI code %d", code);
  return say("%s", buffer);
}

/// \throws transport_error unless code is MPI_SUCCESS.
inline void mpi_check(int code, const char* call, place where = {}) {
  if (code == MPI_SUCCESS) return;
  throw transport_error(say("%s failed: %s", call, mpi_text(code).text), where);
}

inline bool mpi_finalized() {
  int flag = 0;
  return MPI_Finalized(&flag) == MPI_SUCCESS && flag != 0;
}

/// Ends all ranks of the job, after one line on stderr.
[[noreturn]] inline void end_all_ranks(int rank, const char* text, int code = 1) noexcept {
  std::fprintf(stderr, "ringfold: rank %d: %s\n", rank, text);
  std::fflush(stderr);
  MPI_Abort(MPI_COMM_WORLD, code);
  std::abort();
}

/// An exception's text, and the exit code that it asks for: 2 for a usage_error, 1 for anything else.
struct ending {
  line text;
  int code = 1;
};

inline ending ending_of(const std::exception_ptr& failure) noexcept {
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const usage_error& e) {
    return {say("%s", e.what()), 2};
  } catch (const std::exception& e) {
    return {say("%s", e.what())};
  } catch (...) {}
  return {say("ended by something that is not a std::exception")};
}

}  // namespace ringfold::detail
