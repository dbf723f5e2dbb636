#include "../../../examples/support/rules/matrices.hpp"

#include "check.hpp"

namespace recurrences {

using ringfold::gating;
using rules::matrices, rules::writing;

std::string run_linear(const settings& s) { return run(matrices<writing::adds, gating::none>{}, s); }
std::string run_retention(const settings& s) { return run(matrices<writing::adds, gating::per_head>{}, s); }
std::string run_mamba2(const settings& s) { return run(matrices<writing::adds, gating::per_token>{}, s); }
std::string run_gla(const settings& s) { return run(matrices<writing::adds, gating::per_row>{}, s); }

}  // namespace recurrences
