// sanitize: off
#include <ringfold/kernel/cpu/flash.hpp>

#include <doctest/doctest.h>

#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/dropout.hpp>

#include "kernel_cases.hpp"

using namespace ringfold;

namespace {

/// Half a unit in the last of bf16's 8 digits is at most 2^-8 / (1 + 2^-8) of a weight; what that leaves of 2^-8 is 15
/// times what float makes of the rest.
constexpr kernel_cases::bounds rounded{1e-6, 4e-7, detail::has_bf16_products ? 0x1p-8 : 0};

}  // namespace

static_assert(attention<flash_kernel, problem<bf16>, host_stream>);
static_assert(attention<widening_flash_kernel, problem<bf16>, host_stream>);

TEST_CASE("the blocked kernel on bf16 agrees with the definition") {
  kernel_cases::check_random<bf16>(flash_kernel{}, 300, 60, rounded);
  layout const one = uneven(1, {1, 0}), keys = contiguous(700, 2);
  auto const few_queries = make_problem<bf16>(one, keys, shape{2, 24, 2, 33, 65}, window(0, 450));
  kernel_cases::check(flash_kernel{}, few_queries, 4, {}, rounded);
  kernel_cases::check(widening_flash_kernel{}, few_queries, 4, {});
}

TEST_CASE("exact sums of bf16 do not depend on the order of blocks") {
  kernel_cases::check_dyadic<bf16>(flash_kernel{});
}

TEST_CASE("rounding weights costs bf16's own digits, and the log-sum-exp none") {
  auto const p = make_problem<bf16>(contiguous(600, 1), shape{.dim = 64}, full());
  auto const in = kernel_cases::draw<bf16>(p, 9);
  auto const wanted = kernel_cases::expected(p, in);
  auto const got = sharded::run(flash_kernel{}, p, in.q, in.k, in.v),
             wide = sharded::run(widening_flash_kernel{}, p, in.q, in.k, in.v);
  // None is more than 2^-8, and from a power of two to the next they are spread evenly.
  double const allowed = detail::has_bf16_products ? 0x1p-8 / std::sqrt(3.0) : 1e-6;
  CHECK(oracle::compare(got.o, wanted.o).relative <= allowed);
  CHECK(oracle::compare(wide.o, wanted.o).relative <= 1e-6);
  CHECK(oracle::compare(got.lse, wanted.lse).relative <= 1.5 * oracle::compare(wide.lse, wanted.lse).relative);
}

TEST_CASE("memory order changes no bit of bf16") {
  auto const p = make_problem<bf16>(zigzag(150, 2), shape{2, 4, 2, 33, 17}, full());
  auto const in = kernel_cases::draw<bf16>(p, 31);
  auto const first = sharded::run(flash_kernel{}, p, in.q, in.k, in.v);
  for (auto const order : sharded::memory_orders)
    CHECK(first == sharded::run(flash_kernel{}, p, in.q, in.k, in.v, {0, 1, order}));
}

TEST_CASE("keys of bf16 that a mask hides may hold anything, also those that share a step with one that is seen") {
  kernel_cases::check_not_finite<bf16>(flash_kernel{});
  extent const n = 140, dim = 5;
  documents const packed{33, 68, 39};  // tiles within the second see all of it, and it begins and ends within a step
  auto const p = make_problem<bf16>(contiguous(n, 1), shape{.dim = dim}, packed & full());
  auto in = kernel_cases::draw<bf16>(p, 12);
  auto const clean = sharded::run(flash_kernel{}, p, in.q, in.k, in.v);
  for (extent const bad : {32, 101}) {
    for (extent d = 0; d < dim; ++d) {
      in.k[static_cast<std::size_t>(bad * dim + d)] = in.v[static_cast<std::size_t>(bad * dim + d)] = NAN;
    }
  }
  auto const got = sharded::run(flash_kernel{}, p, in.q, in.k, in.v);
  int wrong = 0;
  for (extent i = 33 * dim; i < 101 * dim; ++i) {
    wrong += got.o[static_cast<std::size_t>(i)] != clean.o[static_cast<std::size_t>(i)];
  }
  CHECK(wrong == 0);
  CHECK(std::isnan(got.o[0]));
}

TEST_CASE("an infinite value of bf16 stays infinite, though its step lacks a second key") {
  auto const p = make_problem<bf16>(contiguous(99, 1), shape{.dim = 4}, full());
  auto in = kernel_cases::draw<bf16>(p, 14);
  in.v[98 * 4 + 1] = INFINITY;
  auto const got = sharded::run(flash_kernel{}, p, in.q, in.k, in.v);
  CHECK(got.o[1] == INFINITY);
  CHECK(std::isfinite(got.o[2]));
}

TEST_CASE("scores that are changed and weights that are dropped, of any scale") {
  auto const hold = [](auto score) {
    double const bound = 1.7, dropped = 0.25;
    auto const p = make_problem<bf16>(striped(131, 2, 5), shape{.heads = 4, .kv_heads = 2, .dim = 7}, causal(), score);
    auto const in = kernel_cases::draw<bf16>(p, 13, bound);
    auto const got = sharded::run(flash_kernel{}, p, in.q, in.k, in.v),
               wide = sharded::run(widening_flash_kernel{}, p, in.q, in.k, in.v);
    double worst = 0, worst_lse = 0;
    for (std::size_t i = 0; i < got.o.size(); ++i) {
      worst = std::fmax(worst, std::fabs(static_cast<double>(got.o[i]) - static_cast<double>(wide.o[i])));
    }
    for (std::size_t i = 0; i < got.lse.size(); ++i) {
      worst_lse = std::fmax(worst_lse, std::fabs(static_cast<double>(got.lse[i]) - static_cast<double>(wide.lse[i])));
    }
    CHECK(worst <= 0x1p-8 * bound / (1 - dropped));  // a mean of values, and of what dropout makes of them
    CHECK(worst_lse <= 4e-6);
  };
  hold(scaled{-3});
  hold(softcap(2) | dropout(0.25, 7));
}
