// sanitize: threads
#include <schedules.hpp>

namespace schedules {
RINGFOLD_TEST_RUNS(, double)
}  // namespace schedules
