#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <ringfold/sequence/layout.hpp>

#include "command_line.hpp"

/// \file
/// Layouts by name, as --layout has them.

namespace ringfold::examples {

inline constexpr const char* layouts_help =
    "contiguous (default), zigzag, striped[:WIDTH], or uneven:A,B,... with one length per rank";

/// The layout of so many tokens, cut between units of so many; of -1 tokens, none, but all is checked that can be.
/// \throws usage_error: one line that names argument, value and what is allowed.
inline layout layout_named(const std::string& text, extent tokens, int ranks, extent unit = 1) {
  constexpr extent longest = std::numeric_limits<std::int32_t>::max();
  extent const length = tokens < 0 ? 0 : tokens;
  if (text == "contiguous") return contiguous(length, ranks, unit);
  if (text == "zigzag") return zigzag(length, ranks, unit);
  if (text == "striped") return striped(length, ranks, unit);
  if (text.starts_with("striped:")) {
    return striped(length, ranks,
                   whole_number<extent>("--layout", text, text.substr(8), 1, longest, "striped[:WIDTH], "));
  }
  if (!text.starts_with("uneven:")) {
    refuse("--layout", text, "contiguous, zigzag, striped[:WIDTH], uneven:A,B,... (one length per rank)");
  }
  std::vector<extent> lengths;
  extent sum = 0;
  for (const std::string& each : split(text.substr(7))) {
    lengths.push_back(whole_number<extent>("--layout", text, each, 0, longest, "uneven:A,B,... with "));
    sum += lengths.back();
  }
  if (static_cast<int>(lengths.size()) != ranks) {
    refuse("--layout", text, fmt::format("one length for each of {} ranks, not {}", ranks, lengths.size()));
  }
  if (tokens >= 0 && sum != tokens) {
    refuse("--layout", text, fmt::format("lengths that add up to the {} tokens, not to {}", tokens, sum));
  }
  return uneven(sum, lengths);
}

}  // namespace ringfold::examples
