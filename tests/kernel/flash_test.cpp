#include <ringfold/kernel/cpu/flash.hpp>

#include <doctest/doctest.h>

#include "kernel_cases.hpp"

using namespace ringfold;

static_assert(attention<flash_kernel, problem<float>, host_stream>);
static_assert(attention<flash_kernel, problem<bf16>, host_stream>);
static_assert(attention<flash_kernel, problem<double>, host_stream>);

TEST_CASE("the blocked kernel agrees with the definition") {
  kernel_cases::check_random<double>(flash_kernel{}, 100, 60);
  kernel_cases::check_random<float>(flash_kernel{}, 200, 60);
  kernel_cases::check_random<bf16>(flash_kernel{}, 300, 30);
  kernel_cases::check_random<f16>(flash_kernel{}, 400, 30);
}

TEST_CASE("exact sums do not depend on the order of blocks") {
  kernel_cases::check_dyadic<double>(flash_kernel{});
  kernel_cases::check_dyadic<float>(flash_kernel{});
  kernel_cases::check_dyadic<bf16>(flash_kernel{});
}

TEST_CASE("far apart scores, numbers that are not finite, bases, refusals") {
  kernel_cases::check_gaps(flash_kernel{});
  kernel_cases::check_not_finite<float>(flash_kernel{});
  kernel_cases::check_not_finite<bf16>(flash_kernel{});
  kernel_cases::check_bases(flash_kernel{});
  kernel_cases::check_refusals(flash_kernel{});
}
