#include <ringfold/kernel/cpu/flash.hpp>

#include "check.hpp"

namespace everything {

// Masks that say who sees a key take another way through the kernel: each by its own type.
std::string run_f32_flash(const settings& s) {
  any_mask const mask = make_mask(s);
  if (s.level[sparse] != 0) return run<float>(s, ringfold::flash_kernel{}, mask);
  if (!mask.many) return run<float>(s, ringfold::flash_kernel{}, mask.one.within);
  ringfold::packed<ringfold::band> const parts(ringfold::documents(s.query_documents),
                                               ringfold::documents(s.key_documents), mask.one.within,
                                               ringfold::packed<ringfold::band>::aligned::at_start);
  return run<float>(s, ringfold::flash_kernel{}, parts);
}

}  // namespace everything
