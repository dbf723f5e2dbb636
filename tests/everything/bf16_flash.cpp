#include <ringfold/kernel/cpu/flash.hpp>

#include "check.hpp"

namespace everything {

std::string run_bf16_flash(const settings& s) { return run<ringfold::bf16>(s, ringfold::flash_kernel{}, make_mask(s)); }

}  // namespace everything
