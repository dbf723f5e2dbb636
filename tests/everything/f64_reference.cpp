#include <ringfold/kernel/reference.hpp>

#include "check.hpp"

namespace everything {

std::string run_f64_reference(const settings& s) { return run<double>(s, ringfold::reference_kernel{}, make_mask(s)); }

}  // namespace everything
