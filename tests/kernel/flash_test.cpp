// sanitize: off
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>

#include <doctest/doctest.h>

#include "erratic.hpp"
#include "kernel_cases.hpp"

using namespace ringfold;

static_assert(attention<flash_kernel, problem<float>, host_stream>);
static_assert(attention<flash_kernel, problem<double>, host_stream>);

TEST_CASE("the blocked kernel agrees with the definition") {
  kernel_cases::check_random<double>(flash_kernel{}, 100, 60);
  kernel_cases::check_random<float>(flash_kernel{}, 200, 60);
  kernel_cases::check_random<f16>(flash_kernel{}, 400, 30);
}

TEST_CASE("exact sums do not depend on the order of blocks") {
  kernel_cases::check_dyadic<double>(flash_kernel{});
  kernel_cases::check_dyadic<float>(flash_kernel{});
}

TEST_CASE("far apart scores, numbers that are not finite, bases, refusals") {
  kernel_cases::check_gaps(flash_kernel{});
  kernel_cases::check_infinite_scores(flash_kernel{});
  kernel_cases::check_not_finite<float>(flash_kernel{});
  kernel_cases::check_bases(flash_kernel{});
  kernel_cases::check_refusals(flash_kernel{});
}

TEST_CASE("many blocks of keys, more tiles than are worked on at once, few queries of many heads") {
  auto const long_layout = [](int which) {
    return kernel_cases::layout_number(static_cast<std::uint64_t>(which), 1201);
  };
  for (int const which : {0, 2, 4}) {
    CAPTURE(which);
    kernel_cases::check(flash_kernel{}, make_problem<float>(long_layout(which), shape{1, 2, 1, 24, 40}, causal()), 1,
                        {});
    kernel_cases::check(flash_kernel{}, make_problem<float>(long_layout(which), shape{1, 2, 2, 8, 8}, window(130, 7)),
                        2, {});
  }
  layout const one = uneven(1, {1, 0}), keys = contiguous(700, 2);
  kernel_cases::check(flash_kernel{}, make_problem<float>(one, keys, shape{2, 40, 1, 64, 64}, full()), 3, {});
}

TEST_CASE("a slice of the heads, in global numbers, gives what the whole gives") {
  auto const p = make_problem<float>(zigzag(50, 2), shape{2, 9, 3, 16, 16}, causal());
  auto const in = kernel_cases::draw<float>(p, 21);
  auto const whole = kernel_cases::expected(p, in);
  // Heads 2..7 lie in groups 0, 1 and 2, which they cut at both ends.
  auto part = p;
  part.head = {2, 6, 0, 3, 3};
  std::vector<double> q, o;
  for (std::size_t token = 0; token < 100; ++token) {
    for (std::size_t i = 2 * 16; i < 8 * 16; ++i)
      q.push_back(in.q[token * 9 * 16 + i]), o.push_back(whole.o[token * 9 * 16 + i]);
  }
  for (extent const heads_per_block : {0, 1, 2}) {
    sharded::cut const how{1, heads_per_block, sharded::memory_order::packed};
    CHECK(oracle::compare(sharded::run(flash_kernel{}, part, q, in.k, in.v, how).o, o).relative < 1e-6);
    CHECK(oracle::compare(sharded::run(reference_kernel{}, part, q, in.k, in.v, how).o, o).relative < 1e-6);
  }
}

TEST_CASE("the blocked kernel is about as accurate as the reference kernel, and repeatable to the bit") {
  auto const p = make_problem<float>(contiguous(500, 2), shape{1, 2, 1, 64, 64}, causal());
  auto const in = kernel_cases::draw<float>(p, 9, 3);
  auto const wanted = kernel_cases::expected(p, in);
  auto const flash = sharded::run(flash_kernel{}, p, in.q, in.k, in.v);
  auto const reference = sharded::run(reference_kernel{}, p, in.q, in.k, in.v);
  CHECK(oracle::compare(flash.o, wanted.o).relative <= 1.5 * oracle::compare(reference.o, wanted.o).relative);
  CHECK(flash == sharded::run(flash_kernel{}, p, in.q, in.k, in.v));
}

TEST_CASE("memory order changes no bit") {
  auto const p = make_problem<float>(zigzag(150, 2), shape{2, 4, 2, 33, 17}, causal());
  auto const in = kernel_cases::draw<float>(p, 31);
  auto const first = sharded::run(flash_kernel{}, p, in.q, in.k, in.v);
  for (auto const order : sharded::memory_orders)
    CHECK(first == sharded::run(flash_kernel{}, p, in.q, in.k, in.v, {0, 1, order}));
}

TEST_CASE_TEMPLATE("the number of workers changes no bit", T, float, bf16) {
  constexpr shape shapes[] = {{1, 1, 1, 16, 8}, {2, 6, 3, 5, 7}, {1, 40, 1, 8, 8}};
  for (int which = 0; which < 21; ++which) {
    CAPTURE(which);
    auto const tokens = kernel_cases::layout_number(static_cast<std::uint64_t>(which), which % 3 == 0 ? 1201 : 130);
    auto const p = make_problem<T>(tokens, shapes[which % 3], which % 2 == 0 ? causal() : window(90, 7));
    auto const in = kernel_cases::draw<T>(p, 5);
    sharded::cut const how{1, which % 3, sharded::memory_order::packed};
    erratic const many{2 + which % 6};
    CHECK(sharded::run(flash_kernel{}, p, in.q, in.k, in.v, how) ==
          sharded::run(flash_kernel{}.on(many), p, in.q, in.k, in.v, how));
  }
}

TEST_CASE("an executor of no workers runs in place, and one that grows gets no more pieces than there is scratch for") {
  auto const p = make_problem<float>(contiguous(700, 1), {.heads = 2, .dim = 16}, causal());
  auto const in = kernel_cases::draw<float>(p, 6);
  auto const alone = sharded::run(flash_kernel{}, p, in.q, in.k, in.v);
  for (int const workers : {0, -1}) {
    erratic const none{workers};
    CHECK(sharded::run(flash_kernel{}.on(none), p, in.q, in.k, in.v) == alone);
  }
  fickle const grows;  // asked by the state that measures and the one that runs
  CHECK(sharded::run(flash_kernel{}.on(grows), p, in.q, in.k, in.v) == alone);
  CHECK(grows.most == 2);
}
