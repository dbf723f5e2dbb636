#pragma once

#include <list>
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
  enum class state { pending, borrowed, done };
  piece at{};  ///< the receiver's memory; the sender's, once borrowed
  mailbox* through = nullptr;
  mailbox::place* from = nullptr;
  state is = state::pending;
};

/// An exchange on its way. Slots are used again, so that their vectors keep their memory.
template <class Stream>
struct posted {
  explicit posted(bell& owner) : lent(owner) {}

  lease lent;
  std::vector<incoming> receives;
  std::vector<mailbox::place*> sends;  ///< own memory on its way
  [[no_unique_address]] Stream stream{};
  int pending = 0;       ///< receives not taken yet
  int unwinding = 0;     ///< exceptions under way when it was posted
  int lent_to = -1;      ///< the last peer that own memory was sent to
  long step = 0;         ///< counted per rank and wire
  bool live = false;     ///< a request holds it
  bool dropped = false;  ///< nobody will look at what it borrows
  bool linked = false;   ///< stands among the exchanges with pending receives
  posted* previous = nullptr;
  posted* next = nullptr;

  /// Whether all its own memory was read, and given back where it was lent.
  bool reusable() noexcept {
    while (!sends.empty() && !(sends.back()->full() && sends.back()->sent().lease == &lent)) sends.pop_back();
    return sends.empty() && !lent.claimed();
  }
  bool complete() noexcept { return pending == 0 && reusable(); }
};

/// One rank's end of all its wires. Its own thread calls it, and nobody else; but anybody rings.
template <class Stream>
class alignas(128) member {
 public:
  using slot = posted<Stream>;

  std::atomic<bool> has_returned{false};

  member(team<Stream>& all, int rank) : team_(all), rank_(rank) {}

