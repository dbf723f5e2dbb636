#include "run.hpp"

// Both in one file: their states are scanned alike, and are compiled once.
namespace compare_scans {

outcome run_retention(const experiment& e, const any_schedule& s, int ranks) {
  return run<ringfold::gating::per_head>(e, s, ranks);
}
outcome run_scalar(const experiment& e, const any_schedule& s, int ranks) {
  return run<ringfold::gating::per_token>(e, s, ranks);
}

}  // namespace compare_scans
