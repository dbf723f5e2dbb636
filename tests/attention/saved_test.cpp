#include <ringfold/attention/saved.hpp>

#include <doctest/doctest.h>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/kernel/reference.hpp>

#include "support/definition.hpp"

using namespace ringfold;

namespace {

constexpr extent rows = 6, head_count = 4, dim = 3;

/// A rank's tensors, one of them written by forward() and three by backward().
template <class T>
struct tensors {
  std::vector<T> memory[8];
  std::vector<accumulate_t<T>> lses = std::vector<accumulate_t<T>>(2 * rows * head_count);
  view<T, 4> q = take(0), k = take(1), v = take(2), out = take(3), dout = take(4), dq = take(5), dk = take(6),
             dv = take(7);
  view<accumulate_t<T>, 3> lse = dense(lses.data(), 2, rows, head_count);

  explicit tensors(int rank) {
    for (std::size_t i = 0; i < 5; ++i) {
      auto const numbers = oracle::uniform<T>(2 * rows * head_count * dim, 5 * static_cast<std::uint64_t>(rank) + i);
      for (std::size_t j = 0; j < numbers.size(); ++j) memory[i][j] = sharded::rounded<T>(numbers[j]);
    }
  }
  view<T, 4> take(std::size_t i) {
    memory[i].resize(2 * rows * head_count * dim);
    return dense(memory[i].data(), 2, rows, head_count, dim);
  }
};

template <class T>
void check() {
  int const ranks = 3;
  std::vector<int> wrong(ranks);
  run_ranks(ranks, [&](threads comm) {
    auto const problem =
        make_problem<T>(zigzag(rows * ranks, ranks), {.batch = 2, .heads = head_count, .dim = dim}, causal());
    auto const attend = ring(comm, reference_kernel{});
    plan run(attend, problem);
    backward_plan back(attend, problem);
    tensors<T> plain(comm.rank()), moved(comm.rank());
    run.forward(plain.q, plain.k, plain.v, plain.out, plain.lse);
    back.backward(plain.q, plain.k, plain.v, plain.out, plain.lse, plain.dout, plain.dq, plain.dk, plain.dv);

    auto kept = run.forward(moved.q, moved.k, moved.v, moved.out, moved.lse);
    // Heads outside of tokens now, and where they were, nothing is left.
    std::vector<std::vector<T>> elsewhere;
    std::vector<accumulate_t<T>> lse_elsewhere(moved.lses.size());
    std::vector<role> seen;
    auto const copied = [](role what, auto tensor, auto to) {
      host_stream{}.copy(piece_of(to, what), piece_of(tensor, what));
      return to;
    };
    //! [saved]
    kept = kept.moved_by([&](role what, auto tensor) {
      seen.push_back(what);
      if constexpr (decltype(tensor)::rank == 3) {
        return copied(what, tensor, transposed(dense(lse_elsewhere.data(), 2, head_count, rows), 1, 2));
      } else {
        T* const to = elsewhere.emplace_back(tensor.size()).data();
        return copied(what, tensor, transposed(dense(to, 2, head_count, rows, dim), 1, 2));
      }
    });
    //! [saved]
    for (std::size_t i = 0; i < 4; ++i) moved.memory[i].assign(moved.memory[i].size(), T(NAN));
    moved.lses.assign(moved.lses.size(), NAN);
    back.backward(kept, moved.dout, moved.dq, moved.dk, moved.dv);
    int& differ = wrong[static_cast<std::size_t>(comm.rank())];
    for (std::size_t i = 5; i < 8; ++i) differ += !combinations::bitwise(plain.memory[i], moved.memory[i]);
    differ += seen != std::vector<role>{role::query, role::key, role::value, role::output, role::lse};
  });
  for (int const each : wrong) CHECK(each == 0);
}

}  // namespace

TEST_CASE("what forward returns may be anywhere else when backward is called, in any strides: the same bits") {
  check<float>();
  check<bf16>();
}

TEST_CASE("what is saved is the caller's memory; without lse there is no backward pass") {
  tensors<float> t(0);
  auto const problem = make_problem<float>(contiguous(rows, 1), {.batch = 2, .heads = head_count, .dim = dim});
  plan run(reference_kernel{}, problem);
  auto const kept = run.forward(t.q, t.k, t.v, t.out, t.lse);
  CHECK(kept.q.data == t.q.data);
  CHECK(kept.k.data == t.k.data);
  CHECK(kept.v.data == t.v.data);
  CHECK(kept.out.data == t.out.data);
  CHECK(kept.lse.data == t.lse.data);
  auto const short_of_lse = run.forward(t.q, t.k, t.v, t.out);
  CHECK(short_of_lse.lse.data == nullptr);
  CHECK_THROWS_WITH_AS(backward_plan(reference_kernel{}, problem).backward(short_of_lse, t.dout, t.dq, t.dk, t.dv),
                       "backward: lse has 0 batch, the problem has 2", shape_error);
}
