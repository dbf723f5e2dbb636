#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

using lines = std::vector<std::string>;

lines read(const std::filesystem::path& path) {
  std::ifstream file(path);
  lines all;
  for (std::string line; std::getline(file, line);) all.push_back(line);
  return all;
}

/// Lines without what all of them are indented by.
lines dedented(lines text) {
  std::size_t common = std::string::npos;
  for (const std::string& line : text) {
    std::size_t const first = line.find_first_not_of(' ');
    if (first != std::string::npos) common = std::min(common, first);
  }
  for (std::string& line : text) line.erase(0, std::min(common, line.size()));
  return text;
}

/// The parts between two lines "//! [name]".
std::vector<lines> regions(const lines& text) {
  std::vector<lines> found;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::size_t const first = text[i].find("//! [");
    if (first == std::string::npos) continue;
    auto const mark = text[i].substr(first);
    for (std::size_t end = i + 1; end < text.size(); ++end) {
      if (text[end].ends_with(mark)) {
        auto const at = [&](std::size_t line) { return text.begin() + static_cast<std::ptrdiff_t>(line); };
        found.push_back(dedented(lines(at(i + 1), at(end))));
        break;
      }
    }
  }
  return found;
}

}  // namespace

TEST_CASE("every program in the README is a fragment of one that is compiled and run") {
  std::filesystem::path const root = RINGFOLD_SOURCE_DIR;
  std::vector<lines> compiled;
  for (const char* folder : {"examples", "tests"}) {
    for (const auto& each : std::filesystem::recursive_directory_iterator(root / folder)) {
      if (each.path().extension() != ".cpp") continue;
      for (lines& region : regions(read(each.path()))) compiled.push_back(region);
    }
  }
  int programs = 0;
  bool quickstart_first = false;
  auto const text = read(root / "README.md");
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != "```cpp") continue;
    lines program;
    while (++i < text.size() && text[i] != "```") program.push_back(text[i]);
    INFO("line ", i, " ends a program that is no fragment");
    CHECK(std::find(compiled.begin(), compiled.end(), program) != compiled.end());
    if (programs++ == 0) {
      auto const quickstart = regions(read(root / "examples/quickstart.cpp"));
      REQUIRE(!quickstart.empty());
      quickstart_first = program == quickstart.front();
    }
  }
  CHECK(programs > 0);
  CHECK(quickstart_first);
}
