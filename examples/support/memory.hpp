#pragma once

#include <string>

#include <unistd.h>

#include <fmt/format.h>

#include <ringfold/core/errors.hpp>

/// \file
/// Sizes that cannot be, refused before anything is allocated.

namespace ringfold::examples {

/// \throws usage_error when what is asked for needs more bytes than this machine has.
inline void check_memory(const std::string& asked, double bytes) {
  double const there = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (bytes <= there) return;
  throw usage_error(say("%s", fmt::format("{} need {:.3g} GiB; allowed: the {:.3g} GiB of this machine", asked,
                                          bytes / 0x1p30, there / 0x1p30)
                                  .c_str()));
}

}  // namespace ringfold::examples
