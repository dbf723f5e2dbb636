#pragma once

#include <type_traits>

#include <ringfold/kernel/attention.hpp>
#include <ringfold/wrap/trace_log.hpp>
#include <ringfold/wrap/wrapper.hpp>

/// \file
/// Records when a rank posts, waits and computes; wrap/trace_json.hpp writes it for a trace viewer.

namespace ringfold {

namespace detail {
template <class T>
inline constexpr bool has_some_rank = requires(T& t) { t.rank(); };
template <class T>
using not_traceable = std::conditional_t<has_some_rank<T>, not_a_communicator<T>, not_an_attention<T>>;
}  // namespace detail

/// Stands where traced() was given neither a communicator nor an attention.
template <class T>
class traced : detail::not_traceable<T> {
 public:
  traced(T, trace_track&) {}
};
template <class T>
traced(T, trace_track&) -> traced<T>;

/// A communicator that records its posts with their pieces, and its waits. Wrap before making groups: one track serves
/// all. On a device's stream a span is the time that the host took.
/// \snippet wrap/traced_test.cpp traced
template <communicator C>
class traced<C> : public wrapper<C> {
 public:
  using stream = stream_t<C>;

  class request : public request_wrapper<C> {
   public:
    request() = default;
    request(request_t<C> inner, trace_track* track, extent step)
        : request_wrapper<C>(std::move(inner)), track_(track), step_(step) {}
    request(request&& other) noexcept
        : request_wrapper<C>(std::move(other)), track_(std::exchange(other.track_, nullptr)), step_(other.step_) {}
    request& operator=(request&& other) noexcept {
      if (this == &other) return *this;
      request_wrapper<C>::operator=(std::move(other));
      track_ = std::exchange(other.track_, nullptr);
      step_ = other.step_;
      return *this;
    }

    void arrived(stream on) {
      if (track_ == nullptr) return this->inner_.arrived(on);
      auto const waiting = track_->open({.what = activity::arrived, .step = step_});
      this->inner_.arrived(on);
    }
    void reusable(stream on) {
      if (track_ == nullptr) return this->inner_.reusable(on);
      auto const waiting = track_->open({.what = activity::reusable, .step = step_});
      this->inner_.reusable(on);
    }

   private:
    trace_track* track_ = nullptr;
    extent step_ = -1;
  };

  traced(C inner, trace_track& track) : wrapper<C>(std::move(inner)), track_(&track) {}

  request post(exchange x, stream on) {
    extent const step = track_->next_step();
    extent bytes = 0;
    for (const piece& each : x.sends) bytes += each.bytes();
    auto const posting = track_->open({.what = activity::post, .step = step, .bytes = bytes});
    request_t<C> posted = this->inner_.post(x, on);  // pieces of what was accepted only
    auto const note = [&](activity what, const piece& each) {
      track_->note({.what = what, .carries = each.what, .peer = each.peer, .step = step, .bytes = each.bytes()});
    };
    for (const piece& each : x.sends) note(activity::send, each);
    for (const piece& each : x.receives) note(activity::receive, each);
    return {std::move(posted), track_, step};
  }

 private:
  trace_track* track_;
};

/// An attention, usually a kernel, that records its verbs, forward and backward, and whose block it folds in.
template <attention_type A>
  requires(!communicator<A>)
class traced<A> {
 public:
  using stream = typename A::stream;
  using space = typename stream::space;

  static constexpr bool is_canonical = ringfold::is_canonical<A>;
  static constexpr bool closes_in_any_base = ringfold::closes_in_any_base<A>;
  template <class P>
  using gradient_sum = gradient_sum_t<A, P>;

  traced(A inner, trace_track& track) : inner_(std::move(inner)), track_(&track) {}

  int ranks() const { return inner_.ranks(); }
  int owner() const { return inner_.owner(); }
  int owner_of(int index) const { return inner_.owner_of(index); }
  extent fewest_heads() const { return inner_.fewest_heads(); }

  template <class P>
  bool needs(const P& p, int query_owner, int key_owner) const {
    return inner_.needs(p, query_owner, key_owner);
  }

  template <class P>
  auto state(const P& p, arena<space>& memory) const {
    return inner_.state(p, memory);
  }

  template <class S, class Q>
  void prepare(S& s, Q q, stream on) const {
    auto const computing = track_->open({.what = activity::prepare});
    inner_.prepare(s, q, on);
  }

  template <class S, class T>
  void accumulate(S& s, block<T, space> kv, stream on) const {
    auto const computing = track_->open({.what = activity::accumulate, .present = kv.present(), .owner = kv.owner});
    inner_.accumulate(s, kv, on);
  }

  template <class S, class Out>
  void close(S& s, Out out, stream on) const {
    auto const computing = track_->open({.what = activity::close});
    inner_.close(s, out, on);
  }

  template <class P>
    requires detail::has_backward_state<A, P, stream>
  auto backward_state(const P& p, arena<space>& memory) const {
    return inner_.backward_state(p, memory);
  }

  template <class S, class Q, class Cotangent>
  void prepare_backward(S& s, Q q, Cotangent of_out, stream on) const {
    auto const computing = track_->open({.what = activity::prepare});
    inner_.prepare_backward(s, q, of_out, on);
  }

  template <class S, class T, class Gradient>
  void accumulate_backward(S& s, block<T, space> kv, Gradient to, stream on) const {
    auto const computing = track_->open({.what = activity::accumulate, .present = kv.present(), .owner = kv.owner});
    inner_.accumulate_backward(s, kv, to, on);
  }

  template <class S, class Q>
  void close_backward(S& s, Q of_q, stream on) const {
    auto const computing = track_->open({.what = activity::close});
    inner_.close_backward(s, of_q, on);
  }

 private:
  A inner_;
  trace_track* track_;
};

}  // namespace ringfold
