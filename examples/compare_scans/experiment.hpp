#pragma once

#include <cstdint>
#include <vector>

#include <ringfold/recurrence/gates.hpp>
#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/layout.hpp>

#include "support/any_schedule.hpp"

/// \file
/// What is run, on which numbers, and what comes of it.

namespace compare_scans {

using ringfold::extent;
using ringfold::examples::any_schedule;
namespace schedule = ringfold::schedule;

/// All tokens' numbers, [batch, token, head, width]; gates per head are [head].
struct tensors {
  std::vector<float> q, k, v, gates, out;
};
/// The same by the definition, in fp64.
struct exact_tensors {
  std::vector<double> q, k, v, gates, out;
};

struct experiment {
  extent seq = 1024, batch = 1, heads = 4, dim = 32, value_dim = 32, chunk = 64;
  ringfold::documents packed{seq};
  ringfold::gating gates = ringfold::gating::none;
  bool backward = false;
  int repeats = 5;
  tensors in;  ///< out is its cotangent

  extent rows() const { return ringfold::checked_multiply(ringfold::checked_multiply(batch, seq), heads); }
  extent gate_width() const { return gates == ringfold::gating::per_row ? dim : 1; }
  /// Where the gate of a token and head is, for a row of the state.
  std::size_t gate_at(extent row, extent d) const {
    return static_cast<std::size_t>(gates == ringfold::gating::per_head  ? row % heads
                                    : gates == ringfold::gating::per_row ? row * dim + d
                                                                         : row);
  }
  schedule::scan_sizes sizes() const {
    extent const states = batch * heads * dim * value_dim, a = static_cast<extent>(sizeof(float));
    return {states * a, gates == ringfold::gating::none ? 0 : batch * heads * gate_width() * a, value_dim};
  }
};

/// One direction of a run.
struct pass {
  int rounds = 0;
  extent bytes = 0;             ///< the most that a rank sent
  std::vector<double> seconds;  ///< of each call, by its slowest rank
};

struct outcome {
  tensors made;  ///< out, and the gradients of the others
  pass forward, backward;
};

struct rule {
  const char* name;
  ringfold::gating gates;
  outcome (*run)(const experiment& e, const any_schedule& s, int ranks);
};
outcome run_linear(const experiment& e, const any_schedule& s, int ranks);
outcome run_retention(const experiment& e, const any_schedule& s, int ranks);
outcome run_scalar(const experiment& e, const any_schedule& s, int ranks);
outcome run_gla(const experiment& e, const any_schedule& s, int ranks);

/// Random numbers of a rule: gates are those of the published model where it fixes them, else slow for even heads.
tensors draw(const experiment& e, std::uint64_t seed);

/// out and the gradients by the definition, token by token.
exact_tensors define(const experiment& e);

}  // namespace compare_scans
