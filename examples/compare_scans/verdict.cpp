#include "verdict.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace compare_scans {

namespace {

double apart(const std::vector<float>& made, const std::vector<double>& wanted) {
  double most = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    double const difference = std::fabs(static_cast<double>(made[i]) - wanted[i]);
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

double errors::gradient() const { return std::max({q, k, v, gates}); }

errors distance(const tensors& made, const exact_tensors& wanted) {
  return {apart(made.out, wanted.out), apart(made.q, wanted.q), apart(made.k, wanted.k), apart(made.v, wanted.v),
          apart(made.gates, wanted.gates)};
}

result judge(const experiment& e, const rule& of, const any_schedule& by, int ranks, outcome did,
             const exact_tensors& wanted, const errors& alone, const outcome& chain) {
  result r{&of,   by, std::move(did), {}, {}, by.rounds(ranks), by.most_bytes(ranks, e.sizes()), e.packed.count() > 1,
           false, {}};
  r.off = distance(r.did.made, wanted);
  r.allowed = {bound(alone.out, wanted.out), bound(alone.q, wanted.q), bound(alone.k, wanted.k),
               bound(alone.v, wanted.v), bound(alone.gates, wanted.gates)};
  tensors const &mine = r.did.made, &its = chain.made;
  r.order_kept =
      mine.out == its.out && mine.q == its.q && mine.k == its.k && mine.v == its.v && mine.gates == its.gates;
  auto const expect = [&](bool holds, const std::string& what) {
    if (!holds && r.wrong.empty()) r.wrong = what;
  };
  auto const near = [&](double errors::*member, const char* name) {
    expect(r.off.*member <= r.allowed.*member,
           fmt::format("{} is {:.3g} from the definition, allowed {:.3g}", name, r.off.*member, r.allowed.*member));
  };
  near(&errors::out, "the output");
  if (e.backward)
    near(&errors::q, "dq"), near(&errors::k, "dk"), near(&errors::v, "dv"), near(&errors::gates, "dgates");
  if (by.keeps_order()) expect(r.order_kept, "other bits than a chain");
  for (const pass* each : {&r.did.forward, &r.did.backward}) {
    if (each == &r.did.backward && !e.backward) continue;
    auto const fits = [&](auto got, auto expected) { return r.at_most ? got <= expected : got == expected; };
    expect(fits(each->rounds, r.rounds_expected),
           fmt::format("{} rounds, expected {}", each->rounds, r.rounds_expected));
    expect(fits(each->bytes, r.bytes_expected), fmt::format("{} bytes, expected {}", each->bytes, r.bytes_expected));
  }
  return r;
}

}  // namespace compare_scans
