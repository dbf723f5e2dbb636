#include <ringfold/kernel/reference.hpp>

#include <doctest/doctest.h>

#include "kernel_cases.hpp"
#include "provenance.hpp"
#include "sharded.hpp"

using namespace ringfold;

static_assert(attention<reference_kernel, problem<float>, host_stream>);
static_assert(attention<reference_kernel, problem<bf16>, host_stream>);
static_assert(attention<reference_kernel, problem<provenance>, host_stream>);

namespace {

std::vector<layout> layouts(extent tokens) {
  extent const third = tokens / 3;
  return {contiguous(tokens, 1),
          contiguous(tokens, 4),
          zigzag(tokens, 3),
          striped(tokens, 5),
          striped(tokens, 3, 2),
          contiguous(tokens, 9),
          uneven(tokens, {0, third, 0, tokens - third})};
}

template <class Mask>
void check_pairs(const layout& tokens, Mask mask_of, sharded::cut how) {
  extent const n = tokens.tokens(), heads = 6, key_heads = 3;
  std::vector<provenance> q, k, v;
  for (int i = 0; i < n; ++i) {
    for (int h = 0; h < heads; ++h) q.push_back(provenance::of_query(i * 8 + h, 0.25 * (i % 5)));
    for (int h = 0; h < key_heads; ++h) {
      k.push_back(provenance::of_key(i, 3.0 - i % 7));
      v.push_back(provenance::of_key(i, 1.0));
    }
  }
  auto const p = make_problem<provenance>(tokens, shape{1, heads, key_heads, 1}, mask_of);
  auto const got = sharded::run(reference_kernel{}, p, q, k, v, how);
  int wrong = 0;
  for (extent i = 0; i < n; ++i) {
    for (extent h = 0; h < heads; ++h) {
      for (const auto* of : {&got.o, &got.lse}) {
        const provenance& held = (*of)[static_cast<std::size_t>(i * heads + h)];
        bool any = false;
        for (extent j = 0; j < n; ++j) {
          bool const allowed = mask_of.allows(i, j);
          any = any || allowed;
          wrong += held.keys[j] != (allowed ? 1 : 0);
        }
        wrong += held.wrong;
        wrong += held.query != (any ? i * 8 + h : -1);
      }
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("every allowed pair is merged exactly once, whatever the layout, the mask and the order of blocks") {
  for (extent const n : {1, 2, 7, 29}) {
    for (const layout& tokens : layouts(n)) {
      for (std::uint64_t const seed : {0u, 1u, 2u}) {
        for (extent const heads : {0, 1, 2}) {
          if (sanitized && seed != static_cast<std::uint64_t>(heads)) continue;
          CAPTURE(n);
          CAPTURE(tokens.ranks());
          CAPTURE(seed);
          CAPTURE(heads);
          sharded::cut const how{seed, heads, sharded::memory_order::bshd};
          check_pairs(tokens, full(), how);
          check_pairs(tokens, causal(), how);
          check_pairs(tokens, window(3, 2), how);
          check_pairs(tokens, causal() & predicate_mask([](extent q, extent k) { return (q + k) % 3 == 0; }), how);
        }
      }
    }
  }
}

TEST_CASE("the reference kernel agrees with the definition") {
  kernel_cases::check_random<double>(reference_kernel{}, 100, 60);
  kernel_cases::check_random<float>(reference_kernel{}, 200, 60);
  kernel_cases::check_random<bf16>(reference_kernel{}, 300, 30);
  kernel_cases::check_random<f16>(reference_kernel{}, 400, 30);
}

TEST_CASE("exact sums do not depend on the order of blocks") {
  kernel_cases::check_dyadic<double>(reference_kernel{});
  kernel_cases::check_dyadic<float>(reference_kernel{});
  kernel_cases::check_dyadic<bf16>(reference_kernel{});
}

TEST_CASE("far apart scores, numbers that are not finite, bases, refusals") {
  kernel_cases::check_gaps(reference_kernel{});
  kernel_cases::check_infinite_scores(reference_kernel{});
  kernel_cases::check_not_finite<float>(reference_kernel{});
  kernel_cases::check_not_finite<bf16>(reference_kernel{});
  kernel_cases::check_bases(reference_kernel{});
  kernel_cases::check_refusals(reference_kernel{});
}
