#pragma once

#include <atomic>
#include <list>
#include <mutex>
#include <utility>

#include <ringfold/core/exchange.hpp>

/// \file
/// Messages from one rank to another, in the order of their posting.

namespace ringfold::detail {

/// Where the k-th send of a pair of ranks meets its k-th receive, whichever comes first.
///
/// One thread sends and one receives. Places stand on pages; a page whose messages were all taken is used again,
/// so that a steady exchange allocates nothing. Only the turn of a page takes the lock.
class mailbox {
  struct page;

 public:
  /// Room for one message: the sender writes it until it is full, the receiver reads it from then on.
  class alignas(64) place {
   public:
    /// Publishes a message of the sender's exchange number `step`, which sends borrowed memory on or not.
    void send(const piece& sent, long step, bool sent_on) noexcept {
      sent_ = sent;
      sent_on_ = sent_on;
      step_ = step;
      full_.store(true);
    }
    bool full() const noexcept { return full_.load(); }
    const piece& sent() const noexcept { return sent_; }
    long step() const noexcept { return step_; }
    bool sent_on() const noexcept { return sent_on_; }

    /// What fits in here is copied when it is posted: cheaper than to wait until it was read elsewhere.
    static constexpr extent room = 40;
    piece inside(const piece& like) noexcept {
      piece made = like;
      made.data = small_;
      made.lease = nullptr;
      extent stride = made.type.bytes();
      for (int axis = 3; axis >= 0; --axis) made.strides[axis] = std::exchange(stride, stride * made.extents[axis]);
      return made;
    }

   private:
    friend mailbox;
    std::atomic<bool> full_{false};
    bool sent_on_ = false;
    page* on_ = nullptr;
    alignas(8) std::byte small_[room];
    long step_ = 0;
    piece sent_{};
  };

  place& next_to_send() { return next(sender_); }
  place& next_to_receive() { return next(receiver_); }

  /// The receiver needs the message no more; its place may be written again.
  void taken(place& from) {
    from.full_.store(false);
    page& on = *from.on_;
    if (++on.taken < places) return;
    on.taken = 0;
    std::lock_guard const hold(turning_);
    on.next = std::exchange(spare_, &on);
  }

 private:
  static constexpr int places = 16;

  struct page {
    place at[places];
    alignas(64) int taken = 0;  // the receiver's
    page* next = nullptr;
  };

  struct alignas(128) cursor {
    page* on = nullptr;
    int index = 0;
  };

  // Both cursors leave a page with its last place, before that place can be taken: nobody stands on a spare page.
  place& next(cursor& of) {
    if (of.on == nullptr) of.on = turn(first_);
    place& found = of.on->at[of.index];
    page* const on = of.index + 1 < places ? of.on : turn(of.on->next);
    of = {on, (of.index + 1) % places};
    return found;
  }

  // Follows a link; who comes first makes the page behind it.
  page* turn(page*& link) {
    std::lock_guard const hold(turning_);
    if (link == nullptr) {
      if (spare_ == nullptr) {
        pages_.emplace_back();
        spare_ = &pages_.back();
        for (place& each : spare_->at) each.on_ = spare_;
      }
      link = std::exchange(spare_, spare_->next);
      link->next = nullptr;
    }
    return link;
  }

  cursor sender_, receiver_;
  alignas(128) std::mutex turning_;
  page* first_ = nullptr;
  page* spare_ = nullptr;
  std::list<page> pages_;
};

}  // namespace ringfold::detail
