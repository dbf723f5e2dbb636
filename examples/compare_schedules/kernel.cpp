#include "kernel.hpp"

#include <ringfold/kernel/cpu/flash.hpp>

namespace compare_schedules {

namespace {

using ringfold::flash_kernel;

template <class T, class P>
class flash_open final : public open_state<T> {
 public:
  using typename open_state<T>::sum;
  flash_open(const P& p, ringfold::arena<>& memory) : state_(flash_kernel{}.state(p, memory)) {}
  void prepare(ringfold::view<const T, 4> q) override { flash_kernel{}.prepare(state_, q, {}); }
  void accumulate(const ringfold::block<T>& kv) override { flash_kernel{}.accumulate(state_, kv, {}); }
  void close(const ringfold::partial<sum>& out) override { flash_kernel{}.close(state_, out, {}); }
  void close(const ringfold::partial<sum, ringfold::host_space, ringfold::base_2>& out) override {
    flash_kernel{}.close(state_, out, {});
  }

 private:
  ringfold::state_of<flash_kernel, P, ringfold::host_stream> state_;
};

template <class T, class P>
class flash_open_backward final : public open_backward_state<T> {
 public:
  using typename open_backward_state<T>::sum;
  flash_open_backward(const P& p, ringfold::arena<>& memory) : state_(flash_kernel{}.backward_state(p, memory)) {}
  void prepare(ringfold::view<const T, 4> q, const ringfold::cotangent<T>& of_out) override {
    flash_kernel{}.prepare_backward(state_, q, of_out, {});
  }
  void accumulate(const ringfold::block<T>& kv, const ringfold::block_gradient<sum>& to) override {
    flash_kernel{}.accumulate_backward(state_, kv, to, {});
  }
  void close(ringfold::view<sum, 4> dq) override { flash_kernel{}.close_backward(state_, dq, {}); }

 private:
  ringfold::backward_state_of<flash_kernel, P, ringfold::host_stream> state_;
};

/// Calls f with the problem of the types that it needs: what is not there costs nothing.
template <class T, class F>
auto with_types(const any_problem<T>& p, F f) {
  auto const with = [&](const auto& mask, auto score) {
    ringfold::problem<T, std::remove_cvref_t<decltype(mask)>, decltype(score)> const typed{
        p.queries, p.keys, p.owner, p.head, p.batch, p.dim, p.value_dim, p.first_batch, mask, score};
    return f(typed);
  };
  auto const& parts = p.score.parts;
  bool const plain = !parts.first.first.present && !parts.first.then.present && !parts.then.present;
  auto const with_score = [&](const auto& mask) {
    return plain ? with(mask, ringfold::scaled{p.score.scale, {}}) : with(mask, p.score);
  };
  return p.mask_of.documents ? with_score(*p.mask_of.documents) : with_score(p.mask_of.band);
}

}  // namespace

template <class T>
kernel::opened<T> kernel::state(const any_problem<T>& p, ringfold::arena<>& memory) const {
  return with_types(
      p, [&]<class P>(const P& typed) -> opened<T> { return std::make_shared<flash_open<T, P>>(typed, memory); });
}

template <class T>
kernel::opened_backward<T> kernel::backward_state(const any_problem<T>& p, ringfold::arena<>& memory) const {
  return with_types(p, [&]<class P>(const P& typed) -> opened_backward<T> {
    return std::make_shared<flash_open_backward<T, P>>(typed, memory);
  });
}

#define COMPARE_SCHEDULES_KERNEL(T)                                                          \
  template kernel::opened<T> kernel::state(const any_problem<T>&, ringfold::arena<>&) const; \
  template kernel::opened_backward<T> kernel::backward_state(const any_problem<T>&, ringfold::arena<>&) const;
COMPARE_SCHEDULES_KERNEL(float)
COMPARE_SCHEDULES_KERNEL(double)
COMPARE_SCHEDULES_KERNEL(ringfold::bf16)
COMPARE_SCHEDULES_KERNEL(ringfold::f16)
#undef COMPARE_SCHEDULES_KERNEL

}  // namespace compare_schedules
