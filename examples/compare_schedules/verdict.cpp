#include "verdict.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace compare_schedules {

namespace {

/// What errors are allowed beside those of the kernel alone, which may be tried in several orders of keys: the largest
/// error is one outlier's, and another order of the same sums picks another; so it is held against the largest of all.
/// At least a few roundoffs of sums more: any order of summing terms may lose 8 of the largest in one place, and 4 of
/// the results on the whole. Rounding results is the same for both, but for the largest that is `rounded_anew`.
errors allowed_beside(const experiment& e, const errors& alone, double worst, double largest_term, double results,
                      double rounded_anew) {
  double const once = roundoff(e.sum_type());
  return {std::max({1.5 * worst, worst + 8 * once * largest_term, worst + rounded_anew}),
          std::max(1.5 * alone.rms, alone.rms + 4 * once * results)};
}

/// Where weights and gradients of scores are rounded too, another order of keys may bring a result to its other
/// neighbour.
double rounded_anew(const experiment& e, double largest_result) {
  return e.type == dtype_of<ringfold::bf16> ? roundoff(e.type) * largest_result : 0;
}

double largest(const tensor& t) {
  double made = 0;
  with_element(t.type, [&]<class T>(T) {
    ringfold::host_stream{}.elementwise(
        [&](const T& each) { made = std::max(made, std::fabs(static_cast<double>(each))); }, t.as<T>());
  });
  return made;
}

target target_of(exact_rows rows, const std::vector<exact_rows>& alone, const experiment& e) {
  target made{std::move(rows), {}, {}, {}};
  made.alone = difference(alone.front(), made.rows);
  for (const exact_rows& each : alone) {
    made.worst.max_abs = std::max(made.worst.max_abs, difference(each, made.rows).max_abs);
  }
  double const keep = 1 / (1 - e.dropout);
  errors const size = size_of(made.rows.o);
  made.allowed =
      allowed_beside(e, made.alone, made.worst.max_abs, keep * largest(e.v), size.rms, rounded_anew(e, size.max_abs));
  return made;
}

using numbers = std::vector<double> exact_gradients::*;
constexpr numbers kinds[] = {&exact_gradients::q, &exact_gradients::k, &exact_gradients::v, &exact_gradients::sinks};
constexpr const char* names[] = {"dq", "dk", "dv", "dsinks"};

slope_target slope_target_of(exact_gradients exact, const std::vector<exact_gradients>& alone, const experiment& e) {
  slope_target made{std::move(exact), {}, {}};
  for (std::size_t kind = 0; kind < 4; ++kind) {
    auto const& wanted = made.exact.*kinds[kind];
    made.alone[kind] = difference(alone.front().*kinds[kind], wanted);
    double worst = 0;
    for (const exact_gradients& each : alone) worst = std::max(worst, difference(each.*kinds[kind], wanted).max_abs);
    bool const of_heads = kinds[kind] == &exact_gradients::sinks;
    errors const size = size_of(of_heads ? made.exact.sink_terms : wanted);
    // A number for each head is too few to be held against as few. Weights and outputs of 16 bits are rounded anew by
    // every order of keys, in each row by a roundoff of its terms at most, and rows independently of each other. That
    // moves gradients of scores, and few of them from one number of 16 bits to another.
    double const once = roundoff(e.type) / std::sqrt(static_cast<double>(e.shape.batch * e.tokens.tokens()));
    double const anew = of_heads ? once * size.max_abs : rounded_anew(e, size.max_abs);
    errors& allowed = made.allowed[kind];
    allowed = allowed_beside(e, made.alone[kind], worst, size.max_abs, size.rms, anew);
    if (of_heads) allowed.rms = std::max(allowed.rms, made.alone[kind].rms + once * size.rms);
  }
  return made;
}

/// Orders of keys in which the kernel on one rank is tried.
constexpr extent orders = 4;

void hold(std::string& failed, const char* what, double error, double allowed) {
  if (!(std::isfinite(error) && error <= allowed))
    failed += fmt::format("{}{} {:.2e}, allowed {:.2e}", failed.empty() ? "" : ", ", what, error, allowed);
}

/// Counted traffic against what was worked out.
result::traffic compare(const calls& did, const experiment& e, expectation* expected, const char* pass,
                        std::string& failed) {
  result::traffic made;
  auto const traffic = traffic_of(e);
  for (int rank = 0; rank < e.ranks(); ++rank) {
    auto const wanted = expected(traffic, rank);
    extent const bytes = did.bytes[static_cast<std::size_t>(rank)], steps = did.steps[static_cast<std::size_t>(rank)];
    made.bytes = std::max(made.bytes, bytes);
    made.steps = std::max(made.steps, steps);
    made.bytes_expected = std::max(made.bytes_expected, wanted.bytes);
    made.steps_expected = std::max(made.steps_expected, wanted.steps);
    if (bytes != wanted.bytes || steps != wanted.steps) {
      failed += fmt::format("{}{}rank {} sent {} bytes in {} steps, expected {} in {}", failed.empty() ? "" : ", ",
                            pass, rank, bytes, steps, wanted.bytes, wanted.steps);
    }
  }
  return made;
}

}  // namespace

