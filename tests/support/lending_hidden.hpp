#pragma once

#include <utility>

#include <ringfold/comm/threads.hpp>
#include <ringfold/wrap/wrapper.hpp>

/// \file
/// Thread ranks that do not lend, so that what is received needs memory.

/// A communicator whose requests cannot lend, so that an algorithm's own buffers are used.
template <class C>
class lending_hidden : public ringfold::wrapper<C> {
 public:
  using stream = ringfold::stream_t<C>;
  class request {
   public:
    request() = default;
    explicit request(ringfold::request_t<C> inner) : inner_(std::move(inner)) {}
    void arrived(stream on) { inner_.arrived(on); }
    void reusable(stream on) { inner_.reusable(on); }
    bool test() { return inner_.test(); }

   private:
    ringfold::request_t<C> inner_;
  };
  explicit lending_hidden(C inner) : ringfold::wrapper<C>(std::move(inner)) {}
  request post(ringfold::exchange x, stream on) { return request(this->inner_.post(x, on)); }
};
static_assert(!ringfold::lends<lending_hidden<ringfold::threads>> && ringfold::lends<ringfold::threads>);
