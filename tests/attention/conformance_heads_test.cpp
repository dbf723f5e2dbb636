// sanitize: off
// Conformance, heads: cases that implementations of sequence parallelism have failed.
#include <doctest/doctest.h>

#include <ringfold/kernel/cpu/flash.hpp>

#include "support/coordinates.hpp"
#include "support/definition.hpp"

using namespace ringfold;

TEST_CASE(
    "13. heads that ranks do not divide, one or few of keys, groups of 3, other dims of values, odd dims and large") {
  shape const shapes[] = {
      {.heads = 5, .dim = 8},                                     // 2 and 3 ranks do not divide 5 heads
      {.heads = 6, .kv_heads = 2, .dim = 4},                      // more ranks than heads of keys, groups of 3
      {.heads = 7, .kv_heads = 1, .dim = 5, .value_dim = 7},      // multi-query
      {.heads = 9, .kv_heads = 3, .dim = 9, .value_dim = 1},      //
      {.heads = 10, .kv_heads = 5, .dim = 1, .value_dim = 40},    //
      {.heads = 4, .kv_heads = 2, .dim = 192, .value_dim = 128},  // multi-head latent attention
      {.heads = 4, .kv_heads = 4, .dim = 17, .value_dim = 33},    //
      {.heads = 4, .kv_heads = 1, .dim = 255, .value_dim = 256},  //
  };
  std::uint64_t seed = 1;
  for (const shape& s : shapes) {
    for (int const ranks : {1, 2, 3, 4, 6}) {
      for (auto const which : schedules::names) {
        if (schedules::refused(which, ranks, s.heads)) continue;
        CAPTURE(s.heads);
        CAPTURE(s.dim);
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(which));
        definition::check(schedules::experiment<float>(zigzag(14, ranks), s, causal(), ++seed), which, flash_kernel{});
      }
    }
  }
}

TEST_CASE("13. more ranks than query heads: refused when the plan is made, with the line that says so, on every rank") {
  for (auto const which : schedules::names) {
    for (int const ranks : {3, 6, 9}) {
      for (extent const heads : {1, 2, 5}) {
        if (!schedules::refused(which, ranks, heads)) continue;
        auto const across = which == schedules::name::ulysses ? ranks : schedules::columns(ranks);
        std::string const line =
            fmt::format("ulysses: {} ranks share {} query heads; use at most {} ranks here", across, heads, heads);
        schedules::experiment<float> const e(contiguous(18, ranks), {.heads = heads, .dim = 4}, causal(), 1);
        std::atomic<int> told{0};
        std::atomic<extent> sent{0};
        run_ranks(ranks, [&](threads comm) {
          counters book;
          auto const refusal = [&](auto make) {
            try {
              make();
            } catch (const usage_error& error) {
              told += line == error.what();
            }
          };
          schedules::with(which, counted(comm, book), flash_kernel{}, [&](auto attend) {
            refusal([&] { plan(attend, e.problem()); });
            refusal([&] { backward_plan(attend, e.problem()); });
          });
          sent += book.messages + book.steps;
        });
        CAPTURE(line);
        CHECK(told == 2 * ranks);
        CHECK(sent == 0);
      }
    }
  }
}

TEST_CASE("14. gradients of key heads that several ranks read are summed once over the ranks, whoever has copies") {
  struct {
    extent heads, kv_heads;
  } const ratios[] = {{8, 1}, {6, 2}, {9, 3}, {12, 4}, {7, 7}};
  for (auto const& [heads, kv_heads] : ratios) {
    for (int const ranks : {2, 3, 4, 6, 7}) {
      for (auto const which : schedules::names) {
        if (schedules::refused(which, ranks, heads)) continue;
        CAPTURE(heads);
        CAPTURE(kv_heads);
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(which));
        schedules::experiment<double> const e(
            zigzag(15, ranks), {.batch = 2, .heads = heads, .kv_heads = kv_heads, .dim = 1, .value_dim = 2}, causal(),
            1);
        coordinates::check(e, which);
      }
    }
  }
}
