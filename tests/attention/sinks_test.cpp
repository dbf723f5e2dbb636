#include <ringfold/attention/sinks.hpp>

#include <doctest/doctest.h>

#include <cmath>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/documents.hpp>

#include "support/provenance.hpp"
#include "support/schedules.hpp"

using namespace ringfold;

namespace {

constexpr extent tokens = 11, head_count = 4, width = 3;

// Attention with sinks by its definition: one more term, exp(sink), in every denominator.
struct definition {
  std::vector<double> q, k, v, sinks;
  any_mask mask;

  oracle::result forward() const {
    auto made = oracle::attention({1, tokens, tokens, head_count, head_count, width, width}, q, k, v,
                                  [&](extent i, extent j) { return mask.allows(i, j); });
    for (std::size_t row = 0; row < made.lse.size(); ++row) {
      double const sink = sinks[row % head_count], total = std::log(std::exp(made.lse[row]) + std::exp(sink));
      for (std::size_t d = 0; d < width; ++d) made.o[row * width + d] *= std::exp(made.lse[row] - total);
      made.lse[row] = total;
    }
    return made;
  }
  double value(const std::vector<double>& dout, const std::vector<double>& dlse) const {
    auto const made = forward();
    double sum = 0;
    for (std::size_t i = 0; i < made.o.size(); ++i) sum += made.o[i] * dout[i];
    for (std::size_t i = 0; i < made.lse.size(); ++i) sum += made.lse[i] * dlse[i];
    return sum;
  }
};

double slope(definition& of, std::vector<double>& numbers, std::size_t i, const std::vector<double>& dout,
             const std::vector<double>& dlse) {
  double const kept = numbers[i], step = 1e-5;
  numbers[i] = kept + step;
  double const above = of.value(dout, dlse);
  numbers[i] = kept - step;
  double const below = of.value(dout, dlse);
  numbers[i] = kept;
  return (above - below) / (2 * step);
}

}  // namespace

TEST_CASE("sinks count once, whatever the schedule and the number of ranks, forward and backward") {
  for (int const ranks : {1, 2, 3, 4}) {
    for (auto const which : schedules::names) {
      CAPTURE(ranks);
      CAPTURE(static_cast<int>(which));
      // The last head has none; with this mask the first row of heads sees one key only.
      schedules::experiment<double> e(zigzag(tokens, ranks), {.heads = head_count, .dim = width}, causal(), 1);
      e.sinks = {0.3, -2.0, 4.0, -INFINITY};
      definition exact{e.q, e.k, e.v, e.sinks, e.mask};
      auto const dout = oracle::uniform<double>(tokens * head_count * width, 4);
      auto const dlse = oracle::uniform<double>(tokens * head_count, 5);
      auto const got = schedules::run_backward(e, which, reference_kernel{}, dout, dlse);
      auto const wanted = exact.forward();
      CHECK(oracle::compare(got.forward.o, wanted.o).relative < 1e-14);
      CHECK(oracle::compare(got.forward.lse, wanted.lse).largest < 1e-13);
      for (std::size_t i = 0; i < got.dq.size(); i += 7) {
        CHECK(got.dq[i] == doctest::Approx(slope(exact, exact.q, i, dout, dlse)).epsilon(1e-7));
        CHECK(got.dk[i] == doctest::Approx(slope(exact, exact.k, i, dout, dlse)).epsilon(1e-7));
        CHECK(got.dv[i] == doctest::Approx(slope(exact, exact.v, i, dout, dlse)).epsilon(1e-7));
      }
      for (std::size_t h = 0; h + 1 < head_count; ++h) {
        CHECK(got.dsinks[h] == doctest::Approx(slope(exact, exact.sinks, h, dout, dlse)).epsilon(1e-7));
      }
      CHECK(got.dsinks.back() == 0);
    }
  }
}

