#include <array>
#include <barrier>
#include <chrono>
#include <cstring>
#include <vector>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/recurrence/backward_plan.hpp>
#include <ringfold/recurrence/decay.hpp>
#include <ringfold/recurrence/plan.hpp>
#include <ringfold/recurrence/recurrence.hpp>

#include "ringfold.hpp"
#include "support/peak.hpp"

using namespace ringfold;

namespace peers {
namespace {

/// The call that a user makes: plans of a kernel alone.
template <class T>
class own_attention : public subject {
  using P = decltype(make_problem<T>(contiguous(1, 1), shape{}, causal()));

 public:
  explicit own_attention(const attention_case& of)
      : problem_(make_problem<T>(contiguous(of.tokens, 1), {.dim = of.dim}, of.is_causal ? causal() : full())) {}

  void forward(void* const* at) override {
    forward_.forward(rows(at[attention::q]), rows(at[attention::k]), rows(at[attention::v]), rows(at[attention::out]),
                     per_row(at[attention::lse]));
  }
  void backward(void* const* at) override {
    backward_.backward(rows(at[attention::q]), rows(at[attention::k]), rows(at[attention::v]), rows(at[attention::out]),
                       per_row(at[attention::lse]), rows(at[attention::dout]), rows(at[attention::dq]),
                       rows(at[attention::dk]), rows(at[attention::dv]));
  }

 private:
  view<T, 4> rows(void* tensor) const {
    return dense(static_cast<T*>(tensor), 1, problem_.queries.tokens(), 1, problem_.dim);
  }
  view<float, 3> per_row(void* tensor) const {
    return dense(static_cast<float*>(tensor), 1, problem_.queries.tokens(), 1);
  }

  P problem_;
  plan<flash_kernel, P> forward_{flash_kernel{}, problem_};
  backward_plan<flash_kernel, P> backward_{flash_kernel{}, problem_};
};

/// Likewise: plans of a rule on one rank.
template <gating Gates>
class own_linear : public subject {
  using R = decltype(recurrence(self(), schedule::chain{}, decay<Gates>{}));
  using P = decltype(make_recurrence<float>(contiguous(1, 1), shape{}));
  using rule = typename R::rule_type;

 public:
  explicit own_linear(const linear_case& of)
      : problem_(make_recurrence<float>(contiguous(of.tokens, 1), {.dim = of.dim})),
        over_(recurrence(self(), schedule::chain{}, decay<Gates>{of.chunk})),
        entered_(static_cast<std::size_t>(of.dim * of.dim)) {}

  void forward(void* const* at) override { forward_.forward(inputs(at), rows(at[linear::out]), {.entered = state()}); }
  void backward(void* const* at) override {
    backward_.backward(inputs(at), state(), rows(at[linear::dout]),
                       {rows(at[linear::dq]), rows(at[linear::dk]), rows(at[linear::dv]), gates(at[linear::dgates])});
  }

 private:
  view<float, 4> rows(void* tensor) const {
    return dense(static_cast<float*>(tensor), 1, problem_.tokens.tokens(), 1, problem_.dim);
  }
  view<float, gate_axes<Gates>> gates(void* tensor) const {
    if constexpr (Gates == gating::none) return {};
    if constexpr (Gates != gating::none) return dense(static_cast<float*>(tensor), 1, problem_.tokens.tokens(), 1);
  }
  typename rule::template inputs<float> inputs(void* const* at) const {
    return {rows(at[linear::q]), rows(at[linear::k]), rows(at[linear::v]), gates(at[linear::gates])};
  }
  view<float, 4> state() { return dense(entered_.data(), 1, 1, problem_.dim, problem_.dim); }

  P problem_;
  R over_;
  std::vector<float> entered_;
  recurrence_plan<R, P> forward_{over_, problem_};
  recurrence_backward_plan<R, P> backward_{over_, problem_};
};

}  // namespace

std::unique_ptr<subject> make_own_attention(const attention_case& of, bool is_bf16) {
  if (is_bf16) return std::make_unique<own_attention<bf16>>(of);
  return std::make_unique<own_attention<float>>(of);
}

std::unique_ptr<subject> make_own_linear(const linear_case& of, bool has_gates) {
  if (has_gates) return std::make_unique<own_linear<gating::per_token>>(of);
  return std::make_unique<own_linear<gating::none>>(of);
}

double fma_peak() { return peak::fma_rate<float>(); }

void ring_of_two(const attention_case& of, const std::array<float*, 4>& whole, int calls, double* seconds) {
  constexpr int ranks = 2;
  auto const problem = make_problem<float>(zigzag(of.tokens, ranks), {.dim = of.dim}, of.is_causal ? causal() : full());
  std::barrier together(ranks);
  std::array<std::chrono::steady_clock::time_point, ranks> starts, ends;
  run_ranks(ranks, [&](threads comm) {
    // A rank's rows are two pieces of the sequence.
    extent const piece = of.tokens / (2 * ranks) * of.dim;
    std::array<extent, 2> const first = {comm.rank() * piece, (2 * ranks - 1 - comm.rank()) * piece};
    std::array<std::vector<float>, 4> shards;
    for (std::size_t i = 0; i < shards.size(); ++i) {
      for (extent const from : first) shards[i].insert(shards[i].end(), whole[i] + from, whole[i] + from + piece);
    }
    auto const rows = [&](std::size_t i) { return dense(shards[i].data(), 1, of.tokens / ranks, 1, of.dim); };
    plan run(ring(comm, flash_kernel{}), problem);
    auto const call = [&] { run.forward(rows(0), rows(1), rows(2), rows(3)); };
    auto const rank = static_cast<std::size_t>(comm.rank());
    call();
    for (int i = 0; i < calls; ++i) {
      together.arrive_and_wait();
      starts[rank] = std::chrono::steady_clock::now();
      call();
      ends[rank] = std::chrono::steady_clock::now();
      together.arrive_and_wait();
      if (rank == 0) {
        std::chrono::duration<double> const took = std::max(ends[0], ends[1]) - std::max(starts[0], starts[1]);
        seconds[i] = took.count();
      }
    }
    for (std::size_t i = 0; i < 2; ++i) {
      std::copy_n(shards[3].begin() + static_cast<std::ptrdiff_t>(i) * piece, piece, whole[3] + first[i]);
    }
  });
}

}  // namespace peers
