#pragma once

#include <chrono>
#include <vector>

#include <ringfold/core/exchange.hpp>

/// \file
/// The records of a trace, and where each rank keeps its own.

namespace ringfold {

/// What a record of a trace tells of: the three verbs of an exchange with its pieces, and the three of an attention.
enum class activity : std::uint8_t { post, send, receive, arrived, reusable, prepare, accumulate, close };

/// One span of time on one rank; pieces are moments within their post.
struct trace_record {
  activity what = activity::post;
  role carries = role::other;  ///< of a piece
  bool present = true;         ///< of an accumulated block: false when it had nothing for this rank
  int peer = -1;               ///< of a piece, as the wire numbers it
  int owner = -1;              ///< of an accumulated block
  extent step = -1;            ///< of a post, its pieces and its waits: the exchange, counted from 0 on this track
  extent bytes = 0;            ///< of a piece; of a post: all that it sends
  std::int64_t begin = 0;      ///< nanoseconds since the log was made
  std::int64_t end = 0;
};

/// What one rank does, in order of beginning: a span stands before those within it. One thread writes it.
class alignas(64) trace_track {
 public:
  using clock = std::chrono::steady_clock;

  /// Room for `capacity` records, the only memory there will be.
  trace_track(clock::time_point start, extent capacity) : start_(start), records_(static_cast<std::size_t>(capacity)) {}

  /// A record that ends when this is destroyed, by an exception too.
  class [[nodiscard]] recording {
   public:
    recording(const recording&) = delete;
    recording& operator=(const recording&) = delete;
    ~recording() {
      if (at_ != nullptr) at_->end = track_.now();
    }

   private:
    friend trace_track;
    recording(trace_track& track, trace_record* at) : track_(track), at_(at) {}
    trace_track& track_;
    trace_record* at_;
  };

  /// Begins a span; one that finds no room is counted as dropped.
  recording open(trace_record what) noexcept { return {*this, note(what)}; }

  /// Records a moment. Null, and counted as dropped, when there is no room.
  trace_record* note(trace_record what) noexcept {
    if (used_ == records_.size()) {
      ++dropped_;
      return nullptr;
    }
    what.begin = what.end = now();
    return &(records_[used_++] = what);
  }

  extent next_step() noexcept { return steps_++; }
  span<const trace_record> records() const { return {records_.data(), used_}; }
  extent dropped() const { return dropped_; }

 private:
  std::int64_t now() const noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - start_).count();
  }

  clock::time_point start_;
  std::vector<trace_record> records_;
  std::size_t used_ = 0;
  extent dropped_ = 0;
  extent steps_ = 0;
};

/// One track per rank on one clock, owned by the caller; read it when the ranks have ended.
class trace_log {
 public:
  /// \throws usage_error when there are no ranks, or the room for records per rank is negative.
  trace_log(int ranks, extent records_per_rank) {
    if (ranks < 1 || records_per_rank < 0) {
      throw usage_error(
          say("trace_log: %d ranks with room for %lld records each; allowed are 1 rank and more, and "
              "room for 0 and more",
              ranks, static_cast<long long>(records_per_rank)));
    }
    auto const start = trace_track::clock::now();
    tracks_.reserve(static_cast<std::size_t>(ranks));
    for (int rank = 0; rank < ranks; ++rank) tracks_.emplace_back(start, records_per_rank);
  }

  int ranks() const { return static_cast<int>(tracks_.size()); }
  trace_track& operator[](int rank) { return tracks_[static_cast<std::size_t>(rank)]; }
  const trace_track& operator[](int rank) const { return tracks_[static_cast<std::size_t>(rank)]; }

 private:
  std::vector<trace_track> tracks_;
};

}  // namespace ringfold
