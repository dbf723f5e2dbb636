#include "../../../examples/support/rules/convolved.hpp"

#include "check.hpp"

namespace recurrences {

std::string run_convolution(const settings& s) { return run(rules::convolved{}, s); }

}  // namespace recurrences
