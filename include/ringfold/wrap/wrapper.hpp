#pragma once

#include <utility>

#include <ringfold/core/reject.hpp>

/// \file
/// What every decorator of a communicator passes on; a decorator overrides the one verb that it is about.

namespace ringfold {

/// Passes everything on to an inner communicator but post(), which the derived class adds.
template <communicator C>
class wrapper {
 public:
  using stream = stream_t<C>;

  int rank() const noexcept { return inner_.rank(); }
  int size() const noexcept { return inner_.size(); }
  ringfold::axis axis() const { return axis_of(inner_); }
  int wire(int rank) const { return ringfold::wire(inner_, rank); }
  void poison(std::exception_ptr why) noexcept {
    if constexpr (requires { inner_.poison(why); }) inner_.poison(why);
  }

 protected:
  explicit wrapper(C inner) : inner_(std::move(inner)) {}
  C inner_;
};

/// Passes everything on to an inner request; a derived class calls these and adds its own.
template <communicator C>
class request_wrapper {
 public:
  using stream = stream_t<C>;

  request_wrapper() = default;
  explicit request_wrapper(request_t<C> inner) : inner_(std::move(inner)) {}

  void arrived(stream on) { inner_.arrived(on); }
  void reusable(stream on) { inner_.reusable(on); }
  bool test() { return inner_.test(); }
  piece received(int index)
    requires lends<C>
  {
    return inner_.received(index);
  }
  void release(stream on)
    requires lends<C>
  {
    inner_.release(on);
  }

 protected:
  request_t<C> inner_;
};

}  // namespace ringfold
