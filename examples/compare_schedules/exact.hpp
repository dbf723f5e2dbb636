#pragma once

#include <vector>

#include "errors.hpp"
#include "measure.hpp"

/// \file
/// Attention by its definition in fp64, and how far others are from it. It shares no code with the library's kernels.

namespace compare_schedules {

/// Outputs of some tokens, [token][batch][head][value_dim], with the tokens' positions.
struct exact_rows {
  std::vector<extent> positions;
  std::vector<double> o;
  std::vector<double> terms{};  ///< of the definition: the sizes of the terms of each, added up, as many may cancel
  double largest_score = 0;
};

/// All tokens while that is a matter of seconds; of longer sequences some, evenly spread, first and last among them.
std::vector<extent> tokens_to_check(const experiment& e);

/// The definition, two passes over the keys, on all cores.
exact_rows exact(const experiment& e, std::vector<extent> positions, progress& show);

/// The same tokens of a tensor that somebody else made.
exact_rows rows_of(const tensor& o, const std::vector<extent>& positions);

/// Gradients of the first key heads, and of the query heads that read them: [key head][batch][token][query head][dim].
struct exact_gradients {
  extent key_heads = 0;
  std::vector<double> q, k, v, sinks;
  std::vector<double> q_terms{}, k_terms{}, v_terms{}, sink_terms{};  ///< of the definition, as exact_rows' terms
};

/// All key heads while that is a matter of seconds; of longer sequences the first ones.
exact_gradients exact_slopes(const experiment& e, progress& show);

/// The same heads of gradients that somebody else made.
exact_gradients slopes_of(const experiment& e, const gradients& all, extent key_heads);

inline errors difference(const exact_rows& got, const exact_rows& wanted) { return difference(got.o, wanted.o); }

/// How far a right kernel may be from the definition: the most that an error is of the roundoffs that sums of these
/// terms, weighed by scores of this size, are allowed, and so many roundings to the element type. More than 1 is wrong.
double of_roundoffs(const experiment& e, const std::vector<double>& got, const std::vector<double>& wanted,
                    const std::vector<double>& terms, double largest_score, int roundings);

/// The unit roundoff of an element type: half the distance from 1 to the next number.
double roundoff(dtype type);

}  // namespace compare_schedules
