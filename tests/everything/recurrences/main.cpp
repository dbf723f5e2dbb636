#include "../drawn.hpp"
#include "settings.hpp"

int main(int argc, char** argv) {
  using recurrences::settings;
  auto const run = [](const settings& s) { return recurrences::rules[s.level[recurrences::rule]](s); };
  return drawn::main<settings>(argc, argv, 10000, run, [](const settings&) { return false; });
}
