#include "../../../examples/support/rules/memory_cell.hpp"

#include "check.hpp"

namespace recurrences {

std::string run_mlstm(const settings& s) { return run(rules::memory_cell{}, s); }

}  // namespace recurrences
