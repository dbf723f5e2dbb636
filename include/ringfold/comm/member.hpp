#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <ringfold/comm/check.hpp>
#include <ringfold/comm/fate.hpp>
#include <ringfold/comm/lease.hpp>
#include <ringfold/comm/mailbox.hpp>

/// \file
/// How one rank keeps its exchanges going while it waits for any of them.

namespace ringfold::detail {

template <class Stream>
class team;

/// A receive of a posted exchange.
struct incoming {
  piece at{};                      ///< the receiver's memory; the sender's, once borrowed
  mailbox* through = nullptr;
  mailbox::place* from = nullptr;  ///< null once the message was taken
  bool borrowed = false;
};

/// An exchange on its way. Slots are used again, so that their vectors keep their memory.
template <class Stream>
struct posted {
  explicit posted(bell& owner) : lent(owner) {}

  lease lent;
  std::vector<incoming> receives;
  std::vector<mailbox::place*> sends;
  [[no_unique_address]] Stream stream{};
  int pending = 0;       ///< receives not taken yet
  int unwinding = 0;     ///< exceptions under way when it was posted
  long step = 0;         ///< counted per rank and wire
  bool live = false;     ///< a request holds it
  bool dropped = false;  ///< nobody will look at what it borrows
  bool linked = false;   ///< stands among the exchanges with pending receives
  posted* previous = nullptr;
  posted* next = nullptr;

  bool complete() const noexcept { return pending == 0 && lent.claims() == 0; }
};

/// One rank's end of all its wires. Its own thread calls it, and nobody else; but anybody rings.
template <class Stream>
class alignas(128) member {
 public:
  using slot = posted<Stream>;

  member(team<Stream>& all, int rank) : team_(all), rank_(rank) {}

  int rank() const noexcept { return rank_; }
  int size() const noexcept { return team_.size(); }
  void ring() noexcept { bell_.ring(); }

  /// Runs a public operation: what fails in it poisons all ranks, unless it is a usage_error.
  template <class Work>
  auto guarded(Work work) {
    struct entry {
      explicit entry(member& m) : inside(m.inside_) {
        if (inside.load(std::memory_order_relaxed)) {
          throw usage_error(say("rank %d: two threads use its communicator at once", m.rank_), {.rank = m.rank_});
        }
        inside.store(true, std::memory_order_relaxed);
      }
      ~entry() { inside.store(false, std::memory_order_relaxed); }
      std::atomic<bool>& inside;
    };
    entry const once(*this);
    try {
      return work();
    } catch (const usage_error&) {
      throw;
    } catch (...) {
      team_.poison_by_current(rank_);
      throw;
    }
  }

  /// A slot for one more exchange. \throws poisoned
  slot& open(const exchange& x, Stream stream, long step) {
    stop_if_sealed();
    if (free_ == nullptr) {
      slots_.push_back(std::make_unique<slot>(bell_));
      free_ = slots_.back().get();
    }
    slot& made = *free_;
    made.receives.reserve(x.receives.size());
    made.sends.reserve(x.sends.size());
    free_ = made.next;
    made.receives.clear();
    made.sends.clear();
    made.stream = stream;
    made.pending = 0;
    made.unwinding = std::uncaught_exceptions();
    made.step = step;
    made.live = true;
    made.dropped = false;
    if (!x.receives.empty()) link(made);
    return made;
  }

  void send(slot& of, const piece& sent, mailbox& through) {
    piece message = sent;
    if (message.lease == nullptr) message.lease = &of.lent;
    mailbox::place& at = through.next_to_send();
    static_cast<lease*>(message.lease)->claim();
    at.send(message, of.step);
    of.sends.push_back(&at);
    team_.at(sent.peer).ring();
  }

  void receive(slot& of, const piece& expected, mailbox& through) {
    of.receives.push_back({expected, &through, &through.next_to_receive(), false});
    of.receives.back().at.lease = nullptr;
    ++of.pending;
  }

  void wait_arrived(slot& on) {
    if (on.pending == 0) return;
    wait(on, [&] { return on.pending == 0; });
  }

  void wait_reusable(slot& on) {
    if (on.lent.claims() == 0) return;
    wait(on, [&] { return on.lent.claims() == 0; });
  }

  bool test(slot& on) {
    if (!on.complete()) progress();
    return on.complete();
  }

  piece received(const slot& of, int i) const {
    if (i < 0 || i >= static_cast<int>(of.receives.size())) {
      throw usage_error(say("received(%d): the exchange has %d receives", i, static_cast<int>(of.receives.size())));
    }
    incoming const& one = of.receives[static_cast<std::size_t>(i)];
    if (one.from != nullptr) throw usage_error(say("received(%d): it has not arrived; call arrived() before", i));
    return one.at;
  }

  /// Gives back what the exchange borrowed.
  void release(slot& of) noexcept {
    for (incoming& each : of.receives) {
      if (std::exchange(each.borrowed, false)) static_cast<lease*>(each.at.lease)->give_back();
    }
  }

