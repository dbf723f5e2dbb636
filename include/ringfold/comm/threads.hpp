#pragma once

#include <ringfold/comm/team.hpp>

/// \file
/// Ranks that are threads of one process. A message is the sender's memory, read where it lies.

namespace ringfold {

template <class Stream>
class basic_threads;

/// How run_ranks() runs.
struct launch_options {
  std::chrono::milliseconds deadline{60'000};  ///< of each wait; zero: none
};

/// Calls f(communicator) on `ranks` threads, and returns when all have ended.
///
/// When f throws on one rank, every other rank's next or present call throws `poisoned`, which names that rank and
/// repeats its text. Communicators and requests live no longer than the call.
/// \throws usage_error when ranks < 1 or the deadline is negative; what the first rank that failed threw
template <class Stream = host_stream, class F>
void run_ranks(int ranks, F&& f, launch_options options = {}) {
  if (ranks < 1) throw usage_error(say("run_ranks: %d ranks asked; allowed are 1 and more", ranks));
  if (options.deadline.count() < 0) {
    throw usage_error(say("run_ranks: a deadline of %lld ms; allowed are 0 (none) and more",
                          static_cast<long long>(options.deadline.count())));
  }
  detail::team<Stream> all(ranks, options.deadline);
  detail::wire<Stream> wire(all);
  auto const body = [&](int rank) {
    try {
      f(basic_threads<Stream>(wire, rank));
      all.returned(rank);
    } catch (...) {
      all.poison_by_current(rank);
    }
  };
  {
    struct joined {
      std::vector<std::thread> threads;
      ~joined() {
        for (std::thread& each : threads) each.join();
      }
    } started;
    started.threads.reserve(static_cast<std::size_t>(ranks));
    try {
      for (int rank = 0; rank < ranks; ++rank) started.threads.emplace_back(body, rank);
    } catch (...) {
      all.poison_by_current(static_cast<int>(started.threads.size()));
    }
  }
  if (all.fate().sealed()) std::rethrow_exception(all.fate().cause());
}

/// A rank of a run_ranks() call. Used by one thread at a time; copies are the same rank.
///
/// A receive with memory copies straight from the sender's; one without borrows it: release() gives it back, and
/// until then it may be sent on. After `poisoned` is thrown, borrowed memory must not be read any more.
template <class Stream = host_stream>
class basic_threads {
 public:
  using stream = Stream;

  /// The claim on an exchange; see request_on and lending_request_on. Destroyed on its rank's thread.
  class request {
   public:
    request() = default;
    request(request&& from) noexcept : owner_(from.owner_), slot_(std::exchange(from.slot_, nullptr)) {}
    request& operator=(request&& from) noexcept {
      if (this != &from) {
        finish();
        owner_ = from.owner_;
        slot_ = std::exchange(from.slot_, nullptr);
      }
      return *this;
    }
    ~request() { finish(); }

    /// Waits until everything was received. \throws poisoned, contract_violation, timeout_error
    void arrived(Stream) {
      if (slot_) owner_->guarded([&] { owner_->wait_arrived(*slot_); });
    }
    /// Waits until nobody needs the sent memory any more. \throws as arrived()
    void reusable(Stream) {
      if (slot_) owner_->guarded([&] { owner_->wait_reusable(*slot_); });
    }
    /// Whether it arrived and is reusable. \throws as arrived()
    bool test() {
      return !slot_ || owner_->guarded([&] { return owner_->test(*slot_); });
    }
    /// Where the i-th receive is, once it arrived. \throws usage_error before that, and where there is none
    piece received(int i) const {
      if (!slot_) throw usage_error(say("received(%d): the request is complete and holds nothing", i));
      return owner_->received(*slot_, i);
    }
    /// Gives back what was borrowed; it must not be read any more.
    void release(Stream) noexcept {
      if (slot_) owner_->release(*slot_);
    }

   private:
    friend basic_threads;
    request(detail::member<Stream>& owner, detail::posted<Stream>& slot) : owner_(&owner), slot_(&slot) {}
    void finish() noexcept {
      if (slot_) owner_->close(*std::exchange(slot_, nullptr));
    }

    detail::member<Stream>* owner_ = nullptr;
    detail::posted<Stream>* slot_ = nullptr;
  };

  int rank() const noexcept { return self_->rank(); }
  int size() const noexcept { return self_->size(); }

  /// Posts an exchange; never waits. \throws usage_error, size_overflow: nothing was sent; poisoned
  request post(const exchange& x, Stream s) {
    detail::check_exchange(x, size());
    return self_->guarded([&] {
      int const me = rank();
      request made(*self_, self_->open(x, s, wire_->next_step(me)));
      for (piece const& each : x.sends) self_->send(*made.slot_, each, wire_->box(me, each.peer));
      for (piece const& each : x.receives) self_->receive(*made.slot_, each, wire_->box(each.peer, me));
      return made;
    });
  }

  /// Makes every rank's next or present call throw `poisoned`; run_ranks() then throws `why`.
  void poison(std::exception_ptr why) noexcept { self_->poison(why); }

  /// A second wire between the same ranks, with an order of its own; every rank calls it, and none waits.
  friend basic_threads split(const basic_threads& whole) { return {whole.wire_->split(whole.rank()), whole.rank()}; }

 private:
  template <class S, class F>
  friend void run_ranks(int, F&&, launch_options);
  basic_threads(detail::wire<Stream>& wire, int rank) : wire_(&wire), self_(&wire.at(rank)) {}

  detail::wire<Stream>* wire_;
  detail::member<Stream>* self_;
};

using threads = basic_threads<>;

}  // namespace ringfold
