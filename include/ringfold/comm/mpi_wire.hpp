#pragma once

#include <memory>
#include <vector>

#include <ringfold/comm/check.hpp>
#include <ringfold/comm/mpi_datatypes.hpp>
#include <ringfold/comm/mpi_duplicate.hpp>
#include <ringfold/comm/patience.hpp>
#include <ringfold/comm/split_piece.hpp>

/// \file
/// What all copies of one ringfold::mpi share, and what is in flight on it.

namespace ringfold::detail {

struct mpi_message {
  MPI_Datatype type;  // MPI_BYTE, or taken from the wire's datatypes
  extent bytes;
  int peer;
  bool receives;
  bool open;
};

/// What one post left in flight.
struct mpi_exchange {
  long step = 0;
  int exceptions = 0;           // in flight when it was posted; more of them mean that the stack is unwinding
  int receives = 0, sends = 0;  // still open
  std::vector<mpi_message> messages{};
  std::vector<MPI_Request> requests{};
  std::vector<MPI_Status> statuses{};
  std::vector<int> done{};
};

class mpi_wire : public mpi_duplicate {
 public:
  using mpi_duplicate::mpi_duplicate;

  std::unique_ptr<mpi_exchange> take() {
    if (idle_.empty()) {
      idle_.reserve(++made_);
      return std::make_unique<mpi_exchange>();
    }
    std::unique_ptr<mpi_exchange> taken = std::move(idle_.back());
    idle_.pop_back();
    return taken;
  }

  void give(std::unique_ptr<mpi_exchange> finished) noexcept {
    finished->messages.clear();
    finished->requests.clear();
    idle_.push_back(std::move(finished));  // take() reserved the room
  }

  /// \throws usage_error before anything is posted when a piece cannot be exchanged.
  void check(const exchange& x) {
    check_thread();
    if (poisoned_) throw poisoned(cause_, {rank, -1, next_, rank});
    check_exchange(x, size);
    for (piece const& each : x.receives) {
      if (borrows(each))
        throw usage_error(say("post: a receive from rank %d has no memory, and MPI lends none", each.peer));
    }
  }

  /// Posts receives before sends; what was posted is in `to` even when this throws.
  void post(const exchange& x, mpi_exchange& to) {
    to.step = next_++;
    to.exceptions = std::uncaught_exceptions();
    to.receives = to.sends = 0;
    std::size_t count = 0;
    auto const counted = [&](const piece&) { ++count; };
    for (piece const& each : x.receives) split_piece(each, options.max_message_bytes, counted);
    for (piece const& each : x.sends) split_piece(each, options.max_message_bytes, counted);
    to.messages.reserve(count);
    to.requests.reserve(count);
    to.statuses.resize(count);
    to.done.resize(count);
    for (piece const& each : x.receives) {
      split_piece(each, options.max_message_bytes, [&](const piece& part) { start(part, true, to); });
    }
    for (piece const& each : x.sends) {
      split_piece(each, options.max_message_bytes, [&](const piece& part) { start(part, false, to); });
    }
  }

  /// Makes progress on all of an exchange; never blocks.
  void progress(mpi_exchange& x) {
    if (x.receives + x.sends == 0) return;
    int count = 0;
    int const code =
        MPI_Testsome(static_cast<int>(x.requests.size()), x.requests.data(), &count, x.done.data(), x.statuses.data());
    if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) {
      fail(transport_error(say("exchange %ld: MPI_Testsome failed: %s", x.step, mpi_text(code).text), at(x, -1)));
    }
    if (count == MPI_UNDEFINED) count = 0;
    for (int i = 0; i < count; ++i) close(x, static_cast<std::size_t>(x.done[static_cast<std::size_t>(i)]));
    for (int i = 0; i < count; ++i) {
      std::size_t const at = static_cast<std::size_t>(i), message = static_cast<std::size_t>(x.done[at]);
      judge(x, x.messages[message], x.statuses[at], code == MPI_ERR_IN_STATUS);
    }
  }

  /// Waits until the messages that `left` counts are complete.
  void wait(mpi_exchange& x, int mpi_exchange::*left) {
    for (patience waiting(deadline()); x.*left > 0;) {
      progress(x);
      if (x.*left == 0) return;
      if (waiting.pause()) continue;
      progress(x);  // this rank itself may have been stopped
      if (x.*left > 0) fail(overdue(x, left == &mpi_exchange::receives, deadline()));
    }
  }

  /// Waits until the transport no longer touches the memory of an exchange that nobody waited for.
  void drain(mpi_exchange& x) noexcept {
    if (x.receives + x.sends == 0 || mpi_finalized()) return;
    bool const hurry = poisoned_ || std::uncaught_exceptions() > x.exceptions;
    double const whole = deadline(), seconds = hurry && (whole <= 0 || whole > 1) ? 1 : whole;
    if (settles(x, seconds)) return;
    line const text = say("%s%s", overdue(x, x.receives > 0, seconds).what(), hurry ? "; a failure was unwinding" : "");
    if (options.failure == on_failure::abort && !hurry) end_all_ranks(rank, text.text);
    poison(text);
    for (std::size_t i = 0; i < x.requests.size(); ++i) {
      if (x.messages[i].open && x.messages[i].receives) MPI_Cancel(&x.requests[i]);
    }
    // A send cannot be taken back, and its memory is about to go.
    if (!settles(x, 0.1)) end_all_ranks(rank, text.text);
  }

