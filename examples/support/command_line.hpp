#pragma once

#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <ringfold/core/errors.hpp>

/// \file
/// Values of a command line, refused by one line that names argument, value and what is allowed.

namespace ringfold::examples {

/// What a value must be, by name of its argument; the value is shown shortened.
[[noreturn]] inline void refuse(std::string_view argument, std::string_view value, std::string_view allowed) {
  std::string const shown(value.substr(0, 120));
  throw usage_error(
      say("%s", fmt::format("{} {}: allowed: {}", argument, shown.empty() ? "''" : shown, allowed).c_str()));
}

/// A whole number between two others, and nothing else.
template <class N>
N whole_number(std::string_view argument, std::string_view whole, std::string_view text, N low, N high,
               std::string_view note = {}) {
  N value{};
  auto const [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    refuse(argument, whole, fmt::format("{}whole numbers from {} to {}", note, low, high));
  }
  return value;
}

inline std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    std::size_t const comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace ringfold::examples
