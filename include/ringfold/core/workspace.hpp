#pragma once

#include <cstddef>
#include <cstdint>

#include <ringfold/core/stream.hpp>

/// \file
/// Scratch memory, asked for and given: the code that takes it is the code that measures it.

namespace ringfold {

/// Hands out aligned pieces of one block of memory; owns nothing.
///
/// A measuring arena has no memory: what is taken from it must not be touched, and used() is what a real one needs.
template <class Space = host_space>
class arena {
 public:
  static constexpr extent alignment = 64;

  /// An arena that only measures.
  arena() = default;

  /// \throws usage_error when the memory is not aligned to 64 bytes.
  arena(void* memory, extent bytes) : base_(reinterpret_cast<std::uintptr_t>(memory)), bytes_(bytes) {
    if (base_ % alignment != 0) {
      throw usage_error(say("workspace: memory at %p, %d bytes behind a multiple of 64; begin at a multiple", memory,
                            static_cast<int>(base_ % alignment)));
    }
  }

  /// Takes room for `count` elements of T. \throws usage_error when the arena is too small.
  template <class T>
  T* take(extent count) {
    extent const first = used_;
    used_ = checked_add(used_, round_up(checked_multiply(count, sizeof(T)), alignment));
    if (used_ > bytes_) {
      throw usage_error(say("workspace: %lld bytes given, more than that needed; ask workspace_bytes() first",
                            static_cast<long long>(bytes_)));
    }
    return reinterpret_cast<T*>(base_ + static_cast<std::uintptr_t>(first));
  }

  /// Takes room for a dense view.
  template <class T, std::integral... E>
  auto take_view(E... extents) {
    auto made = dense<Space>(static_cast<T*>(nullptr), extents...);
    made.data = take<T>(made.size());
    return made;
  }

  /// Lets f(0) .. f(count - 1) take the same memory one after the other, for what is used one at a time.
  template <class F>
  void take_in_turn(int count, F f) {
    extent const first = used_;
    extent most = first;
    for (int turn = 0; turn < count; ++turn) {
      used_ = first;
      f(turn);
      most = used_ > most ? used_ : most;
    }
    used_ = most;
  }

  extent used() const { return used_; }
  bool measuring() const { return base_ == nowhere; }

 private:
  // Bit 54 lies outside every user address space in use, so a stray read faults.
  static constexpr std::uintptr_t nowhere = std::uintptr_t{1} << 54;

  std::uintptr_t base_ = nowhere;
  extent bytes_ = extent{1} << 53;
  extent used_ = 0;
};

namespace detail {

/// An arena for each of some workers, at least one, with room for what take(arena) takes.
class arenas_of_workers {
 public:
  arenas_of_workers() = default;
  template <class F>
  arenas_of_workers(int workers, arena<host_space>& memory, F take) : workers_(workers > 1 ? workers : 1) {
    arena<host_space> nowhere;
    take(nowhere);
    bytes_ = nowhere.used();
    memory_ = memory.take<std::byte>(checked_multiply(workers_, bytes_));
  }
  /// A worker's, with nothing taken yet.
  arena<host_space> operator[](int worker) const { return {memory_ + worker * bytes_, bytes_}; }
  int workers() const { return workers_; }

 private:
  int workers_ = 1;
  std::byte* memory_ = nullptr;
  extent bytes_ = 0;
};

}  // namespace detail
}  // namespace ringfold
