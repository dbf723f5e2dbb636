#pragma once

#include <string>
#include <vector>

#include "expected.hpp"
#include "experiment.hpp"

/// \file
/// Whether a run was right.

namespace compare_scans {

/// Largest distances from the definition: of the output, and of the gradient of each input.
struct errors {
  double out = 0;
  std::vector<double> in{};
  double gradient() const;
};

/// How far a run is from the definition.
errors distance(const rules::values<double>& made, const rules::values<double>& wanted);

struct result {
  const rule* of;
  any_schedule by;
  outcome did;
  errors off, allowed;
  expected forward, backward;
  bool at_most = false;     ///< of rounds and bytes: some are not sent between documents
  bool order_kept = false;  ///< the same bits as a chain
  std::string wrong;        ///< what was not as expected; empty when all was
};

/// Holds a run against the definition, one rank alone, and a chain on as many ranks.
result judge(const shape& s, const rule& of, const prepared& numbers, const any_schedule& by, outcome did,
             const errors& alone, const outcome& chain);

}  // namespace compare_scans
