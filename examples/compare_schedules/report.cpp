#include "report.hpp"

#include <filesystem>

#include <fmt/format.h>

namespace compare_schedules {

namespace {

std::string ranks_of(const schedule& s, int ranks) {
  return s.grid ? fmt::format("{}x{}", ranks / columns_of(ranks), columns_of(ranks)) : std::to_string(ranks);
}

std::string mebibytes(extent bytes) { return fmt::format("{:.4g}", static_cast<double>(bytes) / 0x1p20); }

constexpr const char* line = "{:<12} {:>7} {:>6} {:>9} {:>9} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9}";

}  // namespace

void table::begin(const baseline& base) {
  const experiment& e = in_.e;
  extent const tokens = e.tokens.tokens();
  fmt::print(to_,
             "{} {}, {}, mask {}, layout {}: {} tokens, batch {}, {} query heads, {} kv heads, dim {}, value dim {}\n",
             e.ranks(), processes_ ? "ranks in processes" : "ranks in threads", name_of(e.type), o_.mask_text,
             o_.layout_text, tokens, e.shape.batch, e.shape.heads, e.shape.kv_heads, e.shape.dim, e.shape.value_dim);
  extent const checked = static_cast<extent>(base.definition.rows.positions.size());
  std::string source = fmt::format("random input of seed {}", o_.seed);
  if (!o_.input.empty()) {
    source.clear();
    for (std::size_t i = 0; i < 3; ++i)
      source += (i == 0 ? "" : ", ") + std::filesystem::path(o_.input[i]).filename().string();
  }
  fmt::print(to_, "{}; errors against fp64 on {}{}\n\n", source,
             checked == tokens ? "all tokens" : fmt::format("{} tokens, evenly spread", checked),
             base.given ? " and against " + std::filesystem::path(o_.input[3]).filename().string() : "");
  fmt::print(to_, line, "", "", "", "MiB sent", "MiB", "MiB work", "ms", "tokens", "max", "max error", "bits");
  fmt::print(to_, "{}\n", base.given ? fmt::format(" {:>9}", "max error") : "");
  fmt::print(to_, line, "schedule", "ranks", "steps", "by a rank", "expected", "space", "median", "a second", "error",
             "allowed", "repeat");
  fmt::print(to_, "{}\n", base.given ? fmt::format(" {:>9}", "to o") : "");
  double const seconds = median(base.alone.seconds);
  fmt::print(to_, line, "(kernel)", 1, "-", "-", "-", mebibytes(base.alone.workspace),
             fmt::format("{:.2f}", 1e3 * seconds), fmt::format("{:.0f}", static_cast<double>(tokens) / seconds),
             fmt::format("{:.2e}", base.definition.alone.max_abs), "-", "-");
  fmt::print(to_, "{}\n", base.given ? fmt::format(" {:>9.2e}", base.given->alone.max_abs) : "");
  std::fflush(to_);
}

void table::row(const result& r) {
  const experiment& e = in_.e;
  fmt::print(to_, line, r.which->name, ranks_of(*r.which, e.ranks()), r.steps, mebibytes(r.bytes),
             mebibytes(r.bytes_expected), mebibytes(r.did.workspace), fmt::format("{:.2f}", 1e3 * r.seconds_median),
             fmt::format("{:.0f}", static_cast<double>(e.tokens.tokens()) / r.seconds_median),
             fmt::format("{:.2e}", r.error.max_abs), fmt::format("{:.2e}", r.allowed.max_abs),
             r.did.repeatable ? "same" : "DIFFER");
  fmt::print(to_, "{}{}\n", r.error_to_o ? fmt::format(" {:>9.2e}", r.error_to_o->max_abs) : "",
             r.failed.empty() ? "" : "  WRONG");
  std::fflush(to_);
}

void table::left_out(const schedule& s, const std::string& why) {
  fmt::print(to_, "{:<12} {:>7} left out: {}\n", s.name, ranks_of(s, in_.e.ranks()), why);
}

bool table::end(const baseline& base, const std::vector<result>& results) {
  std::string wrong = base.wrong;
  for (const result& each : results) {
    if (!each.failed.empty())
      wrong += fmt::format("{}{}: {}", wrong.empty() ? "" : "; ", each.which->name, each.failed);
  }
  if (wrong.empty()) {
    fmt::print(to_,
               "\nOK: {} schedule{}: every error is at most 1.5 times that of one rank alone{}, bytes and steps are as "
               "expected, repeats agree bit by bit\n",
               results.size(), results.size() == 1 ? "" : "s", ", or a few roundoffs");
  } else {
    fmt::print(to_, "\nWRONG: {}\n", wrong);
  }
  std::fflush(to_);
  return wrong.empty();
}

}  // namespace compare_schedules
