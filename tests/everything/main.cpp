#include "drawn.hpp"
#include "settings.hpp"

int main(int argc, char** argv) {
  using everything::settings;
  auto const run = [](const settings& s) {
    switch (s.level[everything::number]) {
      case 0: return everything::run_f64_reference(s);
      case 1: return everything::run_f32_flash(s);
      default: return everything::run_bf16_flash(s);
    }
  };
  return drawn::main<settings>(argc, argv, 20000, run, [](const settings& s) { return everything::refused(s); });
}
