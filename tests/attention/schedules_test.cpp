// sanitize: off
#include <doctest/doctest.h>

#include <ringfold/kernel/reference.hpp>

#include "support/combinations.hpp"

using namespace ringfold;
using namespace combinations;

namespace {

template <class T>
void check(const combination& c, std::uint64_t seed) {
  auto const which = schedule_of(c);
  int const size = size_of(c);
  auto const e = make_experiment<T>(c, seed);
  if (refused(c)) {
    CHECK_THROWS_WITH_AS(schedules::run(e, which, reference_kernel{}), doctest::Contains("query heads; use at most"),
                         usage_error);
    return;
  }
  auto const exact = e.exact();
  auto const got = schedules::run(e, which, reference_kernel{}, 2);

  // No worse than 1.5 times the same kernel on one rank, or than rounding the exact answer.
  schedules::experiment<T> alone = e;
  alone.tokens = contiguous(e.tokens.tokens(), 1);
  auto const single = schedules::run(alone, schedules::name::ring, reference_kernel{});
  double const floor = 4 * roundoff<T>;
  auto const error = oracle::compare(got.o, exact.o), single_error = oracle::compare(single.o, exact.o);
  CHECK(error.relative <= 1.5 * std::max(single_error.relative, floor));
  auto const lse_error = oracle::compare(got.lse, exact.lse);
  CHECK(lse_error.largest <= 1e-5);

  // Run to run the same bits; on one rank the kernel's own bits and nothing sent.
  auto const again = schedules::run(e, which, reference_kernel{});
  CHECK(bitwise(got.o, again.o));
  CHECK(bitwise(got.lse, again.lse));
  if (size == 1) {
    auto const local = sharded::run(reference_kernel{}, e.problem(), e.q, e.k, e.v, {.order = e.order});
    std::vector<T> rounded;
    for (auto const each : local.o) rounded.push_back(static_cast<T>(each));
    CHECK(bitwise(got.o, rounded));
    CHECK(bitwise(got.lse, local.lse));
    CHECK(got.books[0].steps == 0);
    CHECK(got.books[0].messages == 0);
  }

  for (int rank = 0; rank < size; ++rank) {
    auto const& book = got.books[static_cast<std::size_t>(rank)];
    CHECK(book.in_flight == 0);
    examples::sent sent;
    if (!schedules::expected(e, which, rank, sent)) continue;
    CAPTURE(rank);
    CHECK(book.total_bytes() == sent.bytes);
    CHECK(book.steps == sent.steps);
  }
}

void check(const combination& c, std::uint64_t seed) {
  std::string const text = text_of(c, seed);
  CAPTURE(text);
  with_element(c, [&]<class T>(T) { check<T>(c, seed); });
}

}  // namespace

TEST_CASE("every pair of rank count, schedule, layout, mask, dtype, head ratio, length, batch and memory order") {
  std::mt19937_64 random(20);
  std::uint64_t seed = 100;
  for (const combination& c : all_pairs(random)) check(c, seed++);
}

TEST_CASE("random combinations") {
  int const count = 600;
  std::mt19937_64 random(7);
  for (int i = 0; i < count; ++i) {
    auto const c = random_combination(random);
    check(c, random() % 100000);
  }
}
