#pragma once

#include <ringfold/comm/mpi_wire.hpp>
#include <ringfold/core/communicator.hpp>

/// \file
/// Ranks that are MPI processes.

namespace ringfold {

/// MPI processes exchanging host memory over a private duplicate of an MPI communicator.
///
/// Copies share the duplicate; it is freed when the last copy and the last request are gone. Strided pieces travel as
/// MPI datatypes, unpacked; long ones are split. Received sizes are checked exactly; element types and roles do
/// not travel, so a mismatch of equal size goes unseen. `exchange::shape` is not used. Calls of one rank must not
/// overlap in time (MPI_THREAD_SERIALIZED). MPI moves large messages only while a rank waits or calls test().
///
/// Errors: usage_error before anything is sent. contract_violation (sizes differ), timeout_error and transport_error
/// poison the duplicate and end all ranks by MPI_Abort after one line on stderr, or throw; see on_failure.
class mpi {
 public:
  using stream = host_stream;

  /// The claim on a posted exchange.
  ///
  /// Dropping it waits, up to the deadline, until MPI no longer touches its memory, and at most a second while an
  /// exception unwinds; it never throws. Memory that a peer still reads then ends all ranks.
  class request {
   public:
    request() = default;
    request(request&&) = default;
    request& operator=(request&& other) noexcept {
      if (this != &other) {
        finish();
        wire_ = std::move(other.wire_);
        exchange_ = std::move(other.exchange_);
      }
      return *this;
    }
    ~request() { finish(); }

    void arrived(host_stream) { wait(&detail::mpi_exchange::receives); }
    void reusable(host_stream) { wait(&detail::mpi_exchange::sends); }
    bool test() {
      if (!exchange_) return true;
      wire_->progress(*exchange_);
      return exchange_->receives + exchange_->sends == 0;
    }

   private:
    friend class mpi;
    request(std::shared_ptr<detail::mpi_wire> wire) : wire_(std::move(wire)), exchange_(wire_->take()) {}

    void wait(int detail::mpi_exchange::*left) {
      if (exchange_) wire_->wait(*exchange_, left);
    }
    void finish() noexcept {
      if (!exchange_) return;
      wire_->drain(*exchange_);
      wire_->give(std::move(exchange_));
    }

    std::shared_ptr<detail::mpi_wire> wire_{};
    std::unique_ptr<detail::mpi_exchange> exchange_{};
  };

  /// Duplicates `comm`; collective over its ranks. \throws usage_error when MPI is not running or not for this thread.
  explicit mpi(MPI_Comm comm, const mpi_options& options = {})
      : wire_(std::make_shared<detail::mpi_wire>(comm, options)) {}

  int rank() const noexcept { return wire_->rank; }
  int size() const noexcept { return wire_->size; }

  request post(exchange x, host_stream) {
    wire_->check(x);
    request made(wire_);
    wire_->post(x, *made.exchange_);
    return made;
  }

  /// Tells why this rank cannot go on: ends all ranks or, with throw_only, makes later posts throw.
  void poison(std::exception_ptr why) noexcept { wire_->poison(why); }

  /// A second wire between the same ranks, with an order of its own; collective.
  friend mpi split(const mpi& from) { return mpi(from.wire_->comm, from.wire_->options); }

 private:
  std::shared_ptr<detail::mpi_wire> wire_;
};

static_assert(communicator<mpi>);

}  // namespace ringfold
