#pragma once

#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include <ringfold/kernel/attention.hpp>

/// \file
/// A kernel on random inputs of one head on one core, forward and backward.

/// The states are opened once, as a plan does.
template <class Kernel, class P>
class one_head {
 public:
  using T = typename P::element;
  using A = typename P::accumulate;
  using Gradient = ringfold::gradient_sum_t<Kernel, P>;

  explicit one_head(const P& p, Kernel kernel = {})
      : p_(p),
        kernel_(kernel),
        bytes_(bytes_of(p, kernel)),
        memory_(std::aligned_alloc(64, static_cast<std::size_t>(bytes_))),
        arena_(memory_.get(), bytes_),
        state_(kernel_.state(p, arena_)),
        backward_state_(kernel_.backward_state(p, arena_)) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> numbers(-1.7f, 1.7f);
    auto const size = static_cast<std::size_t>(p.queries.tokens() * p.dim);
    for (auto* each : {&q_, &k_, &v_, &dout_}) {
      each->resize(size);
      for (T& number : *each) number = static_cast<T>(numbers(random));
    }
    o_.resize(size), dq_.resize(size), dk_.resize(size), dv_.resize(size);
    lse_.resize(static_cast<std::size_t>(p.queries.tokens())), delta_.resize(lse_.size());
    forward();
    for (std::size_t i = 0; i < size; ++i)
      delta_[i / static_cast<std::size_t>(p.dim)] += o_[i] * static_cast<A>(dout_[i]);
  }

  void forward() {
    kernel_.prepare(state_, read(q_), {});
    kernel_.accumulate(state_, keys(), {});
    kernel_.close(state_, ringfold::partial<A>{rows(o_), per_row(lse_)}, {});
  }
  void backward() {
    kernel_.prepare_backward(backward_state_, read(q_),
                             ringfold::cotangent<T>{read(dout_), per_row(lse_), per_row(delta_)}, {});
    kernel_.accumulate_backward(backward_state_, keys(), ringfold::block_gradient<Gradient>{rows(dk_), rows(dv_)}, {});
    kernel_.close_backward(backward_state_, rows(dq_), {});
  }
  /// Pairs of a query and a key that it sees.
  double pairs() const {
    double sum = 0;
    for (ringfold::extent i = 0; i < p_.queries.tokens(); ++i) {
      for (ringfold::extent j = 0; j < p_.keys.tokens(); ++j) sum += p_.mask_of.allows(i, j);
    }
    return sum;
  }

 private:
  struct release {
    void operator()(void* memory) const { std::free(memory); }
  };

  static ringfold::extent bytes_of(const P& p, const Kernel& kernel) {
    ringfold::arena<> measuring;
    (void)kernel.state(p, measuring);
    (void)kernel.backward_state(p, measuring);
    return measuring.used();
  }
  template <class U>
  auto rows(std::vector<U>& of) {
    return ringfold::dense(of.data(), 1, p_.queries.tokens(), 1, p_.dim);
  }
  ringfold::view<const T, 4> read(std::vector<T>& of) { return rows(of); }
  ringfold::view<A, 3> per_row(std::vector<A>& of) { return ringfold::dense(of.data(), 1, p_.queries.tokens(), 1); }
  ringfold::block<T> keys() { return {rows(k_), rows(v_), 0, 0}; }

  P p_;
  Kernel kernel_;
  ringfold::extent bytes_;
  std::unique_ptr<void, release> memory_;
  ringfold::arena<> arena_;
  ringfold::state_of<Kernel, P, ringfold::host_stream> state_;
  ringfold::backward_state_of<Kernel, P, ringfold::host_stream> backward_state_;
  std::vector<T> q_, k_, v_, dout_;
  std::vector<A> o_, dq_, lse_, delta_;
  std::vector<Gradient> dk_, dv_;
};
