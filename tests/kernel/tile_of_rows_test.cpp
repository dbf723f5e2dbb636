// sanitize: off
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/alibi.hpp>
#include <ringfold/sequence/dropout.hpp>
#include <ringfold/sequence/shifted.hpp>

#include <doctest/doctest.h>

#include "erratic.hpp"
#include "kernel_cases.hpp"

using namespace ringfold;

namespace {

/// Where weights are rounded to bf16, outputs are bounded by their terms.
template <class T>
constexpr kernel_cases::bounds allowed =
    std::is_same_v<T, bf16> ? kernel_cases::bounds{1e-6, 4e-7, detail::has_bf16_products ? 0x1p-8 : 0}
                            : kernel_cases::bounds_of<T>;

constexpr shape shapes[] = {{1, 1, 1, 64, 64}, {2, 3, 3, 128, 32}, {1, 8, 4, 32, 64}, {1, 4, 1, 64, 16}};

/// Calls f(problem, seed) for few queries behind many keys; `most` queries of one key head.
template <class T, class F>
void for_few_queries(extent most, F f) {
  std::uint64_t seed = 0;
  for (const shape& s : shapes) {
    for (extent queries = 1; queries * s.heads / s.kv_heads <= most; queries += 1 + queries / 2) {
      for (extent const keys : {1, 5, 96, 391}) {
        CAPTURE(queries);
        CAPTURE(keys);
        CAPTURE(s.dim);
        auto const of_keys = kernel_cases::layout_number(seed, keys);
        f(make_problem<T>(contiguous(queries, of_keys.ranks()), of_keys, s,
                          bottom_right(window(200, 1), queries, keys)),
          seed);
        ++seed;
      }
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("few queries lie in rows, and agree with the definition", T, float, double, bf16) {
  using F = detail::multiplied_t<T, false>;
  int in_rows = 0, in_lanes = 0;
  for_few_queries<T>(12, [&](const auto& p, std::uint64_t seed) {
    ++(detail::lies_in_rows<F>(p) ? in_rows : in_lanes);
    auto const order = sharded::memory_orders[seed % std::size(sharded::memory_orders)];
    kernel_cases::check(flash_kernel{}, p, seed, {seed % 3, static_cast<extent>(seed % 2), order}, allowed<T>);
  });
  CHECK(in_rows > 8);
  CHECK(in_lanes > 0);
}

TEST_CASE_TEMPLATE("who holds which of few queries, and how many workers there are, changes no bit", T, float, bf16) {
  for (const shape& s : shapes) {
    auto const of = [&](extent first) {
      return make_problem<T>(uneven(2, {first, 2 - first}), uneven(700, {700, 0}), s, full());
    };
    auto const in = kernel_cases::draw<T>(of(2), 3);
    auto const once = sharded::run(flash_kernel{}, of(2), in.q, in.k, in.v);
    CHECK(once == sharded::run(flash_kernel{}, of(1), in.q, in.k, in.v, {0, 1}));
    erratic const many{3};
    CHECK(once == sharded::run(flash_kernel{}.on(many), of(2), in.q, in.k, in.v));
  }
}

TEST_CASE_TEMPLATE("keys that few queries do not see may hold anything, and what they see propagates", T, float, bf16) {
  extent const n = 301, dim = 64;
  auto const p = make_problem<T>(contiguous(2, 1), contiguous(n, 1), shape{.dim = dim}, window(290, 100));
  auto in = kernel_cases::draw<T>(p, 12);
  auto const clean = sharded::run(flash_kernel{}, p, in.q, in.k, in.v);
  for (double const bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    // Row 0 sees keys up to 100, row 1 up to 101.
    for (extent d = 0; d < dim; ++d) in.v[static_cast<std::size_t>(101 * dim + d)] = bad;
    for (extent i = 102 * dim; i < n * dim; ++i) {
      in.k[static_cast<std::size_t>(i)] = in.v[static_cast<std::size_t>(i)] = bad;
    }
    auto const got = sharded::run(flash_kernel{}, p, in.q, in.k, in.v);
    CHECK(got.lse == clean.lse);
    for (std::size_t d = 0; d < static_cast<std::size_t>(dim); ++d) {
      CHECK(got.o[d] == clean.o[d]);
      CHECK_FALSE(std::isfinite(got.o[static_cast<std::size_t>(dim) + d]));
    }
  }
}

TEST_CASE("scores that are changed and weights that are dropped, of few queries") {
  for (const shape& s : shapes) {
    auto const p = make_problem<float>(contiguous(2, 2), contiguous(300, 2), s, full(),
                                       softcap(2) | alibi(s.heads) | dropout(0.25, 7));
    auto const in = kernel_cases::draw<float>(p, 5);
    auto const got = sharded::run(flash_kernel{}, p, in.q, in.k, in.v),
               wanted = sharded::run(reference_kernel{}, p, in.q, in.k, in.v);
    std::vector<double> const o(wanted.o.begin(), wanted.o.end()), lse(wanted.lse.begin(), wanted.lse.end());
    CHECK(oracle::compare(got.o, o).relative <= 2e-6);
    CHECK(oracle::compare(got.lse, lse).relative <= 1e-6);
  }
}
