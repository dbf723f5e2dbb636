#include "../../../examples/support/rules/matrices.hpp"

#include "check.hpp"

namespace recurrences {

using ringfold::gating;
using rules::matrices, rules::writing;

std::string run_delta_net(const settings& s) { return run(matrices<writing::corrects, gating::none>{}, s); }
std::string run_gated_delta_net(const settings& s) { return run(matrices<writing::corrects, gating::per_token>{}, s); }
std::string run_kimi(const settings& s) { return run(matrices<writing::corrects, gating::per_row>{}, s); }
std::string run_rwkv7(const settings& s) { return run(matrices<writing::of_low_rank, gating::per_row>{}, s); }

}  // namespace recurrences
