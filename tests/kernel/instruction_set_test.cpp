#include <ringfold/kernel/cpu/instruction_set.hpp>

#include <fstream>
#include <string>

#include <doctest/doctest.h>

using namespace ringfold;

TEST_CASE("what this test is compiled for runs here, and so does all below the best") {
  CHECK(runs_here(compiled_for));
  CHECK(runs_here(instruction_set::baseline));
  for (auto const each : instruction_sets) CHECK(runs_here(each) == (each <= best_instruction_set()));
}

#if defined(RINGFOLD_INSTRUCTION_SETS) && defined(__linux__)
TEST_CASE("the best is what the operating system says of the CPU") {
  std::string line;
  for (std::ifstream file("/proc/cpuinfo"); std::getline(file, line) && !line.starts_with("flags");) {}
  REQUIRE(line.starts_with("flags"));
  auto const has = [&](const char* flag) { return (line + ' ').find(std::string(" ") + flag + ' ') != line.npos; };
  auto best = instruction_set::baseline;
  if (has("avx2") && has("fma")) {
    best = instruction_set::avx2;
    if (has("avx512f") && has("avx512bw") && has("avx512dq") && has("avx512vl")) {
      best = has("avx512_bf16") ? instruction_set::avx512_bf16 : instruction_set::avx512;
    }
  }
  CHECK(best_instruction_set() == best);
}
#endif

TEST_CASE("dispatch calls with the set that it was given, or the best") {
  auto const told = []<instruction_set S>() { return S; };
  for (auto const each : instruction_sets) {
    if (runs_here(each)) CHECK(dispatch(each, told) == each);
  }
  CHECK(dispatch(told) == best_instruction_set());
}

TEST_CASE("a set that the machine does not run is refused by name") {
  CHECK_NOTHROW(detail::refuse_above(instruction_set::avx512, instruction_set::avx512));
  CHECK_THROWS_WITH_AS(detail::refuse_above(instruction_set::avx2, instruction_set::avx512_bf16),
                       "dispatch: this machine does not run avx512_bf16; allowed: up to avx2", usage_error);
}
