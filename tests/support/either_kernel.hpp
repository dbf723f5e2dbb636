#pragma once

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>

/// \file
/// Both kernels behind one type.

/// Either kernel, chosen at run time: so that schedules are compiled once for both.
struct either_kernel : ringfold::local_attention {
  static constexpr bool closes_in_any_base = true;
  bool blocked = false;

  template <class S, class B>
  struct both {
    S plain;
    B fast;
  };
  template <class P>
  auto state(const P& p, ringfold::arena<>& memory) const {
    auto plain = ringfold::reference_kernel{}.state(p, memory);
    auto fast = ringfold::flash_kernel{}.state(p, memory);
    return both<decltype(plain), decltype(fast)>{plain, fast};
  }
  template <class P>
  auto backward_state(const P& p, ringfold::arena<>& memory) const {
    auto plain = ringfold::reference_kernel{}.backward_state(p, memory);
    auto fast = ringfold::flash_kernel{}.backward_state(p, memory);
    return both<decltype(plain), decltype(fast)>{plain, fast};
  }
  template <class S, class F>
  void choose(S& s, F f) const {
    blocked ? f(ringfold::flash_kernel{}, s.fast) : f(ringfold::reference_kernel{}, s.plain);
  }
  template <class S, class Q>
  void prepare(S& s, Q q, ringfold::host_stream on) const {
    choose(s, [&](auto kernel, auto& mine) { kernel.prepare(mine, q, on); });
  }
  template <class S, class T>
  void accumulate(S& s, ringfold::block<T> kv, ringfold::host_stream on) const {
    choose(s, [&](auto kernel, auto& mine) { kernel.accumulate(mine, kv, on); });
  }
  template <class S, class Out>
  void close(S& s, Out out, ringfold::host_stream on) const {
    choose(s, [&](auto kernel, auto& mine) { kernel.close(mine, out, on); });
  }
  template <class S, class Q, class T>
  void prepare_backward(S& s, Q q, ringfold::cotangent<T> of_out, ringfold::host_stream on) const {
    choose(s, [&](auto kernel, auto& mine) { kernel.prepare_backward(mine, q, of_out, on); });
  }
  template <class S, class T, class Sum>
  void accumulate_backward(S& s, ringfold::block<T> kv, ringfold::block_gradient<Sum> to,
                           ringfold::host_stream on) const {
    choose(s, [&](auto kernel, auto& mine) { kernel.accumulate_backward(mine, kv, to, on); });
  }
  template <class S, class Q>
  void close_backward(S& s, Q dq, ringfold::host_stream on) const {
    choose(s, [&](auto kernel, auto& mine) { kernel.close_backward(mine, dq, on); });
  }
};
