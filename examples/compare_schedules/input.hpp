#pragma once

#include <optional>

#include "options.hpp"

/// \file
/// The tensors: from .npy files, or random.

namespace compare_schedules {

/// The experiment, and what it was made of.
struct inputs {
  experiment e;
  /// q, k, v as they are in the files, where rounding them to the asked type changed them.
  std::optional<experiment> as_given;
  std::optional<tensor> o;  ///< the output that the files hold
};

/// Reads or draws the tensors and lays them out; rank counts and shapes are checked.
/// \throws ringfold::usage_error: one line that names file or argument, value and what is allowed.
inputs load(const options& o);

}  // namespace compare_schedules
