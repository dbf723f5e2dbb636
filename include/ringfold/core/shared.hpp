#pragma once

#include <utility>

/// \file
/// Values that never change, shared by their copies.

namespace ringfold {

/// A handle of a value that is made once and never changes: copies share it, from any thread, and allocate nothing.
///
/// The standard's own would cost every includer its memory header. A handle that was default-made or moved from is empty.
template <class T>
class shared {
 public:
  shared() = default;
  explicit shared(T value) : held_(new counted{static_cast<T&&>(value)}) {}
  shared(const shared& other) noexcept : held_(other.held_) {
    if (held_ != nullptr) __atomic_add_fetch(&held_->handles, 1, __ATOMIC_RELAXED);
  }
  shared(shared&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
  shared& operator=(shared other) noexcept {
    std::swap(held_, other.held_);
    return *this;
  }
  ~shared() {
    if (held_ != nullptr && __atomic_sub_fetch(&held_->handles, 1, __ATOMIC_ACQ_REL) == 0) delete held_;
  }

  explicit operator bool() const { return held_ != nullptr; }
  const T& operator*() const { return held_->value; }
  const T* operator->() const { return &held_->value; }

 private:
  struct counted {
    T const value;
    long handles = 1;
  };
  counted* held_ = nullptr;
};

}  // namespace ringfold
