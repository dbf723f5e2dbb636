// sanitize: off
#include <doctest/doctest.h>

#include <string>

#include "support/golden_recurrence.hpp"
#include "support/recurrences.hpp"

using namespace ringfold;
using namespace recurrences;

namespace {

/// A case of tests/golden/recurrence, which has the file's numbers, to be run on some layout.
experiment golden(const std::string& name, layout tokens, extents size, gating gates, double scale) {
  documents const one{tokens.tokens()};
  experiment e(std::move(tokens), one, size, gates, 1);
  e.scale = scale;
  golden_recurrence file(name);
  auto &x = e.in, &y = e.made;
  file.take(x.q, x.k, x.v, x.gates, x.initial, x.out, x.final);
  e.define();  // for the sizes of terms
  file.take(y.out, y.final, y.q, y.k, y.v, y.gates, y.initial);
  file.end();
  return e;
}

/// PyTorch's own roundings are within what right() allows: they are of the same terms.
template <gating Gates>
void check(const std::string& name, extent tokens, extents size, double scale) {
  for (int const ranks : {1, 2, 3, 5}) {
    for (bool const dealt : {false, true}) {
      CAPTURE(ranks);
      CAPTURE(dealt);
      auto const e = golden(name, dealt ? zigzag(tokens, ranks) : contiguous(tokens, ranks), size, Gates, scale);
      CHECK(right<double>(e, run<double, Gates>(e, schedule::chain{2}).made, {}, true));
      CHECK(right<double>(e, run<double, Gates>(e, schedule::hillis_steele{}).made, {}, true));
    }
  }
}

double of_dim(double dim) { return 1 / std::sqrt(dim); }

}  // namespace

TEST_CASE("the reference of linear attention in float64") {
  check<gating::none>("linear", 14, {2, 2, 5, 3}, of_dim(5));
}
TEST_CASE("the reference of retention in float64, with the paper's decays") {
  check<gating::per_head>("retention", 21, {1, 2, 6, 4}, of_dim(6));
}
TEST_CASE("the references of simple GLA and of Mamba-2 in float64") {
  check<gating::per_token>("simple_gla", 21, {1, 2, 6, 4}, of_dim(6));
  check<gating::per_token>("mamba2", 14, {1, 2, 8, 5}, 1);
}
TEST_CASE("the reference of GLA in float64") { check<gating::per_row>("gla", 21, {1, 2, 6, 4}, of_dim(6)); }
