// Causal ring attention on 4 ranks, each a thread, held against the definition in double precision.
//! [quickstart]
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
using namespace ringfold;

void attend(float* q, float* k, float* v, float* out, extent tokens) {  // each [tokens, 8 heads, 64]; 4 divides tokens
  auto const problem = make_problem<float>(contiguous(tokens, 4), {.heads = 8, .dim = 64}, causal());
  run_ranks(4, [&](threads comm) {
    auto const mine = [&](float* all) { return dense(all + comm.rank() * tokens / 4 * 8 * 64, 1, tokens / 4, 8, 64); };
    plan(ring(comm, flash_kernel{}), problem).forward(mine(q), mine(k), mine(v), mine(out));
  });
}
//! [quickstart]

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <vector>

#include <ringfold/comm/self.hpp>
#include <ringfold/kernel/reference.hpp>

namespace {

constexpr extent tokens = 1024, elements = tokens * 8 * 64;

/// The same attention on one rank, one key at a time.
std::vector<double> definition(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v) {
  std::vector<double> const qd(q.begin(), q.end()), kd(k.begin(), k.end()), vd(v.begin(), v.end());
  std::vector<double> out(q.size());
  auto const whole = [](auto* all) { return dense(all, 1, tokens, 8, 64); };
  auto const problem = make_problem<double>(contiguous(tokens, 1), {.heads = 8, .dim = 64}, causal());
  plan(ring(self(), reference_kernel{}), problem)
      .forward(whole(qd.data()), whole(kd.data()), whole(vd.data()), whole(out.data()));
  return out;
}

}  // namespace

int main() {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> number(-1, 1);
  std::vector<float> q(elements), k = q, v = q, out = q;
  for (auto* each : {&q, &k, &v}) std::generate(each->begin(), each->end(), [&] { return number(random); });

  auto const start = std::chrono::steady_clock::now();
  attend(q.data(), k.data(), v.data(), out.data(), tokens);
  std::chrono::duration<double, std::milli> const took = std::chrono::steady_clock::now() - start;

  auto const exact = definition(q, k, v);
  double worst = 0;
  for (std::size_t i = 0; i < out.size(); ++i) worst = std::max(worst, std::fabs(out[i] - exact[i]));
  fmt::print("4 ranks attended to {} tokens in {:.1f} ms; the largest error is {:.1e}\n", tokens, took.count(), worst);
  return worst < 1e-6 ? 0 : 1;  // outputs are means of values up to 1, which floats hold to 6e-8
}
