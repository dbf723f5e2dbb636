// sanitize: off
#include <doctest/doctest.h>

#ifndef RINGFOLD_DISPATCH
TEST_CASE("dispatch is not built here") { MESSAGE("needs the examples"); }
#else

#include <cmath>
#include <utility>
#include <vector>

#include "../../examples/dispatch/engine.hpp"
#include "oracle.hpp"

using namespace ringfold;

namespace {

constexpr extent tokens = 200, head_count = 2, dim = 48, elements = tokens * head_count * dim;

template <class T>
std::vector<T> as(const std::vector<double>& numbers) {
  std::vector<T> made;
  for (double const each : numbers) made.push_back(T(static_cast<float>(each)));
  return made;
}

/// Attends to numbers that T holds, and holds each output against the definition: by the terms that it is a sum of, and
/// by its own size.
template <class T>
std::vector<float> attend(engine& with, double of_terms, double of_output) {
  auto const q = oracle::uniform<T>(elements, 1), k = oracle::uniform<T>(elements, 2),
             v = oracle::uniform<T>(elements, 3);
  auto const wanted = oracle::attention({1, tokens, tokens, head_count, head_count, dim, dim}, q, k, v,
                                        [](extent query, extent key) { return key <= query; });
  auto const whole = [](auto& of) { return dense(of.data(), 1, tokens, head_count, dim); };
  auto const qt = as<T>(q), kt = as<T>(k), vt = as<T>(v);
  std::vector<T> out(static_cast<std::size_t>(elements));
  with.attend(whole(qt), whole(kt), whole(vt), whole(out));

  std::vector<float> got;
  double worst = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    got.push_back(static_cast<float>(out[i]));
    double const allowed = of_terms * wanted.o_terms[i] + of_output * std::fabs(wanted.o[i]);
    worst = std::fmax(worst, std::fabs(static_cast<double>(got[i]) - wanted.o[i]) / allowed);
  }
  CHECK(worst <= 1);
  return got;
}

auto engine_of(instruction_set set) {
  return dispatch(set, []<instruction_set S>() { return make_engine<S>(tokens, head_count, dim); });
}

}  // namespace

TEST_CASE("every instruction set that runs here is as exact as its products are") {
  for (auto const set : instruction_sets) {
    if (!runs_here(set)) continue;
    CAPTURE(name_of(set));
    double const weights = set == instruction_set::avx512_bf16 ? 0x1p-8 : 0;
    auto const with = engine_of(set);
    attend<float>(*with, 1e-6, 0);
    auto const got = attend<bf16>(*with, 1e-6 + weights, 0x1p-8);
    // What is rounded to bf16 twice differs from what is rounded once: another set did run.
    if (weights > 0) CHECK(got != attend<bf16>(*engine_of(instruction_set::avx512), 1e-6, 0x1p-8));
  }
}

TEST_CASE("without being told, the best is taken") {
  auto const best = dispatch([]<instruction_set S>() { return std::pair(S, make_engine<S>(tokens, head_count, dim)); });
  CHECK(best.first == best_instruction_set());
  double const weights = best.first == instruction_set::avx512_bf16 ? 0x1p-8 : 0;
  CHECK(attend<bf16>(*best.second, 1e-6 + weights, 0x1p-8) ==
        attend<bf16>(*engine_of(best.first), 1e-6 + weights, 0x1p-8));
}

TEST_CASE("what an entry throws is caught by its type") {
  for (auto const set : instruction_sets) {
    if (!runs_here(set)) continue;
    CAPTURE(name_of(set));
    auto const with = engine_of(set);
    std::vector<float> numbers(static_cast<std::size_t>(elements));
    auto const all = dense(numbers.data(), 1, tokens, head_count, dim),
               one = dense(numbers.data(), 1, 1, head_count, dim);
    CHECK_THROWS_AS(with->attend(all, all, all, all), alias_error);
    CHECK_THROWS_AS(with->attend(one, all, all, all), shape_error);
  }
}

#endif
