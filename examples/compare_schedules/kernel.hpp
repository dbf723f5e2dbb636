#pragma once

#include <memory>

#include <ringfold/kernel/attention.hpp>

#include "experiment.hpp"

/// \file
/// The local kernel behind a wall: compiled once for each element type, not once for each schedule.

namespace compare_schedules {

/// A state of ringfold::flash_kernel for elements of T, whatever the mask and the score that it was opened for.
template <class T>
class open_state {
 public:
  using sum = ringfold::accumulate_t<T>;
  open_state() = default;
  open_state(const open_state&) = delete;
  open_state& operator=(const open_state&) = delete;
  virtual ~open_state() = default;
  virtual void prepare(ringfold::view<const T, 4> q) = 0;
  virtual void accumulate(const ringfold::block<T>& kv) = 0;
  virtual void close(const ringfold::partial<sum>& out) = 0;
  virtual void close(const ringfold::partial<sum, ringfold::host_space, ringfold::base_2>& out) = 0;
};

template <class T>
class open_backward_state {
 public:
  using sum = ringfold::accumulate_t<T>;
  open_backward_state() = default;
  open_backward_state(const open_backward_state&) = delete;
  open_backward_state& operator=(const open_backward_state&) = delete;
  virtual ~open_backward_state() = default;
  virtual void prepare(ringfold::view<const T, 4> q, const ringfold::cotangent<T>& of_out) = 0;
  virtual void accumulate(const ringfold::block<T>& kv, const ringfold::block_gradient<sum>& to) = 0;
  virtual void close(ringfold::view<sum, 4> dq) = 0;
};

/// ringfold::flash_kernel, with states whose types the schedules need not see.
struct kernel : ringfold::local_attention {
  static constexpr bool closes_in_any_base = true;
  template <class T>
  using opened = std::shared_ptr<open_state<T>>;
  template <class T>
  using opened_backward = std::shared_ptr<open_backward_state<T>>;
  using stream = ringfold::host_stream;

  template <class T>
  opened<T> state(const any_problem<T>& p, ringfold::arena<>& memory) const;
  template <class T>
  void prepare(opened<T>& s, ringfold::view<const T, 4> q, stream) const {
    s->prepare(q);
  }
  template <class T>
  void accumulate(opened<T>& s, ringfold::block<T> kv, stream) const {
    s->accumulate(kv);
  }
  template <class T, class Base>
  void close(opened<T>& s, ringfold::partial<ringfold::accumulate_t<T>, ringfold::host_space, Base> out, stream) const {
    s->close(out);
  }

  template <class T>
  opened_backward<T> backward_state(const any_problem<T>& p, ringfold::arena<>& memory) const;
  template <class T>
  void prepare_backward(opened_backward<T>& s, ringfold::view<const T, 4> q, ringfold::cotangent<T> of_out,
                        stream) const {
    s->prepare(q, of_out);
  }
  template <class T>
  void accumulate_backward(opened_backward<T>& s, ringfold::block<T> kv,
                           ringfold::block_gradient<ringfold::accumulate_t<T>> to, stream) const {
    s->accumulate(kv, to);
  }
  template <class T>
  void close_backward(opened_backward<T>& s, ringfold::view<ringfold::accumulate_t<T>, 4> dq, stream) const {
    s->close(dq);
  }
};

}  // namespace compare_schedules
