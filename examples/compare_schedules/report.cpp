#include "report.hpp"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

namespace compare_schedules {

namespace {

std::string ranks_of(const schedule& s, int ranks) {
  return s.grid ? fmt::format("{}x{}", ranks / columns_of(ranks), columns_of(ranks)) : std::to_string(ranks);
}

std::string mebibytes(extent bytes) { return fmt::format("{:.4g}", static_cast<double>(bytes) / 0x1p20); }
std::string milliseconds(double seconds) { return fmt::format("{:.2f}", 1e3 * seconds); }
std::string rate(extent tokens, double seconds) { return fmt::format("{:.0f}", static_cast<double>(tokens) / seconds); }
std::string scientific(double number) { return fmt::format("{:.2e}", number); }

std::string name_of_file(const std::string& path) { return std::filesystem::path(path).filename().string(); }

/// The last column is there only where the input brought an output.
constexpr const char* columns[] = {"schedule",  "ranks",    "steps",     "MiB sent", "expected", "work MiB",
                                   "median ms", "tokens/s", "max error", "allowed",  "repeats",  "error to o"};

void print_line(std::FILE* to, const std::vector<std::string>& cells, const char* remark = "") {
  std::string text;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    std::size_t const width = std::max<std::size_t>(std::string_view(columns[i]).size(), 8);
    text += i == 0 ? fmt::format("{:<11}", cells[i]) : fmt::format("  {:>{}}", cells[i], i < 3 ? 5 : width);
  }
  fmt::print(to, "{}{}\n", text, remark);
  std::fflush(to);
}

/// What else was asked for.
std::string features(const options& o) {
  std::string made;
  if (!o.documents_text.empty()) made += fmt::format(", documents {}", o.documents_text);
  if (o.softcap > 0) made += fmt::format(", softcap {}", o.softcap);
  if (o.alibi) made += ", alibi";
  if (o.sinks) made += ", sinks";
  if (o.dropout > 0) made += fmt::format(", dropout {}", o.dropout);
  return made + fmt::format(", order {}", o.order);
}

}  // namespace

void table::begin(const baseline& base) {
  const experiment& e = in_.e;
  const ringfold::shape& s = e.shape;
  extent const tokens = e.tokens.tokens(), checked = static_cast<extent>(base.definition.rows.positions.size());
  std::string const many = e.keys.tokens() == tokens ? fmt::format("{} tokens", tokens)
                                                     : fmt::format("{} queries over {} keys", tokens, e.keys.tokens());
  fmt::print(
      to_, "{} {}{}, {}, batch {}, {} query heads, {} kv heads, dim {}, value dim {}, {}, mask {}, layout {}{}\n",
      e.ranks(), processes_ ? "process" : "thread", e.ranks() == 1 ? "" : (processes_ ? "es" : "s"), many, s.batch,
      s.heads, s.kv_heads, s.dim, s.value_dim, name_of(e.type), o_.mask_text, o_.layout_text, features(o_));
  std::string source = fmt::format("random input of seed {}", o_.seed);
  if (!o_.input.empty()) {
    source = fmt::format("{}, {}, {}", name_of_file(o_.input[0]), name_of_file(o_.input[1]), name_of_file(o_.input[2]));
  }
  fmt::print(to_, "{}; errors against fp64 on {}{}\n\n", source,
             checked == tokens ? "all tokens" : fmt::format("{} tokens, evenly spread", checked),
             base.given ? fmt::format(", and against {} (o)", name_of_file(o_.input[3])) : "");

  std::vector<std::string> names(std::begin(columns), std::end(columns) - (base.given ? 0 : 1));
  print_line(to_, names);
  double const seconds = median(base.alone.forward.seconds);
  std::vector<std::string> cells{"kernel only",
                                 "1",
                                 "-",
                                 "-",
                                 "-",
                                 mebibytes(base.alone.workspace),
                                 milliseconds(seconds),
                                 rate(tokens, seconds),
                                 scientific(base.definition.alone.max_abs),
                                 "-",
                                 "-"};
  if (base.given) cells.push_back(scientific(base.given->alone.max_abs));
  print_line(to_, cells);
  if (!base.slopes) return;
  double const back = median(base.alone.backward.seconds);
  double worst = 0;
  for (const errors& each : base.slopes->alone) worst = std::max(worst, each.max_abs);
  print_line(to_, {"  backward", "1", "-", "-", "-", "-", milliseconds(back), rate(tokens, back), scientific(worst),
                   "-", "-"});
}

void table::row(const result& r) {
  std::vector<std::string> cells{r.which->name,
                                 ranks_of(*r.which, in_.e.ranks()),
                                 std::to_string(r.forward.steps),
                                 mebibytes(r.forward.bytes),
                                 mebibytes(r.forward.bytes_expected),
                                 mebibytes(r.did.workspace),
                                 milliseconds(r.seconds_median),
                                 rate(in_.e.tokens.tokens(), r.seconds_median),
                                 scientific(r.error.max_abs),
                                 scientific(r.allowed.max_abs),
                                 r.did.repeatable ? "bitwise" : "DIFFER"};
  if (r.error_to_o) cells.push_back(scientific(r.error_to_o->max_abs));
  const char* const remark = r.failed.empty() ? "" : "  WRONG";
  print_line(to_, cells, remark);
  if (r.did.backward.seconds.empty()) return;
  print_line(to_,
             {"  backward", ranks_of(*r.which, in_.e.ranks()), std::to_string(r.backward.steps),
              mebibytes(r.backward.bytes), mebibytes(r.backward.bytes_expected), "-", milliseconds(r.backward_seconds),
              rate(in_.e.tokens.tokens(), r.backward_seconds), scientific(r.gradient_error),
              scientific(r.gradient_error_allowed), r.did.repeatable ? "bitwise" : "DIFFER"},
             remark);
}

void table::left_out(const schedule& s, const std::string& why) {
  print_line(to_, {s.name, ranks_of(s, in_.e.ranks())}, fmt::format("  left out: {}", why).c_str());
}

bool table::end(const baseline& base, const std::vector<result>& results) {
  std::string wrong = base.wrong;
  for (const result& each : results) {
    if (each.failed.empty()) continue;
    wrong += fmt::format("{}{}: {}", wrong.empty() ? "" : "; ", each.which->name, each.failed);
  }
  if (wrong.empty()) {
    fmt::print(to_,
               "\nRIGHT: errors are at most 1.5 times the kernel's, or a few roundoffs of sums more, bytes and steps "
               "are as expected, "
               "repeats agree bit by bit\n");
  } else {
    fmt::print(to_, "\nWRONG: {}\n", wrong);
  }
  std::fflush(to_);
  return wrong.empty();
}

}  // namespace compare_schedules
