#pragma once

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include <ringfold/comm/threads.hpp>
#include <ringfold/wrap/wrapper.hpp>

/// \file
/// In which round a message goes out: one after all that its sender had heard by then, and after all it had sent.

namespace compare_scans {

/// The rounds of all messages between the ranks of a process, in the order in which they are sent.
class round_board {
 public:
  explicit round_board(int ranks) : ranks_(ranks), rounds_(static_cast<std::size_t>(ranks * ranks)) {}

  void send(int from, int to, int round) {
    std::lock_guard const lock(guard_);
    at(from, to).push_back(round);
  }
  int receive(int from, int to, std::size_t index) {
    std::lock_guard const lock(guard_);
    return at(from, to)[index];
  }

 private:
  std::vector<int>& at(int from, int to) { return rounds_[static_cast<std::size_t>(from * ranks_ + to)]; }

  std::mutex guard_;
  int ranks_;
  std::vector<std::vector<int>> rounds_;
};

/// What one rank has heard and sent.
struct round_clock {
  round_board* board;
  int heard = 0, sent = 0;
  std::vector<std::size_t> received;  ///< messages by sender

  round_clock(round_board& of, int ranks) : board(&of), received(static_cast<std::size_t>(ranks)) {}
  int rounds() const { return std::max(heard, sent); }
};

/// A communicator of threads that tells the rounds of what is sent.
class by_rounds : public ringfold::wrapper<ringfold::threads> {
 public:
  using stream = ringfold::host_stream;

  class request : public ringfold::request_wrapper<ringfold::threads> {
   public:
    request() = default;
    request(ringfold::request_t<ringfold::threads> inner, round_clock* clock, int rank)
        : request_wrapper(std::move(inner)), clock_(clock), rank_(rank) {}

    void expect(int from) { from_.push_back({from, clock_->received[static_cast<std::size_t>(from)]++}); }
    void arrived(stream on) {
      request_wrapper::arrived(on);
      for (auto const& [from, index] : from_)
        clock_->heard = std::max(clock_->heard, clock_->board->receive(from, rank_, index));
      from_.clear();
    }

   private:
    round_clock* clock_ = nullptr;
    int rank_ = 0;
    std::vector<std::pair<int, std::size_t>> from_;
  };

  by_rounds(ringfold::threads inner, round_clock& clock) : wrapper(std::move(inner)), clock_(&clock) {}

  request post(ringfold::exchange x, stream on) {
    int const round = clock_->rounds() + 1;
    for (auto const& each : x.sends) {
      if (each.peer == rank()) continue;
      clock_->board->send(rank(), each.peer, round);
      clock_->sent = round;
    }
    request made(inner_.post(x, on), clock_, rank());
    for (auto const& each : x.receives) {
      if (each.peer != rank()) made.expect(each.peer);
    }
    return made;
  }

 private:
  round_clock* clock_;
};

}  // namespace compare_scans
