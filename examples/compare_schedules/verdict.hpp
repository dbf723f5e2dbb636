#pragma once

#include <optional>

#include "exact.hpp"
#include "input.hpp"
#include "measure.hpp"

/// \file
/// What is right: errors against one rank alone, and counted traffic against what was worked out.

namespace compare_schedules {

/// A target that outputs are held against: the definition, or the output that came with the input.
struct target {
  exact_rows rows;
  errors alone;    ///< the error of the kernel on one rank
  errors worst;    ///< its largest over a few orders of keys
  errors allowed;  ///< 1.5 times these, or a few roundoffs of sums more
};

/// The exact gradients, and what errors of them are allowed: of queries, keys, values and sinks.
struct slope_target {
  exact_gradients exact;
  errors alone[4], allowed[4];
};

struct baseline {
  measurement alone;
  target definition;
  std::optional<target> given;
  std::optional<slope_target> slopes;
  tensor out;              ///< of one rank, where every schedule has to give its bits
  gradients whole_slopes;  ///< likewise
  std::string wrong;       ///< why the given output is not this attention's; empty when it is
};

/// The definition's rows, the kernel on one rank, and what errors they allow.
baseline make_baseline(const inputs& in, progress& show);

/// One line of the table, and one object of the JSON.
struct result {
  const schedule* which = nullptr;
  measurement did;
  errors error, allowed;
  std::optional<errors> error_to_o, allowed_to_o;
  double gradient_error = 0, gradient_error_allowed = 0;  ///< the largest of all gradients, and what it is held against
  double seconds_median = 0, backward_seconds = 0;
  /// The most of any rank.
  struct traffic {
    extent bytes = 0, bytes_expected = 0, steps = 0, steps_expected = 0;
  } forward, backward;
  std::string failed;  ///< what is wrong; empty when nothing is
};

double median(std::vector<double> of);

result judge(const schedule& which, measurement did, const experiment& e, const baseline& base);

}  // namespace compare_schedules
