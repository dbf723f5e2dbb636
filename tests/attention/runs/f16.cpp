// sanitize: off
#include <schedules.hpp>

namespace schedules {
RINGFOLD_TEST_RUNS(, ringfold::f16)
}  // namespace schedules
