#include <ringfold/kernel/cpu/flash.hpp>

#include "check.hpp"

namespace everything {

std::string run_f32_flash(const settings& s) { return run<float>(s, ringfold::flash_kernel{}); }

}  // namespace everything
