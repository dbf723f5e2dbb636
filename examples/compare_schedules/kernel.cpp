#include "kernel.hpp"

#include <ringfold/kernel/cpu/flash.hpp>

namespace compare_schedules {

using ringfold::flash_kernel;

namespace {
template <class P>
using open_state = ringfold::detail::flash_state<P>;
template <class P>
open_state<P>& opened(kernel::hidden_state<P>& s) {
  return *static_cast<open_state<P>*>(s.open.get());
}
}  // namespace

template <class P>
kernel::hidden_state<P> kernel::state(const P& p, ringfold::arena<>& memory) const {
  return {std::make_shared<open_state<P>>(flash_kernel{}.state(p, memory))};
}
template <class P>
void kernel::prepare(hidden_state<P>& s, ringfold::view<const typename P::element, 4> q,
                     ringfold::host_stream on) const {
  flash_kernel{}.prepare(opened(s), q, on);
}
template <class P>
void kernel::accumulate(hidden_state<P>& s, ringfold::block<typename P::element> kv, ringfold::host_stream on) const {
  flash_kernel{}.accumulate(opened(s), kv, on);
}
template <class P>
void kernel::close(hidden_state<P>& s, ringfold::partial<typename P::accumulate> out, ringfold::host_stream on) const {
  flash_kernel{}.close(opened(s), out, on);
}

#define COMPARE_SCHEDULES_KERNEL(T)                                                                                  \
  template kernel::hidden_state<ringfold::problem<T>> kernel::state(const ringfold::problem<T>&, ringfold::arena<>&) \
      const;                                                                                                         \
  template void kernel::prepare(hidden_state<ringfold::problem<T>>&, ringfold::view<const T, 4>,                     \
                                ringfold::host_stream) const;                                                        \
  template void kernel::accumulate(hidden_state<ringfold::problem<T>>&, ringfold::block<T>, ringfold::host_stream)   \
      const;                                                                                                         \
  template void kernel::close(hidden_state<ringfold::problem<T>>&, ringfold::partial<ringfold::accumulate_t<T>>,     \
                              ringfold::host_stream) const;
COMPARE_SCHEDULES_KERNEL(float)
COMPARE_SCHEDULES_KERNEL(double)
COMPARE_SCHEDULES_KERNEL(ringfold::bf16)
COMPARE_SCHEDULES_KERNEL(ringfold::f16)
#undef COMPARE_SCHEDULES_KERNEL

}  // namespace compare_schedules
