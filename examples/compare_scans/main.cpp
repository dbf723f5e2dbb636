#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "options.hpp"
#include "support/guarded.hpp"
#include "support/memory.hpp"
#include "support/output.hpp"
#include "verdict.hpp"

namespace compare_scans {
namespace {

double median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  std::size_t const half = of.size() / 2;
  return of.size() % 2 == 1 ? of[half] : (of[half - 1] + of[half]) / 2;
}

extent most(const std::vector<extent>& of) { return *std::max_element(of.begin(), of.end()); }

nlohmann::ordered_json as_json(const result& r, const options& o) {
  shape const& e = o.of_any_rule;
  nlohmann::ordered_json one{{"rule", r.of->name},
                             {"schedule", r.by.name},
                             {"ranks", o.ranks},
                             {"layout", o.layout_text},
                             {"seq", e.seq},
                             {"batch", e.batch},
                             {"heads", e.heads},
                             {"dim", e.dim},
                             {"value_dim", e.value_dim},
                             {"chunk", e.chunk},
                             {"documents", e.packed.count()},
                             {"rounds", r.did.forward.rounds},
                             {"rounds_expected", r.forward.rounds},
                             {"bytes_sent_max", most(r.did.forward.bytes)},
                             {"bytes_expected", most(r.forward.bytes)},
                             {"expected_is_at_most", r.at_most},
                             {"order_preserving", r.by.keeps_order()},
                             {"bits_of_a_chain", r.order_kept},
                             {"max_abs_error", r.off.out},
                             {"max_abs_error_allowed", r.allowed.out},
                             {"seconds_median", median(r.did.forward.seconds)},
                             {"seconds", r.did.forward.seconds},
                             {"right", r.wrong.empty()}};
  if (std::string(r.by.name) == "pipelined_chain") one["pieces"] = o.pieces;
  if (std::string(r.by.name) == "two_level") one["ranks_per_node"] = o.ranks_per_node;
  if (e.backward) {
    one["grad_max_abs_error"] = r.off.gradient();
    one["rounds_backward"] = r.did.backward.rounds;
    one["rounds_expected_backward"] = r.backward.rounds;
    one["bytes_sent_max_backward"] = most(r.did.backward.bytes);
    one["bytes_expected_backward"] = most(r.backward.bytes);
    one["seconds_median_backward"] = median(r.did.backward.seconds);
  }
  return one;
}

constexpr const char* columns = "{:<11} {:<18} {:>7} {:>9} {:>14} {:>14} {:>6} {:>10} {:>10} {:>9}\n";

void print_head() {
  fmt::print(columns, "rule", "schedule", "rounds", "expected", "sent max, KiB", "expected, KiB", "order", "max error",
             "grad error", "ms");
}
void print(const result& r, const shape& e) {
  auto const kibibytes = [](extent bytes) { return fmt::format("{:.4g}", static_cast<double>(bytes) / 1024); };
  fmt::print(columns, r.of->name, r.by.name, r.did.forward.rounds, r.forward.rounds,
             kibibytes(most(r.did.forward.bytes)), kibibytes(most(r.forward.bytes)),
             r.by.keeps_order() ? "kept" : "other", fmt::format("{:.2e}", r.off.out),
             e.backward ? fmt::format("{:.2e}", r.off.gradient()) : "",
             fmt::format("{:.2f}", 1e3 * median(r.did.forward.seconds)));
}

int run(const options& o) {
  bool right = true;
  bool const shown = o.json != "-";
  auto results = nlohmann::ordered_json::array();
  shape const& s = o.of_any_rule;
  std::vector<std::unique_ptr<prepared>> all;
  for (const rule* of : o.rules) {
    all.push_back(of->prepare(s));
    ringfold::examples::check_memory(
        fmt::format("--rule {} --seq {} --batch {} --heads {} --dim {} --value-dim {} --chunk {} --layout {}", of->name,
                    s.seq, s.batch, s.heads, s.dim, s.value_dim, s.chunk, o.layout_text),
        all.back()->memory());
  }
  if (shown) {
    fmt::print("{} tokens on {} ranks, {}, {} heads of {} x {}, chunks of {}{}\n", s.seq, o.ranks, o.layout_text,
               s.heads, s.dim, s.value_dim, s.chunk,
               s.packed.count() > 1 ? "; between documents less is sent than is expected at most" : "");
    print_head();
  }
  for (std::size_t i = 0; i < o.rules.size(); ++i) {
    const rule* const of = o.rules[i];
    auto const numbers = std::move(all[i]);
    numbers->draw(o.seed);
    any_schedule const chain{"chain", schedule::chain{}};
    errors const alone = distance(numbers->run(chain, ringfold::contiguous(s.seq, 1), 1).made, numbers->wanted());
    outcome const in_order = numbers->run(chain, s.tokens, 1);
    for (const any_schedule& by : o.schedules) {
      result const r = judge(s, *of, *numbers, by, numbers->run(by, s.tokens, o.repeats), alone, in_order);
      if (shown) print(r, s);
      if (!r.wrong.empty()) fmt::print(stderr, "compare_scans: {} by {}: {}\n", of->name, by.name, r.wrong);
      right = right && r.wrong.empty();
      results.push_back(as_json(r, o));
    }
  }
  if (!o.json.empty()) ringfold::examples::write(o.json, results.dump(2) + "\n");
  return right ? 0 : 1;
}

}  // namespace
}  // namespace compare_scans

int main(int argc, char** argv) {
  return ringfold::examples::guarded("compare_scans", [&] {
    auto const o = compare_scans::parse(argc, argv);
    return o.help ? 0 : compare_scans::run(o);
  });
}
