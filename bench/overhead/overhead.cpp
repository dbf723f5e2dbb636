#include <cstdio>
#include <string>
#include <vector>

#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/recurrence/plan.hpp>

#include "by_hand.hpp"

/// \file
/// Calls a parallelism, or the same loop written by hand, so many times; count.py counts the instructions of a call.

using namespace ringfold;

namespace {

constexpr int parts = 8;

/// The tensors of one rank.
struct tensors {
  explicit tensors(const by_hand::sizes& of)
      : q_(static_cast<std::size_t>(of.rows * of.heads * of.dim)), k_(q_), v_(q_), out_(q_), lse_(q_), of_(of) {}
  view<float, 4> queries(std::vector<float>& in) const { return dense(in.data(), 1, of_.rows, of_.heads, of_.dim); }
  view<float, 4> keys(std::vector<float>& in) const { return dense(in.data(), 1, of_.rows, of_.kv_heads, of_.dim); }
  view<float, 3> numbers(std::vector<float>& in) const { return dense(in.data(), 1, of_.rows, of_.heads); }

  std::vector<float> q_, k_, v_, out_, lse_;
  by_hand::sizes of_;
};

template <class F>
void repeat(int calls, F f) {
  for (int i = 0; i < calls; ++i) {
    f();
    instant::happens(&i);
  }
}

template <class Hand, class A>
void attend_by(int calls, bool by_hand, instant::communicator comm, by_hand::sizes of, instant::stream on,
               const A& attend) {
  tensors t(of);
  if (by_hand) {
    Hand hand(comm, of);
    repeat(calls, [&] {
      hand.forward(t.queries(t.q_), t.keys(t.k_), t.keys(t.v_), t.queries(t.out_), t.numbers(t.lse_), on);
    });
  } else {
    plan run(attend, make_problem<float>(contiguous(of.rows * comm.size(), comm.size()),
                                         {.heads = of.heads, .kv_heads = of.kv_heads, .dim = of.dim}, full()));
    repeat(calls, [&] {
      run.forward(t.queries(t.q_), t.keys(t.k_), t.keys(t.v_), t.queries(t.out_), t.numbers(t.lse_), {}, on);
    });
  }
}

void carry_states(int calls, bool by_hand, instant::communicator comm, by_hand::sizes of, instant::stream on) {
  tensors t(of);
  if (by_hand) {
    by_hand::scan<parts> hand(comm, of);
    repeat(calls, [&] { hand.forward(t.queries(t.q_), t.queries(t.k_), t.queries(t.v_), t.queries(t.out_), on); });
  } else {
    recurrence_plan run(
        recurrence(comm, schedule::chain{parts}, instant::rule{}),
        make_recurrence<float>(contiguous(of.rows * comm.size(), comm.size()), {.heads = of.heads, .dim = of.dim}));
    repeat(calls, [&] {
      run.forward({t.queries(t.q_), t.queries(t.k_), t.queries(t.v_), {}}, t.queries(t.out_), {}, on);
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> const given(argv + 1, argv + argc);
  if (given.size() != 5) {
    std::fprintf(stderr, "usage: overhead ring|ulysses|scan library|by_hand nothing|pairing|copying <ranks> <calls>\n");
    return 2;
  }
  bool const by_hand = given[1] == "by_hand";
  int const ranks = std::stoi(given[3]), calls = std::stoi(given[4]);
  instant::communicator const comm(ranks / 2, ranks, given[0] != "scan" && given[2] != "nothing");
  instant::stream const on{.works = given[2] == "copying"};
  by_hand::sizes const of{.rows = 128, .heads = ranks, .kv_heads = ranks, .dim = 64};
  if (given[0] == "ring") attend_by<by_hand::ring>(calls, by_hand, comm, of, on, ring(comm, instant::kernel{}));
  if (given[0] == "ulysses")
    attend_by<by_hand::ulysses>(calls, by_hand, comm, of, on, ulysses(comm, instant::kernel{}));
  if (given[0] == "scan") carry_states(calls, by_hand, comm, of, on);
}
