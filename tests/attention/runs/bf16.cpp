#include <schedules.hpp>

namespace schedules {
RINGFOLD_TEST_RUNS(, ringfold::bf16)
}  // namespace schedules
