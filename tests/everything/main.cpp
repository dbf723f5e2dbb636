#include <charconv>
#include <chrono>
#include <cstring>
#include <vector>

#include <fmt/core.h>

#include "settings.hpp"

/// \file
/// Draws attentions of everything that can be asked for, and holds each against its definition.
///   everything [--cases N] [--first SEED]
/// Exit code 1 names the first case that is wrong; `--cases 1 --first SEED` runs it again.

namespace everything {
namespace {

/// Every pair of levels of two factors that some case had.
class pairs {
 public:
  void add(const settings& s) {
    for (std::size_t a = 0; a < factors; ++a) {
      for (std::size_t b = a + 1; b < factors; ++b) {
        bool& had = had_[((a * factors + b) * most + static_cast<std::size_t>(s.level[a])) * most +
                         static_cast<std::size_t>(s.level[b])]
                        .yes;
        covered_ += !had;
        had = true;
      }
    }
  }
  int covered() const { return covered_; }
  static int all() {
    int sum = 0;
    for (std::size_t a = 0; a < factors; ++a) {
      for (std::size_t b = a + 1; b < factors; ++b) sum += levels[a] * levels[b];
    }
    return sum;
  }

 private:
  struct flag {
    bool yes = false;
  };
  static constexpr std::size_t most = 32;
  std::vector<flag> had_ = std::vector<flag>(factors * factors * most * most);
  int covered_ = 0;
};

std::string run(const settings& s) {
  switch (s.level[number]) {
    case 0: return run_f64_reference(s);
    case 1: return run_f32_flash(s);
    default: return run_bf16_flash(s);
  }
}

int start(std::uint64_t first, std::uint64_t cases) {
  auto const begin = std::chrono::steady_clock::now();
  pairs seen;
  std::uint64_t refusals = 0, wrong = 0;
  for (std::uint64_t seed = first; seed < first + cases; ++seed) {
    settings const s(seed);
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
    if (++wrong == 10) break;
  }
  double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  fmt::print("{} cases in {:.0f} s, {} of them refused as they must be; {} wrong; {} of {} pairs of choices covered\n",
             cases, seconds, refusals, wrong, seen.covered(), pairs::all());
  // Choices that cannot be together are few: more ranks than heads, for schedules that share heads.
  if (cases >= 20000 && seen.covered() < pairs::all() * 98 / 100) {
    fmt::print("too few pairs of choices were covered\n");
    return 1;
  }
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace everything

int main(int argc, char** argv) {
  std::uint64_t cases = 20000, first = 1;
  for (int i = 1; i < argc; i += 2) {
    std::uint64_t* const to = std::strcmp(argv[i], "--cases") == 0   ? &cases
                              : std::strcmp(argv[i], "--first") == 0 ? &first
                                                                     : nullptr;
    const char* const text = i + 1 < argc ? argv[i + 1] : "";
    auto const [end, failure] = to == nullptr ? std::from_chars_result{text, std::errc::invalid_argument}
                                              : std::from_chars(text, text + std::strlen(text), *to);
    if (failure != std::errc() || *end != '\0') {
      fmt::print(stderr, "everything: {} {}: allowed: --cases N, --first SEED\n", argv[i], text);
      return 2;
    }
  }
  return everything::start(first, cases);
}
