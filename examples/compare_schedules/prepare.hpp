#pragma once

#include <memory>

#include "experiment.hpp"
#include "kernel.hpp"
#include "world.hpp"

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/canonical.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/wrap/counted.hpp>
#include <ringfold/wrap/traced.hpp>

/// \file
/// A schedule made ready on one rank, behind a wall: all that a schedule's own file compiles.

namespace compare_schedules {

/// One rank's rows of everything that goes into a call and comes out of it.
struct rank_tensors {
  tensor q, k, v, out, lse;
  tensor dout, dq, dk, dv, sinks, dsinks;  ///< sinks and dsinks [1, 1, 1, heads], in the sum type
};

/// One rank's part of a schedule, with all its memory.
class call {
 public:
  call() = default;
  call(const call&) = delete;
  call& operator=(const call&) = delete;
  virtual ~call() = default;
  virtual void forward(rank_tensors& on) = 0;
  virtual void backward(rank_tensors& on) = 0;
  virtual extent workspace() const = 0;
};

namespace detail {

/// The rows of [batch, row, head, 1] without the last axis.
template <class A>
ringfold::view<A, 3> rows_of(tensor& t) {
  return ringfold::first_of_rows(t.as<A>());
}
template <class A>
ringfold::view<A, 1> per_head(tensor& t) {
  return ringfold::dense(t.bytes.empty() ? nullptr : t.as<A>().data, t.extents[3]);
}

template <class Attention, class T>
class call_of final : public call {
  using A = ringfold::accumulate_t<T>;

 public:
  call_of(const Attention& attend, const experiment& e) : plan_(attend, e.problem<T>(e.tokens, e.keys)) {
    if (e.backward) back_.emplace(attend, plan_.described());
  }

  void forward(rank_tensors& on) override {
    plan_.forward(on.q.as<T>(), on.k.as<T>(), on.v.as<T>(), on.out.as<T>(), rows_of<A>(on.lse), per_head<A>(on.sinks));
  }
  void backward(rank_tensors& on) override {
    back_->backward(on.q.as<T>(), on.k.as<T>(), on.v.as<T>(), on.out.as<T>(), rows_of<A>(on.lse), on.dout.as<T>(),
                    on.dq.as<T>(), on.dk.as<T>(), on.dv.as<T>(), {}, per_head<A>(on.sinks), per_head<A>(on.dsinks));
  }
  extent workspace() const override { return plan_.workspace() + (back_ ? back_->workspace() : 0); }

 private:
  ringfold::plan<Attention, any_problem<T>> plan_;
  std::optional<ringfold::backward_plan<Attention, any_problem<T>>> back_;
};

}  // namespace detail

/// An attention made ready for one rank's part of an experiment.
template <class Attention>
std::unique_ptr<call> make_call(const Attention& attend, const experiment& e) {
  return with_element(e.type, [&]<class T>(T) -> std::unique_ptr<call> {
    return std::make_unique<detail::call_of<Attention, T>>(attend, e);
  });
}

/// make(communicator, kernel) gives the attention; what it sends is counted and traced. In canonical order where that is
/// asked for, and the schedule can.
template <bool Canonical = true, class Make>
std::unique_ptr<call> prepare(const experiment& e, const any_rank& rank, ringfold::counters& book,
                              ringfold::trace_track& track, Make make) {
  return std::visit(
      [&](auto comm) {
        auto const wire = ringfold::traced(ringfold::counted(comm, book), track);
        if constexpr (Canonical) {
          if (e.chunk > 0) {
            return make_call(make(wire, ringfold::traced(ringfold::canonical(kernel{}, e.chunk), track)), e);
          }
        }
        return make_call(make(wire, ringfold::traced(kernel{}, track)), e);
      },
      rank.of);
}

}  // namespace compare_schedules