TEST_CASE("rows that see nothing but a sink are 0; sinks that do not fit are refused") {
  run_ranks(1, [](threads comm) {
    auto const problem = make_problem<bf16>(contiguous(3, 1), contiguous(2, 1), {.heads = 2, .dim = 2}, window(0));
    std::vector<bf16> q(12, bf16(1.0F)), k(8, bf16(1.0F)), out(12, bf16(9.0F));
    std::vector<float> lse(6), sinks = {0.5F, -INFINITY};
    plan run(ring(comm, reference_kernel{}), problem);
    auto const tensor = [](auto& of, extent rows) { return dense(of.data(), 1, rows, 2, 2); };
    run.forward(tensor(q, 3), tensor(k, 2), tensor(k, 2), tensor(out, 3), dense(lse.data(), 1, 3, 2),
                dense(sinks.data(), 2));
    CHECK(static_cast<float>(out[8]) == 0);
    CHECK(lse[4] == 0.5F);
    CHECK(lse[5] == -INFINITY);
    CHECK_THROWS_WITH_AS(run.forward(tensor(q, 3), tensor(k, 2), tensor(k, 2), tensor(out, 3),
                                     dense(lse.data(), 1, 3, 2), dense(sinks.data(), 1)),
                         "forward: sinks has 1 heads, the problem has 2", shape_error);
    CHECK_THROWS_WITH_AS(run.forward(tensor(q, 3), tensor(k, 2), tensor(k, 2), tensor(out, 3),
                                     dense(lse.data(), 1, 3, 2), dense(static_cast<float*>(nullptr), 2)),
                         "forward: sinks has no memory", usage_error);
    CHECK_THROWS_WITH_AS(run.forward(tensor(q, 3), tensor(k, 2), tensor(k, 2), tensor(out, 3),
                                     dense(static_cast<float*>(nullptr), 1, 3, 2)),
                         "forward: lse has no memory", usage_error);
  });
}

TEST_CASE("without rows sinks have gradients of 0; of numbers that sinks are not made for none are taken") {
  run_ranks(1, [](threads comm) {
    auto const attend = ring(comm, reference_kernel{});
    auto const problem = make_problem<double>(contiguous(4, 1), {.batch = 0, .heads = 2, .dim = 2});
    backward_plan back(attend, problem);
    std::vector<double> sinks(2, 0.5), dsinks(2, 9);
    auto const nothing = dense(static_cast<double*>(nullptr), 0, 4, 2, 2);
    back.backward(nothing, nothing, nothing, nothing, first_of_rows(nothing), nothing, nothing, nothing, nothing, {},
                  dense(sinks.data(), 2), dense(dsinks.data(), 2));
    CHECK(dsinks == std::vector<double>(2));
  });
  counters books[2];
  run_ranks(2, [&](threads wire) {
    plan run(ring(counted(wire, books[wire.rank()]), reference_kernel{}),
             make_problem<provenance>(contiguous(2, 2), {.dim = 1}));
    std::vector<provenance> q(1), out(1), sinks(1);
    auto const tensor = [](auto& of) { return dense(of.data(), 1, 1, 1, 1); };
    CHECK_THROWS_WITH_AS(run.forward(tensor(q), tensor(q), tensor(q), tensor(out), {}, dense(sinks.data(), 1)),
                         "forward: sinks of numbers that are neither float nor double; leave them out", usage_error);
  });
  for (const counters& book : books) CHECK(book.steps == 0);
}

TEST_CASE("sinks of either infinity have gradients: none of -inf, and of +inf what rows give that see nothing else") {
  run_ranks(1, [](threads comm) {
    // The last two queries are padding. All weights of head 1 are its sink's.
    auto const problem = make_problem<double>(contiguous(5, 1), {.heads = 2, .dim = 2}, documents{3} & causal());
    std::vector<double> q(20, 0.5), out(20), dout(20, 2), dq(20, 9), dk(20, 9), dv(20, 9), lse(10), dlse(10, 3),
        sinks = {-INFINITY, INFINITY}, dsinks(2, 9);
    auto const tensor = [](auto& of) { return dense(of.data(), 1, 5, 2, 2); };
    auto const rows = [](auto& of) { return dense(of.data(), 1, 5, 2); };
    auto const heads = [](auto& of) { return dense(of.data(), 2); };
    auto const attend = ring(comm, reference_kernel{});
    plan run(attend, problem);
    backward_plan back(attend, problem);
    run.forward(tensor(q), tensor(q), tensor(q), tensor(out), rows(lse), heads(sinks));
    CHECK(lse[8] == -INFINITY);
    CHECK(lse[9] == INFINITY);
    auto const backward = [&](auto& into) {
      back.backward(tensor(q), tensor(q), tensor(q), tensor(out), rows(lse), tensor(dout), tensor(dq), tensor(dk),
                    tensor(dv), rows(dlse), heads(sinks), heads(into));
    };
    backward(dsinks);
    CHECK(dsinks == std::vector<double>{0, 15});  // of each of 5 rows the gradient of its lse
    for (std::size_t i = 2; i < 20; i += 4) CHECK(dq[i] == 0);

    CHECK_THROWS_WITH_AS(backward(sinks), "backward: dsinks overlaps sinks; outputs need memory of their own",
                         alias_error);
    CHECK_THROWS_WITH_AS(backward(dk), "backward: dsinks overlaps dk; outputs need memory of their own", alias_error);
    CHECK_THROWS_WITH_AS(run.forward(tensor(q), tensor(q), tensor(q), tensor(out), rows(lse), heads(lse)),
                         "forward: lse overlaps sinks; outputs need memory of their own", alias_error);
  });
}
