#include "run.hpp"

namespace compare_scans {

outcome run_linear(const experiment& e, const any_schedule& s, int ranks) {
  return run<ringfold::gating::none>(e, s, ranks);
}

}  // namespace compare_scans
