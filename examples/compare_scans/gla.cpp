#include "run.hpp"

namespace compare_scans {

outcome run_gla(const experiment& e, const any_schedule& s, int ranks) {
  return run<ringfold::gating::per_row>(e, s, ranks);
}

}  // namespace compare_scans
