#include "verdict.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace compare_schedules {

namespace {

target target_of(exact_rows rows, const tensor& alone, double floor) {
  target made{std::move(rows), {}, {}};
  made.alone = difference(rows_of(alone, made.rows.positions), made.rows);
  errors const size = size_of(made.rows);
  made.allowed = {std::max(1.5 * made.alone.max_abs, floor * size.max_abs),
                  std::max(1.5 * made.alone.rms, floor * size.rms)};
  return made;
}

void hold(std::string& failed, const char* what, double error, double allowed) {
  if (!(error <= allowed))
    failed += fmt::format("{}{} {:.2e}, allowed {:.2e}", failed.empty() ? "" : ", ", what, error, allowed);
}

}  // namespace

baseline make_baseline(const inputs& in, progress& show) {
  const experiment& e = in.e;
  baseline made{measure_kernel(e, show), {}, {}, {}};
  // What sums in any order may lose, and rounding the output once.
  double const floor = 4 * roundoff(e.sum_type()) + (e.type == e.sum_type() ? 0 : roundoff(e.type));
  auto const positions = tokens_to_check(e);
  made.definition = target_of(exact(e, positions, show), made.alone.out, floor);
  if (in.o) {
    exact_rows const given = rows_of(*in.o, positions);
    made.given = target_of(given, made.alone.out, floor + roundoff(in.o->type));
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
