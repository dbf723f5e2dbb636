#pragma once

#include <utility>

#include <ringfold/comm/self.hpp>
#include <ringfold/kernel/attention.hpp>
#include <ringfold/recurrence/decay.hpp>

/// \file
/// Everything that a parallelism calls, done by nobody at no time: what is left is the parallelism's own work.

namespace instant {

using ringfold::arena;
using ringfold::exchange;
using ringfold::host_space;

/// Stands for work on something, of which the compiler knows nothing but where that lies.
[[gnu::noinline]] inline void happens(const void* what, const void* to = nullptr, const void* with = nullptr,
                                      const void* and_with = nullptr) {
  asm volatile("" : : "r"(what), "r"(to), "r"(with), "r"(and_with) : "memory");
}

struct stream {
  using space = host_space;
  bool works = false;

  void copy(const ringfold::piece& to, const ringfold::piece& from) const {
    happens(&to, &from);
    if (works) ringfold::host_stream{}.copy(to, from);
  }
  template <class F, class... V>
  void elementwise(F f, V... on) const {
    happens(&on...);
    if (works) ringfold::host_stream{}.elementwise(f, on...);
  }
};

/// One of several ranks whose messages have arrived as soon as they are posted: nobody carries them, or ringfold::self,
/// which checks and pairs what this rank sends and receives, as if every peer did as it does.
class communicator {
 public:
  using stream = instant::stream;

  class request {
   public:
    request() = default;
    request(request&& from) noexcept : open_(std::exchange(from.open_, false)), carried_(std::move(from.carried_)) {}
    request& operator=(request&& from) noexcept {
      finish();
      open_ = std::exchange(from.open_, false);
      carried_ = std::move(from.carried_);
      return *this;
    }
    ~request() { finish(); }
    void arrived(stream on) { happens(this), carried_.arrived(on); }
    void reusable(stream on) { happens(this), carried_.reusable(on); }
    bool test() {
      happens(this);
      return carried_.test();
    }

   private:
    friend communicator;
    void finish() {
      if (open_) happens(this);
    }
    bool open_ = false;
    ringfold::basic_self<stream>::request carried_;
  };

  communicator(int rank, int size, bool carries) : rank_(rank), size_(size), carries_(carries) {}
  int rank() const noexcept { return rank_; }
  int size() const noexcept { return size_; }

  [[gnu::noinline]] request post(const exchange& x, stream on) {
    happens(x.sends.data(), x.receives.data());
    request made;
    made.open_ = true;
    if (!carries_) return made;
    auto const to_itself = [](auto pieces, std::vector<ringfold::piece>& own) {
      own.assign(pieces.begin(), pieces.end());
      for (ringfold::piece& each : own) each.peer = 0;
    };
    to_itself(x.sends, sends_), to_itself(x.receives, receives_);
    made.carried_ = self_.post({.sends = sends_, .receives = receives_}, on);
    return made;
  }
  void poison(const std::exception_ptr&) noexcept {}

 private:
  int rank_, size_;
  bool carries_;
  ringfold::basic_self<stream> self_;
  std::vector<ringfold::piece> sends_, receives_;
};

struct kernel : ringfold::local_attention {
  using stream = instant::stream;
  struct open {};
  template <class P>
  open state(const P&, arena<host_space>&) const {
    return {};
  }
  template <class Q>
  void prepare(open&, const Q& q, stream) const {
    happens(&q);
  }
  template <class Block>
  void accumulate(open&, const Block& keys, stream) const {
    happens(&keys);
  }
  template <class Out>
  void close(open&, const Out& out, stream) const {
    happens(&out);
  }
};

/// The states, and what is read, of decay without gates; no verb of its own, so that none is worked out unseen.
struct rule {
  using kind = ringfold::decay<ringfold::gating::none>;
  template <class A>
  using algebra = kind::algebra<A>;
  template <class T, class Space = host_space>
  using inputs = kind::inputs<T, Space>;
  struct workspace {};

  template <class P>
  static auto algebra_for(const P& p, arena<host_space>& memory) {
    return kind::algebra_for(p, memory);
  }
  template <class P>
  static ringfold::extent width(const P& p) {
    return kind::width(p);
  }
  void check() const {}
  template <class P>
  workspace forward_workspace(const P&, ringfold::extent, arena<host_space>&) const {
    return {};
  }
  template <class P, class Operands, class Element>
  void summarize(workspace&, const P&, const Operands& of, const Element& into) const {
    happens(&of, &into);
  }
  template <class P, class Operands, class Out, class F>
  void within(workspace&, const P&, const Operands& of, const Out& out, F meanwhile) const {
    happens(&of, &out);
    meanwhile();
  }
  template <class P, class Operands, class State, class Out>
  void carry(workspace&, const P&, const Operands& of, const State& enters, const Out& out) const {
    happens(&of, &enters, &out);
  }
};

}  // namespace instant