  int rank() const noexcept { return rank_; }
  int size() const noexcept { return team_.size(); }
  void ring() noexcept { bell_.ring(); }
  bool reads() const noexcept { return reads_.load(); }

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
      slots_.emplace_back(bell_);
      free_ = &slots_.back();
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
    mailbox::place& at = through.next_to_send();
    piece message = sent;
    if (std::same_as<typename Stream::space, host_space> && sent.bytes() <= mailbox::place::room) {
      message = at.inside(sent);
      of.stream.copy(message, sent);
    } else if (sent.lease != nullptr) {
      static_cast<lease*>(sent.lease)->send_on();
    } else {
      message.lease = &of.lent;
      of.sends.push_back(&at);
      of.lent_to = sent.peer;
    }
    at.send(message, of.step, message.lease != &of.lent && message.lease != nullptr);
    team_.at(sent.peer).ring();
  }

  void receive(slot& of, const piece& expected, mailbox& through) {
    of.receives.push_back({expected, &through, &through.next_to_receive()});
    of.receives.back().at.lease = nullptr;
    ++of.pending;
  }

  void wait_arrived(slot& on) {
    stop_if_sealed();
    if (on.pending == 0) return;
    wait(on, [&] { return on.pending == 0; });
  }

  void wait_reusable(slot& on) {
    stop_if_sealed();
    if (on.reusable()) return;
    wait(on, [&] { return on.reusable(); });
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
    if (one.is == incoming::state::pending)
      throw usage_error(say("received(%d): it has not arrived; call arrived() before", i));
    return one.at;
  }

  void poison(std::exception_ptr why) noexcept {
    try {
      if (why == nullptr) throw transport_error(say("rank %d called poison()", rank_), {.rank = rank_});
      std::rethrow_exception(why);
    } catch (...) {
      team_.poison_by_current(rank_);
    }
  }

  /// Gives back what the exchange borrowed.
  void release(slot& of) noexcept {
    for (incoming& each : of.receives) {
      if (each.is != incoming::state::borrowed) continue;
      each.is = incoming::state::done;
      if (each.at.lease) {
        static_cast<lease*>(each.at.lease)->give_back();
      } else {
        each.through->taken(*each.from);
      }
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
      bell_.wait(bell::forever, [&] { return !team_.reading() && !ending.lent.borrowed(); });
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

  /// While it lasts, no owner frees memory, for this rank may be reading it; it begins only while no rank has failed.
  class reading {
   public:
    explicit reading(member& by) : by_(by) { by_.reads_.store(true); }
    reading(const reading&) = delete;
    reading& operator=(const reading&) = delete;
    ~reading() {
      by_.reads_.store(false);
      if (by_.team_.fate().sealed()) by_.team_.ring_all();
    }

   private:
    member& by_;
  };

  template <class Ready>
  void wait(slot& on, Ready ready) {
    bool const in_time = bell_.wait(team_.deadline(), [&] {
      progress();
      if (ready()) return true;
      if (team_.any_returned()) [[unlikely]]
        look_for_returned(on);
      return false;
    });
    if (!in_time) expire(on);
  }

  /// Takes every message that is there, for all open exchanges: ranks that wait for old ones must not block each other.
  void progress() {
    stop_if_sealed();
    for (slot *each = first_, *following = nullptr; each != nullptr; each = following) {
      following = each->next;
      for (incoming& one : each->receives) {
        if (one.is == incoming::state::pending && one.from->full()) take(*each, one);
      }
      if (each->pending == 0) unlink(*each);
    }
  }

  void take(slot& to, incoming& one) {
    piece const& sent = one.from->sent();
    if (!matches(sent, one.at)) disagree(to, one);
    auto* const lent = static_cast<lease*>(sent.lease);
    bool const sent_on = one.from->sent_on(), lend = borrows(one.at), borrow = lend && !to.dropped;
    bool allowed = true;
    if (lent) {
      reading const here(*this);
      allowed = !team_.fate().sealed();
      if (allowed && !lend) to.stream.copy(one.at, sent);
      if (allowed && borrow) lent->borrow();
    } else if (!lend) {
      to.stream.copy(one.at, sent);
    }
    if (!allowed) stop();
    if (borrow) one.at = lent_as(one.at, sent);
    one.is = borrow ? incoming::state::borrowed : incoming::state::done;
    --to.pending;
    if (lent || !borrow) one.through->taken(*one.from);
    if (sent_on) lent->was_read();
    if (lent) team_.at(one.at.peer).ring();
  }

  static piece lent_as(piece receive, const piece& sent) {
    receive.data = sent.data;
    receive.lease = sent.lease;
    for (int axis = 0; axis < 4; ++axis) receive.strides[axis] = sent.strides[axis];
    return receive;
  }

  void stop_if_sealed() {
    if (team_.fate().sealed()) [[unlikely]]
      stop();
  }

  // What a stopped rank borrowed it never reads again, and its owner may be waiting for that before it can say why.
  [[noreturn]] void stop() {
    for (auto& each : slots_) {
      if (each.live) release(each);
    }
    team_.caught(rank_);
    bell_.wait(patience, [&] { return team_.fate().told(); });
    throw team_.fate().verdict(rank_);
  }

  /// A rank that has returned sends and receives no more. Asked in this order: what it did, it did before it returned.
  void look_for_returned(const slot& on) const {
    for (incoming const& one : on.receives) {
      int const peer = one.at.peer;
      if (one.is != incoming::state::pending || !team_.has_returned(peer) || one.from->full()) continue;
      throw contract_violation(say("rank %d, exchange %ld: rank %d returned and never sent receive %d", rank_, on.step,
                                   peer, number_of(one, on)),
                               {.rank = rank_, .peer = peer, .step = on.step, .origin = rank_});
    }
    for (mailbox::place const* const each : on.sends) {
      int const peer = each->sent().peer;
      if (!team_.has_returned(peer) || !each->full()) continue;
      throw contract_violation(
          say("rank %d, exchange %ld: rank %d returned and never received what was sent to it", rank_, on.step, peer),
          {.rank = rank_, .peer = peer, .step = on.step, .origin = rank_});
    }
  }

  static int number_of(const incoming& one, const slot& of) { return static_cast<int>(&one - of.receives.data()); }

  [[noreturn]] void disagree(const slot& at, const incoming& one) const {
    throw contract_violation(
        say("rank %d, exchange %ld: receive %d from rank %d is %s, but rank %d sent %s in its exchange %ld", rank_,
            at.step, number_of(one, at), one.at.peer, described(one.at).text, one.at.peer,
            described(one.from->sent()).text, one.from->step()),
        {.rank = rank_, .peer = one.at.peer, .step = at.step, .origin = rank_});
  }

  [[noreturn]] void expire(const slot& on) const {
    double const seconds = std::chrono::duration<double>(team_.deadline()).count();
    for (incoming const& one : on.receives) {
      if (one.is != incoming::state::pending) continue;
      throw timeout_error(say("rank %d, exchange %ld: waited %g s for receive %d, and rank %d did not send it", rank_,
                              on.step, seconds, number_of(one, on), one.at.peer),
                          {.rank = rank_, .peer = one.at.peer, .step = on.step, .origin = rank_});
    }
    int const peer = on.sends.empty() ? on.lent_to : on.sends.back()->sent().peer;
    throw timeout_error(say("rank %d, exchange %ld: waited %g s for rank %d%s", rank_, on.step, seconds, peer,
                            on.sends.empty() ? ", or whom it sent it on to, to release what it was lent"
                                             : " to receive what was sent to it"),
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
  std::atomic<bool> reads_{false};
  slot* first_ = nullptr;
  slot* last_ = nullptr;
  slot* free_ = nullptr;
  std::list<slot> slots_;
  alignas(128) bell bell_;
};

}  // namespace ringfold::detail