baseline make_baseline(const inputs& in, progress& show) {
  const experiment& e = in.e;
  baseline made{measure_kernel(e, show), {}, {}, {}, {}, {}, {}};
  auto const positions = tokens_to_check(e);
  exact_gradients slopes;
  if (e.backward) slopes = exact_slopes(e, show);
  std::vector<exact_rows> alone;
  std::vector<exact_gradients> alone_slopes;
  auto const take = [&](measurement& of) {
    alone.push_back(rows_of(of.out, positions));
    if (e.backward) alone_slopes.push_back(slopes_of(e, of.slopes, slopes.key_heads));
    if (e.chunk > 0 && made.out.bytes.empty()) made.out = std::move(of.out), made.whole_slopes = std::move(of.slopes);
    of.out = {}, of.slopes = {};
  };
  take(made.alone);
  for (extent part = 1; part < orders && e.chunk == 0; ++part) {
    show.tell("one rank alone, orders of keys", part, orders);
    measurement other = kernel_results(e, e.keys.tokens() * part / orders);
    take(other);
  }
  made.definition = target_of(exact(e, positions, show), alone, e);
  // An output is rounded once, and in bf16 its weights are too. Its gradients carry both on; they are rounded once
  // themselves, and so are, in bf16, the gradients of scores that they are sums of.
  int roundings = 2;
  auto const sane = [&](const char* what, const auto& got, const auto& wanted, const auto& terms) {
    double const most = of_roundoffs(e, got, wanted, terms, made.definition.rows.largest_score, roundings);
    if (most <= 1) return;
    made.wrong += fmt::format("{}the kernel alone is off fp64 by {:.3g} times what rounding explains ({})",
                              made.wrong.empty() ? "" : "; ", most, what);
  };
  sane("outputs", alone.front().o, made.definition.rows.o, made.definition.rows.terms);
  if (e.backward) {
    auto const& one = alone_slopes.front();
    if (e.type == dtype_of<ringfold::bf16>) roundings = 4;
    sane("dq", one.q, slopes.q, slopes.q_terms), sane("dk", one.k, slopes.k, slopes.k_terms);
    sane("dv", one.v, slopes.v, slopes.v_terms), sane("dsinks", one.sinks, slopes.sinks, slopes.sink_terms);
    made.slopes = slope_target_of(std::move(slopes), alone_slopes, e);
  }
  if (in.o) {
    exact_rows const given = rows_of(*in.o, positions);
    made.given = target_of(given, alone, e);
    // The given output is a yardstick only if it is this attention of the input as it was given.
    errors const apart = difference(given, in.as_given ? exact(*in.as_given, positions, show) : made.definition.rows);
    hold(made.wrong, "the given output is off fp64 by", apart.max_abs,
         64 * roundoff(in.o->type) * size_of(given.o).max_abs);
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
  if (base.slopes) {
    auto const got = slopes_of(e, did.slopes, base.slopes->exact.key_heads);
    for (std::size_t kind = 0; kind < 4; ++kind) {
      errors const apart = difference(got.*kinds[kind], base.slopes->exact.*kinds[kind]);
      errors const& allowed = base.slopes->allowed[kind];
      hold(made.failed, fmt::format("max error of {}", names[kind]).c_str(), apart.max_abs, allowed.max_abs);
      hold(made.failed, fmt::format("rms error of {}", names[kind]).c_str(), apart.rms, allowed.rms);
      if (apart.max_abs < made.gradient_error) continue;
      made.gradient_error = apart.max_abs, made.gradient_error_allowed = allowed.max_abs;
    }
    made.backward = compare(did.backward, e, which.expected_backward, "backward ", made.failed);
    made.backward_seconds = median(did.backward.seconds);
  }
  made.forward = compare(did.forward, e, which.expected, "", made.failed);
  if (e.chunk > 0) {
    auto const &got = did.slopes, &one = base.whole_slopes;
    bool const same = did.out.bytes == base.out.bytes && got.q.bytes == one.q.bytes && got.k.bytes == one.k.bytes &&
                      got.v.bytes == one.v.bytes;
    if (!same) made.failed += fmt::format("{}bits differ from those of one rank", made.failed.empty() ? "" : ", ");
  }
  if (!did.repeatable) made.failed += fmt::format("{}bits differ from run to run", made.failed.empty() ? "" : ", ");
  made.seconds_median = median(did.forward.seconds);
  did.out = {}, did.slopes = {};
  made.did = std::move(did);
  return made;
}

}  // namespace compare_schedules
