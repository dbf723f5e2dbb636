#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiment.hpp"
#include "schedules.hpp"

/// \file
/// The command line, checked as far as it can be without the input.

namespace compare_schedules {

/// Ranks that mpirun started, as its environment tells before MPI is; 0 of 0 in a plain run.
struct launched {
  int rank = 0, ranks = 0;
};

struct options {
  int ranks = 4;
  std::string schedule_text = "all";
  std::vector<const schedule*> chosen;
  bool every = true;  ///< --schedule all: those that cannot run are left out
  /// 0 where not given: then the input says, or a default.
  extent seq = 0, batch = 0, heads = 0, kv_heads = 0, dim = 0, value_dim = 0;
  std::string dtype_text;  ///< empty where not given
  std::string mask_text = "full", layout_text = "contiguous";
  ringfold::band mask;
  std::vector<std::string> input;  ///< none, or q, k, v and perhaps o
  std::uint64_t seed = 1;
  extent queries = 0, prefix = 0;  ///< 0 where not given
  std::string documents_text;      ///< empty where not given
  std::vector<extent> documents;   ///< their lengths
  double softcap = 0, dropout = 0;
  bool alibi = false, sinks = false, backward = false;
  std::string order = "fast";
  extent chunk = 0;  ///< of the canonical order; 0: fast
  int repeats = 5;
  std::string json, trace;  ///< empty where not given
  bool help = false;        ///< asked for, and printed
};

/// Reads the command line. \throws ringfold::usage_error: one line that names argument, value and what is allowed.
options parse(int argc, char** argv, launched by_mpirun);

/// The layout that was asked for, now that the length is known. \throws ringfold::usage_error
ringfold::layout layout_of(const options& o, extent tokens);

/// The name of an element type on the command line.
const char* name_of(dtype type);
/// \throws ringfold::usage_error when there is no such element type.
dtype dtype_named(const std::string& text);

}  // namespace compare_schedules
