#pragma once

#include <vector>

#include "experiment.hpp"
#include "progress.hpp"

/// \file
/// Attention by its definition in fp64, and how far others are from it. It shares no code with the library's kernels.

namespace compare_schedules {

/// Outputs of some tokens, [token][batch][head][value_dim], with the tokens' positions.
struct exact_rows {
  std::vector<extent> positions;
  std::vector<double> o;
};

/// All tokens while that is a matter of seconds; of longer sequences some, evenly spread, first and last among them.
std::vector<extent> tokens_to_check(const experiment& e);

/// The definition, two passes over the keys, on all cores.
exact_rows exact(const experiment& e, std::vector<extent> positions, progress& show);

/// The same tokens of a tensor that somebody else made.
exact_rows rows_of(const tensor& o, const std::vector<extent>& positions);

struct errors {
  double max_abs = 0, rms = 0;
};

/// Not a number counts as infinitely far.
errors difference(const exact_rows& got, const exact_rows& wanted);

/// The largest and the root mean square of all outputs.
errors size_of(const exact_rows& rows);

/// The unit roundoff of an element type: half the distance from 1 to the next number.
double roundoff(dtype type);

}  // namespace compare_schedules
