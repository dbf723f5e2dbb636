#pragma once

#include <ringfold/wrap/wrapper.hpp>

/// \file
/// Counts what is sent, so that a test can hold it against the published formula.

namespace ringfold {

/// What one rank has sent since the last reset. Self-sends are not counted: they do not leave the rank.
struct counters {
  extent steps = 0;     ///< exchanges posted with at least one piece to or from another rank
  extent messages = 0;  ///< pieces sent
  extent bytes[role_count] = {};
  extent in_flight = 0;   ///< bytes of own receives that have not arrived yet
  extent high_water = 0;  ///< the most that in_flight has been

  /// Bytes sent, of every role.
  constexpr extent total_bytes() const {
    extent sum = 0;
    for (extent const each : bytes) sum += each;
    return sum;
  }
};

/// A communicator that counts into a rank's counters, which the caller keeps alive.
///
/// Wrap before making groups, and every group counts into the same.
/// \snippet wrap/counted_test.cpp counted
template <communicator C>
class counted : public wrapper<C> {
 public:
  using stream = stream_t<C>;

  class request : public request_wrapper<C> {
   public:
    request() = default;
    request(request_t<C> inner, counters* book, extent receives)
        : request_wrapper<C>(std::move(inner)), book_(book), receives_(receives) {}
    request(request&& other) noexcept
        : request_wrapper<C>(std::move(other)),
          book_(std::exchange(other.book_, nullptr)),
          receives_(std::exchange(other.receives_, 0)) {}
    request& operator=(request&& other) noexcept {
      if (this == &other) return *this;
      request_wrapper<C>::operator=(std::move(other));
      landed();
      book_ = std::exchange(other.book_, nullptr);
      receives_ = std::exchange(other.receives_, 0);
      return *this;
    }
    ~request() { landed(); }

    void arrived(stream on) {
      this->inner_.arrived(on);
      landed();
    }

   private:
    void landed() noexcept {
      if (book_ != nullptr) book_->in_flight -= std::exchange(receives_, 0);
    }

    counters* book_ = nullptr;
    extent receives_ = 0;
  };

  counted(C inner, counters& book) : wrapper<C>(std::move(inner)), book_(&book) {}

  request post(exchange x, stream on) {
    int const me = this->wire(this->rank());
    extent receives = 0;
    bool others = false;
    for (const piece& each : x.receives) {
      if (each.peer == me) continue;
      receives += each.bytes();
      others = true;
    }
    request_t<C> posted = this->inner_.post(x, on);  // counts only what was accepted
    for (const piece& each : x.sends) {
      if (each.peer == me) continue;
      book_->bytes[static_cast<int>(each.what)] += each.bytes();
      ++book_->messages;
      others = true;
    }
    book_->steps += others;
    book_->in_flight += receives;
    if (book_->in_flight > book_->high_water) book_->high_water = book_->in_flight;
    return {std::move(posted), book_, receives};
  }

 private:
  counters* book_;
};

}  // namespace ringfold
