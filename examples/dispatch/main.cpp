// One program for several CPUs: causal attention by the best kernels that this machine runs, or by others:
//   dispatch [baseline | avx2 | avx512 | avx512_bf16]

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <string_view>
#include <vector>

#include <ringfold/attention/plan.hpp>
#include <ringfold/kernel/reference.hpp>

#include "engine.hpp"

using namespace ringfold;

namespace {

constexpr extent tokens = 512, head_count = 4, dim = 64, elements = tokens * head_count * dim;

template <class T>
view<T, 4> whole(std::vector<T>& of) {
  return dense(of.data(), 1, tokens, head_count, dim);
}

/// Attends to random numbers that T holds, prints time and error against the definition in double; whether it is small.
template <class T>
bool check(engine& with, const char* type, double allowed) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> number(-1, 1);
  std::vector<T> q(elements), k = q, v = q, out = q;
  for (auto* each : {&q, &k, &v}) std::generate(each->begin(), each->end(), [&] { return T(number(random)); });

  auto const start = std::chrono::steady_clock::now();
  with.attend(whole(q), whole(k), whole(v), whole(out));
  std::chrono::duration<double, std::milli> const took = std::chrono::steady_clock::now() - start;

  auto const exactly = [](const std::vector<T>& of) {
    std::vector<double> made(of.size());
    std::transform(of.begin(), of.end(), made.begin(), [](T each) { return static_cast<float>(each); });
    return made;
  };
  std::vector<double> qd = exactly(q), kd = exactly(k), vd = exactly(v), exact(elements);
  plan(reference_kernel{}, make_problem<double>(contiguous(tokens, 1), {.heads = head_count, .dim = dim}, causal()))
      .forward(whole(qd), whole(kd), whole(vd), whole(exact));
  double worst = 0;
  for (std::size_t i = 0; i < elements; ++i) worst = std::max(worst, std::fabs(static_cast<float>(out[i]) - exact[i]));
  fmt::print("{}: {:.2f} ms, the largest error is {:.1e}\n", type, took.count(), worst);
  return worst <= allowed;
}

instruction_set named(const char* name) {
  for (auto const each : instruction_sets) {
    if (name == std::string_view(name_of(each))) return each;
  }
  throw usage_error(say("dispatch: no instruction set %s; allowed: baseline, avx2, avx512, avx512_bf16", name));
}

}  // namespace

int main(int count, char** arguments) try {
  auto const set = count > 1 ? named(arguments[1]) : best_instruction_set();
  //! [dispatch]
  auto const attention = dispatch(set, []<instruction_set S>() { return make_engine<S>(tokens, head_count, dim); });
  //! [dispatch]
  fmt::print("attention by {}, of up to {} on this machine\n", name_of(set), name_of(best_instruction_set()));
  // Outputs are means of values up to 1, which floats hold to 6e-8 and bf16 to 2^-9; weights in bf16 move them by 2^-8.
  bool const right = check<float>(*attention, "f32", 1e-6) && check<bf16>(*attention, "bf16", 0x3p-9);
  return right ? 0 : 1;
} catch (const error& wrong) {
  fmt::print(stderr, "{}\n", wrong.what());
  return 2;
}
