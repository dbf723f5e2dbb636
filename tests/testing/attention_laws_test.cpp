#include <ringfold/testing/attention_laws.hpp>

#include <doctest/doctest.h>

#include <utility>

#include <ringfold/attention/direct.hpp>
#include <ringfold/attention/gather.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/core/group.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/testing/backward_laws.hpp>
#include <ringfold/testing/kernel_laws.hpp>

using namespace ringfold;

namespace {

// The reference kernel with one mistake.
enum class mistake { ignores_mask, keeps_state, trusts_memory, reads_absent, forgets_head, needs_too_little };
template <class P>
struct used_state : detail::reference_state<P> {
  bool used = false;
};
template <mistake What>
struct broken_kernel : reference_kernel {
  template <class P>
  bool needs(const P& p, int query_owner, int key_owner) const {
    if (What == mistake::needs_too_little && key_owner == p.keys.ranks() - 1) return false;
    return reference_kernel::needs(p, query_owner, key_owner);
  }
  template <class P>
  auto state(P p, arena<>& memory) const {
    if (What == mistake::ignores_mask) p.mask_of = P{}.mask_of;
    return used_state<P>{reference_kernel::state(p, memory)};
  }
  template <class S, class Q>
  void prepare(S& s, Q q, host_stream on) const {
    if (What == mistake::trusts_memory && std::exchange(s.used, true)) q = s.q;
    if (What == mistake::keeps_state) {
      auto const largest = s.maximum.size() > 0 ? s.maximum(0, 0, 0) : 0;
      auto const kept = s.sum.size() > 0 ? s.sum(0, 0, 0) : 0;
      reference_kernel::prepare(s, q, on);
      bool const used = kept > 0 && kept < 1e30 && largest > -1e30 && largest < 1e30;
      if (used) s.maximum(0, 0, 0) = largest, s.sum(0, 0, 0) = kept;
      return;
    }
    reference_kernel::prepare(s, q, on);
  }
  template <class S, class T>
  void accumulate(S& s, block<T> kv, host_stream on) const {
    if (What == mistake::reads_absent && !kv.present() && s.sum.size() > 0) s.sum(0, 0, 0) += 1;
    if (What == mistake::forgets_head && kv.k.extents[head_axis] == 1 && kv.first_key > 0) kv.first_key = 0;
    reference_kernel::accumulate(s, kv, on);
  }
};

}  // namespace

TEST_CASE("our kernels keep the laws") {
  //! [kernel_laws]
  kernel_laws<float>(reference_kernel{});
  //! [kernel_laws]
  for (std::uint64_t seed = 1; seed < 4; ++seed) {
    kernel_laws<double>(reference_kernel{}, seed);
    kernel_laws<bf16>(reference_kernel{}, seed);
    kernel_laws<float>(flash_kernel{}, seed);
    kernel_laws<f16>(flash_kernel{}, seed);
  }
}

TEST_CASE("each law of kernels can be broken") {
  CHECK_THROWS_WITH_AS(kernel_laws<float>(broken_kernel<mistake::ignores_mask>{}), doctest::Contains("definition"),
                       law_violation);
  CHECK_THROWS_WITH_AS(kernel_laws<float>(broken_kernel<mistake::keeps_state>{}), doctest::Contains("start"),
                       law_violation);
  CHECK_THROWS_WITH_AS(kernel_laws<float>(broken_kernel<mistake::trusts_memory>{}), doctest::Contains("in turn"),
                       law_violation);
  CHECK_THROWS_WITH_AS(kernel_laws<float>(broken_kernel<mistake::reads_absent>{}), doctest::Contains("absent"),
                       law_violation);
  CHECK_THROWS_WITH_AS(kernel_laws<float>(broken_kernel<mistake::forgets_head>{}, 2), doctest::Contains("head by head"),
                       law_violation);
  CHECK_THROWS_WITH_AS(kernel_laws<float>(broken_kernel<mistake::needs_too_little>{}), doctest::Contains("need"),
                       law_violation);
}

TEST_CASE("what must be infinite, or must be a number, is nothing else") {
  auto const agree = [](float got, double exact) { testing::agree("law", std::vector{got}, {exact}, 1e-6); };
  agree(-INFINITY, -INFINITY), agree(2, 2.0000001);
  CHECK_THROWS_AS(agree(-1e30F, -INFINITY), law_violation);  // the log-sum-exp of a row that saw nothing
  CHECK_THROWS_AS(agree(INFINITY, -INFINITY), law_violation);
  CHECK_THROWS_AS(agree(NAN, 2), law_violation);
  CHECK_THROWS_AS(agree(-INFINITY, 2), law_violation);
}

TEST_CASE("attentions over ranks keep the laws") {
  for (int const ranks : {1, 2, 3, 4, 6}) {
    run_ranks(ranks, [](threads comm) {
      //! [attention_laws]
      attention_laws<float>(ring(comm, reference_kernel{}));
      //! [attention_laws]
      attention_laws<double>(ulysses(comm, reference_kernel{}));
      attention_laws<bf16>(ring(comm, flash_kernel{}));
      attention_laws<float>(direct(comm, reference_kernel{}));
      int const columns = comm.size() % 2 == 0 ? 2 : 1;
      auto const g = grid(comm, comm.size() / columns, columns);
      attention_laws<float>(ulysses(g.row(), ring(g.col(), flash_kernel{})));
    });
  }
  CHECK_THROWS_AS(
      run_ranks(2, [](threads comm) { attention_laws<float>(ring(comm, broken_kernel<mistake::needs_too_little>{})); }),
      law_violation);
}

namespace {

// A backward pass with one mistake: gradients of values are those of the last block only.
struct forgetful_kernel : reference_kernel {
  template <class S, class T, class Sum>
  void accumulate_backward(S& s, block<T> kv, block_gradient<Sum> to, host_stream on) const {
    if (kv.present()) on.elementwise(elementwise::set_zero{}, s.dq);
    reference_kernel::accumulate_backward(s, kv, to, on);
  }
};

}  // namespace

TEST_CASE("backward passes over ranks keep the law") {
  for (int const ranks : {1, 2, 3, 4}) {
    run_ranks(ranks, [](threads comm) {
      //! [backward_laws]
      backward_laws<float>(ring(comm, reference_kernel{}));
      //! [backward_laws]
      backward_laws<double>(ulysses(comm, reference_kernel{}));
      backward_laws<bf16>(gather(comm, reference_kernel{}));
      backward_laws<float>(direct(comm, reference_kernel{}));
      int const columns = comm.size() % 2 == 0 ? 2 : 1;
      auto const g = grid(comm, comm.size() / columns, columns);
      backward_laws<float>(ulysses(g.row(), ring(g.col(), reference_kernel{})));
    });
  }
  CHECK_THROWS_AS(run_ranks(2, [](threads comm) { backward_laws<float>(ring(comm, forgetful_kernel{})); }),
                  law_violation);
}
