#pragma once

#include <memory>

#include "experiment.hpp"
#include "kernel.hpp"
#include "world.hpp"

#include <ringfold/attention/plan.hpp>
#include <ringfold/wrap/counted.hpp>
#include <ringfold/wrap/traced.hpp>

/// \file
/// A schedule made ready on one rank, behind a wall: all that a schedule's own file compiles.

namespace compare_schedules {

/// One rank's part of a schedule, with all its memory; tensors are that rank's rows.
class call {
 public:
  call() = default;
  call(const call&) = delete;
  call& operator=(const call&) = delete;
  virtual ~call() = default;
  virtual void forward(const tensor& q, const tensor& k, const tensor& v, tensor& out, tensor& lse) = 0;
  virtual extent workspace() const = 0;
};

namespace detail {

template <class Attention, class T>
class call_of final : public call {
 public:
  call_of(const Attention& attend, const experiment& e) : plan_(attend, e.problem<T>(e.tokens)) {}

  void forward(const tensor& q, const tensor& k, const tensor& v, tensor& out, tensor& lse) override {
    using A = ringfold::accumulate_t<T>;
    auto const whole = lse.as<A>();
    ringfold::view<A, 3> const rows{whole.data,
                                    {whole.extents[0], whole.extents[1], whole.extents[2]},
                                    {whole.strides[0], whole.strides[1], whole.strides[2]}};
    plan_.forward(q.as<T>(), k.as<T>(), v.as<T>(), out.as<T>(), rows);
  }
  extent workspace() const override { return plan_.workspace(); }

 private:
  ringfold::plan<Attention, ringfold::problem<T>> plan_;
};

}  // namespace detail

/// make(communicator, kernel) gives the attention; what it sends is counted and traced.
template <class Make>
std::unique_ptr<call> prepare(const experiment& e, const any_rank& rank, ringfold::counters& book,
                              ringfold::trace_track& track, Make make) {
  return std::visit(
      [&](auto comm) {
        auto const attend =
            make(ringfold::traced(ringfold::counted(comm, book), track), ringfold::traced(kernel{}, track));
        using A = std::remove_const_t<decltype(attend)>;
        return with_element(e.type, [&]<class T>(T) -> std::unique_ptr<call> {
          return std::make_unique<detail::call_of<A, T>>(attend, e);
        });
      },
      rank.of);
}

}  // namespace compare_schedules
