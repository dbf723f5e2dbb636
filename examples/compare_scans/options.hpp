#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiment.hpp"

/// \file
/// The command line, checked.

namespace compare_scans {

struct options {
  int ranks = 4;
  std::vector<const rule*> rules;
  std::vector<any_schedule> schedules;
  shape of_any_rule;
  std::uint64_t seed = 1;
  int pieces = 4, ranks_per_node = 2, repeats = 5;
  std::string layout_text = "contiguous", documents_text, json;  ///< the others empty where not given
  bool help = false;                                             ///< asked for, and printed
};

/// \throws ringfold::usage_error: one line that names argument, value and what is allowed.
options parse(int argc, char** argv);

}  // namespace compare_scans