  /// Later posts throw; by policy all ranks end here and now, while what is in flight is still alive.
  void poison(const std::exception_ptr& why) noexcept {
    ending const end = ending_of(why);
    if (options.failure == on_failure::abort) end_all_ranks(rank, end.text.text, end.code);
    poison(end.text);
  }
  void poison(const line& text) noexcept {
    if (!poisoned_) cause_ = text;
    poisoned_ = true;
  }

 private:
  static constexpr int tag = 0;  // order pairs the messages

  /// Some MPIs cut what a rank sends itself to what it expects, and report success.
  void check_self(const mpi_exchange& x, extent bytes, bool receives) {
    if (unmatched_.empty() || unmatched_receives_ == receives) {
      unmatched_receives_ = receives;
      unmatched_.push_back(bytes);
      return;
    }
    extent const other = unmatched_.front();
    unmatched_.erase(unmatched_.begin());
    if (other == bytes) return;
    fail(contract_violation(
        say("exchange %ld: rank %d sent itself %lld bytes where %lld were expected", x.step, rank,
            static_cast<long long>(receives ? other : bytes), static_cast<long long>(receives ? bytes : other)),
        at(x, rank)));
  }

  void start(const piece& part, bool receives, mpi_exchange& to) {
    if (part.peer == rank) check_self(to, part.bytes(), receives);
    strided_runs const shape = runs_of(part);
    bool const plain = shape.axes == 0;
    MPI_Datatype const type = plain ? MPI_BYTE : datatypes_.take(shape);
    int const count = plain ? static_cast<int>(shape.run) : 1;
    MPI_Request started = MPI_REQUEST_NULL;
    int const code = receives                    ? MPI_Irecv(part.data, count, type, part.peer, tag, comm, &started)
                     : options.synchronous_sends ? MPI_Issend(part.data, count, type, part.peer, tag, comm, &started)
                                                 : MPI_Isend(part.data, count, type, part.peer, tag, comm, &started);
    if (code != MPI_SUCCESS) {
      if (!plain) datatypes_.give(type);
      fail(transport_error(say("exchange %ld: %s rank %d failed: %s", to.step,
                               receives ? "MPI_Irecv from" : "MPI_Isend to", part.peer, mpi_text(code).text),
                           at(to, part.peer)));
    }
    to.messages.push_back({type, part.bytes(), part.peer, receives, true});
    to.requests.push_back(started);
    ++(receives ? to.receives : to.sends);
  }

  void close(mpi_exchange& x, std::size_t i) {
    mpi_message& message = x.messages[i];
    message.open = false;
    x.requests[i] = MPI_REQUEST_NULL;
    --(message.receives ? x.receives : x.sends);
  }

  void judge(mpi_exchange& x, mpi_message& message, MPI_Status& status, bool failed) {
    int const code = failed ? status.MPI_ERROR : MPI_SUCCESS;
    int cancelled = 0, kind = MPI_SUCCESS;
    MPI_Count bytes = 0;
    if (code != MPI_SUCCESS) {
      MPI_Error_class(code, &kind);
    } else if (message.receives) {
      MPI_Get_elements_x(&status, message.type, &bytes);
      if (bytes != message.bytes) MPI_Test_cancelled(&status, &cancelled);
    }
    if (message.type != MPI_BYTE) datatypes_.give(message.type);
    if (kind == MPI_ERR_TRUNCATE) {
      fail(contract_violation(say("exchange %ld: rank %d sent more than the %lld bytes that were expected", x.step,
                                  message.peer, static_cast<long long>(message.bytes)),
                              at(x, message.peer)));
    }
    if (code != MPI_SUCCESS) {
      fail(transport_error(say("exchange %ld: %s rank %d failed: %s", x.step,
                               message.receives ? "receiving from" : "sending to", message.peer, mpi_text(code).text),
                           at(x, message.peer)));
    }
    if (message.receives && cancelled == 0 && bytes != message.bytes) {
      fail(contract_violation(say("exchange %ld: rank %d sent %lld bytes where %lld were expected", x.step,
                                  message.peer, static_cast<long long>(bytes), static_cast<long long>(message.bytes)),
                              at(x, message.peer)));
    }
  }

  bool settles(mpi_exchange& x, double seconds) noexcept {
    for (patience waiting(seconds);;) {
      try {
        progress(x);
      } catch (const error&) {  // nobody looks at what is dropped; the wire is poisoned
      }
      if (x.receives + x.sends == 0) return true;
      if (!waiting.pause()) return false;
    }
  }

  /// What a wait for receives, or for sends, is still about.
  timeout_error overdue(const mpi_exchange& x, bool receives, double seconds) const {
    for (mpi_message const& each : x.messages) {
      if (!each.open || each.receives != receives) continue;
      return timeout_error(say("exchange %ld: rank %d did not %s %lld bytes within %g s", x.step, each.peer,
                               receives ? "send" : "receive", static_cast<long long>(each.bytes), seconds),
                           at(x, each.peer));
    }
    return timeout_error(say("exchange %ld: not complete within %g s", x.step, seconds), at(x, -1));
  }

  place at(const mpi_exchange& x, int peer) const { return {rank, peer, x.step, rank}; }

  template <class E>
  [[noreturn]] void fail(const E& failure) {
    poison(say("%s", failure.what()));
    if (options.failure == on_failure::abort) end_all_ranks(rank, failure.what());
    throw failure;
  }

  long next_ = 0;
  bool poisoned_ = false;
  line cause_{};
  mpi_datatypes datatypes_{};
  std::vector<std::unique_ptr<mpi_exchange>> idle_{};
  std::size_t made_ = 0;
  std::vector<extent> unmatched_{};  // sizes of this rank's messages to itself whose other end is not posted yet
  bool unmatched_receives_ = false;
};

}  // namespace ringfold::detail