  /// Ends an exchange: completes it or, once the world is poisoned, waits until nobody reads its memory.
  void close(slot& ending) noexcept {
    ending.dropped = true;
    release(ending);
    if (!ending.complete() && !team_.fate().sealed()) {
      try {
        complete(ending);
      } catch (...) {  // a destructor keeps quiet; what went wrong, every next call on any rank tells
        team_.poison_by_current(rank_);
      }
    }
    ending.live = false;
    if (ending.linked) unlink(ending);
    if (ending.complete()) {
      ending.next = std::exchange(free_, &ending);
    } else {
      bell_.wait(bell::forever, [&] { return ending.lent.readers() == 0; });
    }
  }

 private:
  /// The time that a stopped rank gives the failed one to tell why.
  static constexpr std::chrono::milliseconds patience{250};

  void complete(slot& ending) {
    progress();
    if (ending.complete()) return;
    if (std::uncaught_exceptions() > ending.unwinding) return team_.unwinding(rank_);
    wait(ending, [&] { return ending.complete(); });
  }

  template <class Ready>
  void wait(slot& on, Ready ready) {
    bool const in_time = bell_.wait(team_.deadline(), [&] {
      progress();
      return ready();
    });
    if (!in_time) expire(on);
  }

  /// Takes every message that is there, for all open exchanges: ranks that wait for old ones must not block each other.
  void progress() {
    stop_if_sealed();
    for (slot *each = first_, *following = nullptr; each != nullptr; each = following) {
      following = each->next;
      for (incoming& one : each->receives) {
        if (one.from != nullptr && one.from->full()) take(*each, one);
      }
      if (each->pending == 0) unlink(*each);
    }
  }

  void take(slot& to, incoming& one) {
    piece const sent = one.from->sent();
    lease& lent = *static_cast<lease*>(sent.lease);
    struct reading {  // leaves the memory, whatever happens
      lease& of;
      bool done = false;
      ~reading() {
        if (!done) of.leave();
      }
    } reader{lent};
    lent.enter();
    stop_if_sealed();
    if (!matches(sent, one.at)) disagree(to, one);
    bool const borrow = borrows(one.at) && !to.dropped;
    if (borrow) {
      one.at.data = sent.data;
      one.at.lease = sent.lease;
      for (int axis = 0; axis < 4; ++axis) one.at.strides[axis] = sent.strides[axis];
      one.borrowed = true;
    } else if (!borrows(one.at)) {
      to.stream.copy(one.at, sent);
    }
    reader.done = true;
    one.through->taken(*std::exchange(one.from, nullptr));
    --to.pending;
    if (!borrow) lent.give_back();
  }

  void stop_if_sealed() {
    if (team_.fate().sealed()) [[unlikely]] stop();
  }

  // What a stopped rank borrowed it never reads again, and its owner may be waiting for that before it can say why.
  [[noreturn]] void stop() {
    for (auto& each : slots_) {
      if (each->live) release(*each);
    }
    if (team_.fate().origin() == rank_) team_.returned(rank_);
    bell_.wait(patience, [&] { return team_.fate().told(); });
    throw team_.fate().verdict(rank_);
  }

  [[noreturn]] void disagree(const slot& at, const incoming& one) const {
    throw contract_violation(
        say("rank %d, exchange %ld: receive %d from rank %d is %s, but rank %d sent %s in its exchange %ld", rank_,
            at.step, static_cast<int>(&one - at.receives.data()), one.at.peer, described(one.at).text, one.at.peer,
            described(one.from->sent()).text, one.from->step()),
        {.rank = rank_, .peer = one.at.peer, .step = at.step, .origin = rank_});
  }

  [[noreturn]] void expire(const slot& on) const {
    double const seconds = std::chrono::duration<double>(team_.deadline()).count();
    for (incoming const& one : on.receives) {
      if (one.from == nullptr) continue;
      throw timeout_error(say("rank %d, exchange %ld: waited %g s for receive %d, and rank %d did not send it", rank_,
                              on.step, seconds, static_cast<int>(&one - on.receives.data()), one.at.peer),
                          {.rank = rank_, .peer = one.at.peer, .step = on.step, .origin = rank_});
    }
    auto const unread = [&](const mailbox::place* at) { return at->full() && at->sent().lease == &on.lent; };
    std::size_t first = 0;
    while (first + 1 < on.sends.size() && !unread(on.sends[first])) ++first;
    int const peer = on.sends[first]->sent().peer;
    throw timeout_error(say("rank %d, exchange %ld: waited %g s for rank %d to %s send %d", rank_, on.step, seconds,
                            peer, unread(on.sends[first]) ? "receive" : "release", static_cast<int>(first)),
                        {.rank = rank_, .peer = peer, .step = on.step, .origin = rank_});
  }

  void link(slot& made) noexcept {
    made.linked = true;
    made.previous = std::exchange(last_, &made);
    made.next = nullptr;
    (made.previous ? made.previous->next : first_) = &made;
  }

  void unlink(slot& gone) noexcept {
    gone.linked = false;
    (gone.previous ? gone.previous->next : first_) = gone.next;
    (gone.next ? gone.next->previous : last_) = gone.previous;
  }

  team<Stream>& team_;
  int rank_;
  std::atomic<bool> inside_{false};
  slot* first_ = nullptr;
  slot* last_ = nullptr;
  slot* free_ = nullptr;
  std::vector<std::unique_ptr<slot>> slots_;
  alignas(128) bell bell_;
};

}  // namespace ringfold::detail
