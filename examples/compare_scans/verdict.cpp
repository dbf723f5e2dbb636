#include "verdict.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include <ringfold/recurrence/slots.hpp>

namespace compare_scans {

namespace {

double apart(const std::vector<double>& made, const std::vector<double>& wanted) {
  double most = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    double const difference = std::fabs(made[i] - wanted[i]);
    most = std::isfinite(difference) ? std::max(most, difference) : std::numeric_limits<double>::infinity();
  }
  return most;
}

double largest(const std::vector<double>& of) {
  double most = 0;
  for (double const each : of) most = std::max(most, std::fabs(each));
  return most;
}

/// A schedule adds numbers up in another order than one rank does: some roundoffs of the largest results.
double bound(double alone, const std::vector<double>& wanted) { return 1.5 * alone + 16 * 0x1p-24 * largest(wanted); }

}  // namespace

double errors::gradient() const { return *std::max_element(in.begin(), in.end()); }

errors distance(const rules::values<double>& made, const rules::values<double>& wanted) {
  errors off{apart(made.out, wanted.out)};
  for (std::size_t i = 0; i < wanted.in.size(); ++i) off.in.push_back(apart(made.in[i], wanted.in[i]));
  return off;
}

result judge(const shape& s, const rule& of, const prepared& numbers, const any_schedule& by, outcome did,
             const errors& alone, const outcome& chain) {
  auto const& right = numbers.wanted();
  int const ranks = s.tokens.ranks();
  auto const slots = ringfold::scanned_slots(ringfold::slots_in_order(s.tokens), ringfold::documents{s.seq});
  auto const sizes = numbers.sizes();
  result r{&of,
           by,
           std::move(did),
           {},
           {},
           expect(by, slots, ranks, sizes),
           expect(by, slots.reversed(), ranks, sizes),
           s.packed.count() > 1,
           false,
           {}};
  r.off = distance(r.did.made, right);
  r.allowed.out = bound(alone.out, right.out);
  for (std::size_t i = 0; i < right.in.size(); ++i) r.allowed.in.push_back(bound(alone.in[i], right.in[i]));
  r.order_kept = r.did.made.out == chain.made.out && r.did.made.in == chain.made.in;
  auto const hold = [&](bool holds, const std::string& what) {
    if (!holds && r.wrong.empty()) r.wrong = what;
  };
  auto const near = [&](double off, double allowed, const char* name) {
    hold(off <= allowed, fmt::format("{} is {:.3g} from the definition, allowed {:.3g}", name, off, allowed));
  };
  near(r.off.out, r.allowed.out, "the output");
  auto const names = numbers.names();
  for (std::size_t i = 0; s.backward && i < right.in.size(); ++i) near(r.off.in[i], r.allowed.in[i], names[i]);
  if (by.keeps_order()) hold(r.order_kept, "other bits than a chain");
  auto const counted = [&](const pass& got, const expected& by_schedule) {
    auto const fits = [&](auto made, auto wanted) { return r.at_most ? made <= wanted : made == wanted; };
    hold(fits(got.rounds, by_schedule.rounds), fmt::format("{} rounds, expected {}", got.rounds, by_schedule.rounds));
    for (std::size_t rank = 0; rank < got.bytes.size(); ++rank) {
      hold(fits(got.bytes[rank], by_schedule.bytes[rank]),
           fmt::format("rank {} sent {} bytes, expected {}", rank, got.bytes[rank], by_schedule.bytes[rank]));
    }
  };
  counted(r.did.forward, r.forward);
  if (s.backward) counted(r.did.backward, r.backward);
  return r;
}

}  // namespace compare_scans
