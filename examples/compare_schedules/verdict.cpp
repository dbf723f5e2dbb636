#include "verdict.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace compare_schedules {

namespace {

target target_of(exact_rows rows, const std::vector<exact_rows>& alone, const experiment& e) {
  target made{std::move(rows), {}, {}, {}};
  made.alone = difference(alone.front(), made.rows);
  for (const exact_rows& each : alone) {
    made.worst.max_abs = std::max(made.worst.max_abs, difference(each, made.rows).max_abs);
  }
  // At least a few roundoffs of sums more than alone: any order of summing weighted values may lose 8 of the largest
  // value in one place, and 4 of the outputs on the whole. Rounding outputs is the same for both.
  double const once = roundoff(e.sum_type()), largest_value = size_of(rows_of(e.v, made.rows.positions)).max_abs;
  errors const output = size_of(made.rows);
  made.allowed = {std::max(1.5 * made.worst.max_abs, made.worst.max_abs + 8 * once * largest_value),
                  std::max(1.5 * made.alone.rms, made.alone.rms + 4 * once * output.rms)};
  return made;
}

/// Orders of keys in which the kernel on one rank is tried.
constexpr extent orders = 4;

void hold(std::string& failed, const char* what, double error, double allowed) {
  if (!(std::isfinite(error) && error <= allowed))
    failed += fmt::format("{}{} {:.2e}, allowed {:.2e}", failed.empty() ? "" : ", ", what, error, allowed);
}

}  // namespace

baseline make_baseline(const inputs& in, progress& show) {
  const experiment& e = in.e;
  baseline made{measure_kernel(e, show), {}, {}, {}};
  auto const positions = tokens_to_check(e);
  // The rms error is held against the kernel's own. The largest error is one outlier's, and another order of the same
  // sums picks another: it is held against the largest of a few orders.
  std::vector<exact_rows> alone{rows_of(made.alone.out, positions)};
  for (extent part = 1; part < orders; ++part) {
    show.tell("one rank alone, orders of keys", part, orders);
    alone.push_back(rows_of(kernel_output(e, e.tokens.tokens() * part / orders), positions));
  }
  made.alone.out = {};
  made.definition = target_of(exact(e, positions, show), alone, e);
  if (in.o) {
    exact_rows const given = rows_of(*in.o, positions);
    made.given = target_of(given, alone, e);
    // The given output is a yardstick only if it is this attention of the input as it was given.
    errors const apart = difference(given, in.as_given ? exact(*in.as_given, positions, show) : made.definition.rows);
    hold(made.wrong, "the given output is off fp64 by", apart.max_abs,
         64 * roundoff(in.o->type) * size_of(given).max_abs);
  }
  return made;
}

double median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  std::size_t const half = of.size() / 2;
  return of.size() % 2 == 1 ? of[half] : (of[half - 1] + of[half]) / 2;
}

result judge(const schedule& which, measurement did, const experiment& e, const baseline& base) {
  result made;
  made.which = &which;
  auto const out = rows_of(did.out, base.definition.rows.positions);
  made.error = difference(out, base.definition.rows);
  made.allowed = base.definition.allowed;
  hold(made.failed, "max error", made.error.max_abs, made.allowed.max_abs);
  hold(made.failed, "rms error", made.error.rms, made.allowed.rms);
  if (base.given) {
    made.error_to_o = difference(out, base.given->rows);
    made.allowed_to_o = base.given->allowed;
    hold(made.failed, "max error to o", made.error_to_o->max_abs, made.allowed_to_o->max_abs);
    hold(made.failed, "rms error to o", made.error_to_o->rms, made.allowed_to_o->rms);
  }
  auto const traffic = traffic_of(e);
  for (int rank = 0; rank < e.ranks(); ++rank) {
    auto const expected = which.expected(traffic, rank);
    extent const bytes = did.bytes[static_cast<std::size_t>(rank)], steps = did.steps[static_cast<std::size_t>(rank)];
    made.bytes = std::max(made.bytes, bytes);
    made.steps = std::max(made.steps, steps);
    made.bytes_expected = std::max(made.bytes_expected, expected.bytes);
    made.steps_expected = std::max(made.steps_expected, expected.steps);
    if (bytes != expected.bytes || steps != expected.steps) {
      made.failed += fmt::format("{}rank {} sent {} bytes in {} steps, expected {} in {}",
                                 made.failed.empty() ? "" : ", ", rank, bytes, steps, expected.bytes, expected.steps);
    }
  }
  if (!did.repeatable) made.failed += fmt::format("{}bits differ from run to run", made.failed.empty() ? "" : ", ");
  made.seconds_median = median(did.seconds);
  did.out = {};
  made.did = std::move(did);
  return made;
}

}  // namespace compare_schedules
