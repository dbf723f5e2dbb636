#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "support/any_schedule.hpp"
#include "support/rules/experiment.hpp"

/// \file
/// What is run, and what comes of it.

namespace compare_scans {

using ringfold::extent;
using ringfold::examples::any_schedule;
namespace schedule = ringfold::schedule;

struct shape {
  extent seq = 1024, batch = 1, heads = 4, dim = 32, value_dim = 32, chunk = 64;
  ringfold::documents packed{seq};
  ringfold::layout tokens;
  bool backward = false;
};

/// One direction of a run.
struct pass {
  int rounds = 0;
  std::vector<extent> bytes;    ///< by rank
  std::vector<double> seconds;  ///< of each call, by its slowest rank
};

struct outcome {
  rules::values<double> made;
  pass forward, backward;
};

/// A rule, and the numbers that are drawn for it.
class prepared {
 public:
  prepared() = default;
  prepared(const prepared&) = delete;
  prepared& operator=(const prepared&) = delete;
  virtual ~prepared() = default;

  /// About the most bytes that are needed for all that follows.
  virtual double memory() const = 0;
  /// Draws the numbers, before anything is asked about them.
  virtual void draw(std::uint64_t seed) = 0;
  /// By the definition, in fp64.
  virtual const rules::values<double>& wanted() const = 0;
  /// Of the gradients, in the order of wanted().in.
  virtual std::vector<const char*> names() const = 0;
  virtual schedule::scan_sizes sizes() const = 0;
  virtual outcome run(const any_schedule& by, const ringfold::layout& tokens, int repeats) const = 0;
};

struct rule {
  const char* name;
  std::unique_ptr<prepared> (*prepare)(const shape& of);
};
using preparation = std::unique_ptr<prepared>(const shape& of);
preparation prepare_linear, prepare_retention, prepare_scalar, prepare_gla, prepare_delta, prepare_gated_delta,
    prepare_kda, prepare_rwkv7, prepare_hgrn, prepare_lru, prepare_mamba1, prepare_mlstm, prepare_convolution;

}  // namespace compare_scans
