// sanitize: threads
#include <schedules.hpp>

namespace schedules {
RINGFOLD_TEST_RUNS(, float)
}  // namespace schedules
