#pragma once

#include <memory>

#include <ringfold/kernel/attention.hpp>

/// \file
/// The local kernel behind a wall: compiled once for each element type, not once for each schedule.

namespace compare_schedules {

/// ringfold::flash_kernel, with a state whose type the schedules need not see.
struct kernel : ringfold::local_attention {
  template <class P>
  struct hidden_state {
    std::shared_ptr<void> open;
  };

  template <class P>
  hidden_state<P> state(const P& p, ringfold::arena<>& memory) const;
  template <class P>
  void prepare(hidden_state<P>& s, ringfold::view<const typename P::element, 4> q, ringfold::host_stream on) const;
  template <class P>
  void accumulate(hidden_state<P>& s, ringfold::block<typename P::element> kv, ringfold::host_stream on) const;
  template <class P>
  void close(hidden_state<P>& s, ringfold::partial<typename P::accumulate> out, ringfold::host_stream on) const;
};

}  // namespace compare_schedules
