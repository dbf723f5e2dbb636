#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include <fmt/core.h>

/// \file
/// A program that draws cases of everything that can be asked for, and holds each against its definition.
///   <program> [--cases N] [--first SEED]
/// Exit code 1 names the first cases that are wrong; `--cases 1 --first SEED` runs one again.

namespace drawn {

/// Every pair of levels of two factors that some case had.
template <class Settings>
class pairs {
 public:
  void add(const Settings& s) {
    for_each([&](std::size_t a, std::size_t b) {
      auto const at = [&](std::size_t f) { return static_cast<std::size_t>(s.level[f]); };
      auto& had = had_[((a * Settings::levels.size() + b) * most + at(a)) * most + at(b)];
      covered_ += had == 0;
      had = 1;
    });
  }
  int covered() const { return covered_; }
  static int all() {
    int sum = 0;
    for_each([&](std::size_t a, std::size_t b) { sum += Settings::levels[a] * Settings::levels[b]; });
    return sum;
  }

 private:
  template <class F>
  static void for_each(F f) {
    for (std::size_t a = 0; a < Settings::levels.size(); ++a) {
      for (std::size_t b = a + 1; b < Settings::levels.size(); ++b) f(a, b);
    }
  }

  static constexpr std::size_t most = 32;
  static_assert(std::ranges::all_of(Settings::levels, [](int each) { return each <= static_cast<int>(most); }));
  std::vector<char> had_ = std::vector<char>(Settings::levels.size() * Settings::levels.size() * most * most);
  int covered_ = 0;
};

/// `settings(seed)` is a case, run(case) says what is wrong, and refused(case) whether it must be refused. From `enough`
/// cases on, nearly all pairs of levels must have been covered.
template <class Settings, class Run, class Refused>
int start(std::uint64_t first, std::uint64_t cases, std::uint64_t enough, Run run, Refused refused) {
  auto const begin = std::chrono::steady_clock::now();
  pairs<Settings> seen;
  std::uint64_t refusals = 0, wrong = 0;
  for (std::uint64_t seed = first; seed < first + cases; ++seed) {
    Settings const s(seed);
    std::string why;
    try {
      why = run(s);
    } catch (const std::exception& e) {
      why = e.what();
    }
    if (refused(s)) {
      ++refusals;
    } else {
      seen.add(s);
    }
    if (why.empty()) continue;
    fmt::print("{}\n  {}\n", s.text(), why);
    if (++wrong == 10) {
      cases = seed - first + 1;
      break;
    }
  }
  double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  fmt::print("{} cases in {:.0f} s, {} of them refused as they must be; {} wrong; {} of {} pairs of choices covered\n",
             cases, seconds, refusals, wrong, seen.covered(), seen.all());
  // Choices that cannot be together are few.
  if (cases >= enough && seen.covered() < seen.all() * 98 / 100) {
    fmt::print("too few pairs of choices were covered\n");
    return 1;
  }
  return wrong == 0 ? 0 : 1;
}

/// The same, with cases as the command line asks.
template <class Settings, class Run, class Refused>
int main(int argc, char** argv, std::uint64_t enough, Run run, Refused refused) {
  std::uint64_t cases = enough, first = 1;
  for (int i = 1; i < argc; i += 2) {
    std::uint64_t* const to = std::strcmp(argv[i], "--cases") == 0   ? &cases
                              : std::strcmp(argv[i], "--first") == 0 ? &first
                                                                     : nullptr;
    const char* const text = i + 1 < argc ? argv[i + 1] : "";
    auto const [end, failure] = to == nullptr ? std::from_chars_result{text, std::errc::invalid_argument}
                                              : std::from_chars(text, text + std::strlen(text), *to);
    if (failure != std::errc() || *end != '\0' || (to == &cases && cases == 0)) {
      fmt::print(stderr, "{} {}: allowed: --cases N, --first SEED\n", argv[i], text);
      return 2;
    }
  }
  return start<Settings>(first, cases, enough, run, refused);
}

}  // namespace drawn
