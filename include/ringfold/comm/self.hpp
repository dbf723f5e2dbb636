#pragma once

#include <memory>
#include <vector>

#include <ringfold/comm/check.hpp>

/// \file
/// One rank alone: what it sends, it receives itself.

namespace ringfold {

/// The only rank of its world. Copies are the same communicator; one thread uses it.
///
/// A message is copied, or lent, as soon as both its send and its receive are posted. Nobody else could ever post the
/// missing one, so a wait for it throws instead of waiting.
template <class Stream = host_stream>
class basic_self {
  struct posted;
  struct message {
    piece at;
    posted* by;
    std::size_t index;
  };

  // An exchange on its way; slots are used again.
  struct posted {
    std::vector<piece> received;  // lent memory has a lease
    long step = 0;
    int pending = 0;  // receives without a send so far
    int claims = 0;   // sends that nobody received so far, and loans
    posted* next_free = nullptr;
  };

  struct world {
    std::vector<message> sends, receives;  // those that wait for each other; one of the two is empty
    std::vector<std::unique_ptr<posted>> slots;
    posted* free = nullptr;
    long steps = 0;
    bool broken = false;
  };

 public:
  using stream = Stream;

  /// The claim on an exchange; see request_on and lending_request_on.
  class request {
   public:
    request() = default;
    request(request&& from) noexcept : world_(std::move(from.world_)), slot_(std::exchange(from.slot_, nullptr)) {}
    request& operator=(request&& from) noexcept {
      if (this != &from) {
        finish();
        world_ = std::move(from.world_);
        slot_ = std::exchange(from.slot_, nullptr);
      }
      return *this;
    }
    ~request() { finish(); }

    /// \throws contract_violation when a receive has no send
    void arrived(Stream) {
      if (slot_ && slot_->pending > 0) stuck(slot_->pending, "receives have no send");
    }
    /// \throws contract_violation when a send has no receive, or what was lent was not released
    void reusable(Stream) {
      if (slot_ && slot_->claims > 0) stuck(slot_->claims, "sends have no receive, or were lent and not released");
    }
    /// Whether it arrived and is reusable.
    bool test() { return !slot_ || (slot_->pending == 0 && slot_->claims == 0); }
    /// Where the i-th receive is, once it arrived. \throws usage_error before that, and where there is none
    piece received(int i) const {
      if (!slot_ || i < 0 || i >= static_cast<int>(slot_->received.size()) || slot_->pending > 0) {
        throw usage_error(say("received(%d): there is no such receive, or it has not arrived", i));
      }
      return slot_->received[static_cast<std::size_t>(i)];
    }
    /// Gives back what was borrowed; it must not be read any more.
    void release(Stream) noexcept {
      if (slot_) basic_self::release(*slot_);
    }

   private:
    friend basic_self;
    request(std::shared_ptr<world> in, posted& slot) : world_(std::move(in)), slot_(&slot) {}

    [[noreturn]] void stuck(int count, const char* why) {
      world_->broken = true;
      throw contract_violation(say("self, exchange %ld: waits for ever, %d of its %s", slot_->step, count, why),
                               {.rank = 0, .peer = 0, .step = slot_->step, .origin = 0});
    }

    void finish() noexcept {
      if (!slot_) return;
      basic_self::release(*slot_);
      if (!test()) {  // nobody will ever complete it: its pieces leave, and the pairing is lost
        world_->broken = true;
        auto const mine = [this](const message& m) { return m.by == slot_; };
        std::erase_if(world_->sends, mine);
        std::erase_if(world_->receives, mine);
      } else {
        slot_->next_free = std::exchange(world_->free, slot_);
      }
      slot_ = nullptr;
    }

    std::shared_ptr<world> world_;
    posted* slot_ = nullptr;
  };

  int rank() const noexcept { return 0; }
  int size() const noexcept { return 1; }

  /// Posts an exchange. \throws usage_error, size_overflow: nothing was sent; contract_violation; poisoned
  request post(const exchange& x, Stream s) {
    detail::check_exchange(x, 1);
    if (world_->broken) throw poisoned(say("self: an exchange before this one failed"), {.rank = 0, .origin = 0});
    request made(world_, open(x));
    posted& slot = *made.slot_;
    for (std::size_t i = 0; i < x.sends.size(); ++i) {
      piece sent = x.sends[i];
      if (sent.lease == nullptr) sent.lease = &slot;
      ++static_cast<posted*>(sent.lease)->claims;
      world_->sends.push_back({sent, &slot, i});
      match(s);
    }
    for (std::size_t i = 0; i < x.receives.size(); ++i) {
      slot.received.push_back(x.receives[i]);
      slot.received.back().lease = nullptr;
      ++slot.pending;
      world_->receives.push_back({x.receives[i], &slot, i});
      match(s);
    }
    return made;
  }

  /// Makes every later post throw `poisoned`.
  void poison(std::exception_ptr) noexcept { world_->broken = true; }

  /// A second wire with an order of its own.
  friend basic_self split(const basic_self&) { return {}; }

 private:
  posted& open(const exchange& x) {
    if (world_->free == nullptr) {
      world_->slots.push_back(std::make_unique<posted>());
      world_->free = world_->slots.back().get();
    }
    posted& made = *world_->free;
    made.received.reserve(x.receives.size());
    world_->free = made.next_free;
    made.received.clear();
    made.step = world_->steps++;
    return made;
  }

  void match(Stream s) {
    auto& [sends, receives, slots, free, steps, broken] = *world_;
    if (sends.empty() || receives.empty()) return;
    message const sent = sends.front(), to = receives.front();
    if (!detail::matches(sent.at, to.at)) {
      broken = true;
      throw contract_violation(say("self: receive %d of exchange %ld is %s, but send %d of exchange %ld is %s",
                                   static_cast<int>(to.index), to.by->step, detail::described(to.at).text,
                                   static_cast<int>(sent.index), sent.by->step, detail::described(sent.at).text),
                               {.rank = 0, .peer = 0, .step = to.by->step, .origin = 0});
    }
    sends.erase(sends.begin());
    receives.erase(receives.begin());
    auto* const owner = static_cast<posted*>(sent.at.lease);
    if (detail::borrows(to.at)) {
      to.by->received[to.index] = sent.at;
      to.by->received[to.index].what = to.at.what;
    } else {
      s.copy(to.at, sent.at);
      --owner->claims;
    }
    --to.by->pending;
  }

  static void release(posted& slot) noexcept {
    for (piece& each : slot.received) {
      if (each.lease) --static_cast<posted*>(std::exchange(each.lease, nullptr))->claims;
    }
  }

  std::shared_ptr<world> world_ = std::make_shared<world>();
};

using self = basic_self<>;

}  // namespace ringfold
