#pragma once

#include <string>

#include "experiment.hpp"

/// \file
/// Whether a run was right.

namespace compare_scans {

/// Largest distances from the definition: of the output, and of each gradient.
struct errors {
  double out = 0, q = 0, k = 0, v = 0, gates = 0;
  double gradient() const;
};

/// How far a run is from the definition.
errors distance(const tensors& made, const exact_tensors& wanted);

struct result {
  const rule* of;
  any_schedule by;
  outcome did;
  errors off, allowed;
  int rounds_expected = 0;
  extent bytes_expected = 0;
  bool at_most = false;     ///< of rounds and bytes: some are not sent between documents
  bool order_kept = false;  ///< the same bits as a chain
  std::string wrong;        ///< what was not as expected; empty when all was
};

/// Holds a run against the definition, one rank alone, and a chain on as many ranks.
result judge(const experiment& e, const rule& of, const any_schedule& by, int ranks, outcome did,
             const exact_tensors& wanted, const errors& alone, const outcome& chain);

}  // namespace compare_scans
