#pragma once

#include <vector>

#include <ringfold/schedule/slots.hpp>

#include "experiment.hpp"

/// \file
/// What a scan is expected to send.

namespace compare_scans {

struct expected {
  int rounds = 0;
  std::vector<extent> bytes;  ///< by rank
};

/// Over any slots, of any owners, without documents: between those less is sent.
///
/// Where each rank has one slot, in order, what the schedule publishes; else its moves are played slot by slot. What
/// stays on a rank takes no round and no bytes.
expected expect(const any_schedule& by, const ringfold::scan_slots& slots, int ranks, const schedule::scan_sizes& of);

}  // namespace compare_scans
