#include "../../../examples/support/rules/selective.hpp"

#include "check.hpp"

namespace recurrences {

std::string run_mamba1(const settings& s) { return run(rules::selective{}, s); }

}  // namespace recurrences
