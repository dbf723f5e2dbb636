#pragma once

#include <chrono>
#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <ringfold/wrap/wrapper.hpp>

/// \file
/// A transport as hostile as it may be: messages are late, memory that receives holds garbage until they arrived, and what
/// is sent is copied at once, or as late as can be.

/// When the transport reads what is sent.
enum class delivery { eager, late };

/// A communicator that dawdles at random in every call. What is received may be overwritten from post() to arrived(), and
/// is: with bytes of 0xff, which are no number. Eager sends are read by post(), late ones when the receiver is there.
template <ringfold::communicator C>
class shaken : public ringfold::wrapper<C> {
 public:
  using stream = ringfold::stream_t<C>;

  class request : public ringfold::request_wrapper<C> {
   public:
    request() = default;
    request(ringfold::request_t<C> inner, std::vector<std::vector<unsigned char>> sent, std::uint64_t seed, bool eager)
        : ringfold::request_wrapper<C>(std::move(inner)), sent_(std::move(sent)), random_(seed), eager_(eager) {}
    request(request&&) = default;
    request& operator=(request&& other) {
      this->inner_ = std::move(other.inner_);  // waits for the exchange before, which may still read what was copied
      sent_ = std::move(other.sent_), random_ = other.random_, eager_ = other.eager_;
      return *this;
    }
    ~request() { this->inner_ = {}; }

    void arrived(stream on) {
      dawdle(random_);
      this->inner_.arrived(on);
      dawdle(random_);
    }
    void reusable(stream on) {
      if (!eager_) this->inner_.reusable(on);
      dawdle(random_);
    }

   private:
    std::vector<std::vector<unsigned char>> sent_;
    std::minstd_rand random_{1};
    bool eager_ = false;
  };

  shaken(C inner, delivery how, std::uint64_t seed)
      : ringfold::wrapper<C>(std::move(inner)),
        how_(how),
        random_(static_cast<unsigned>(seed * 64 + static_cast<unsigned>(this->rank()) + 1)) {}

  request post(ringfold::exchange x, stream on) {
    dawdle(random_);
    for (const ringfold::piece& each : x.receives) {
      if (each.data == nullptr) continue;
      for_each_run(each, [](unsigned char* at, std::size_t bytes) { std::memset(at, 0xff, bytes); });
    }
    std::vector<ringfold::piece> sends(x.sends.begin(), x.sends.end());
    std::vector<std::vector<unsigned char>> copies;
    for (ringfold::piece& each : sends) {
      if (how_ == delivery::late) continue;
      auto& copy = copies.emplace_back(static_cast<std::size_t>(each.bytes()));
      ringfold::piece to = each;
      to.data = copy.data(), to.lease = nullptr;
      ringfold::extent stride = each.type.bytes();
      for (int axis = 3; axis >= 0; --axis) to.strides[axis] = stride, stride *= to.extents[axis];
      ringfold::host_stream{}.copy(to, each);
      each = to;
    }
    auto posted = this->inner_.post({.sends = sends, .receives = x.receives, .shape = x.shape}, on);
    dawdle(random_);
    return {std::move(posted), std::move(copies), random_(), how_ == delivery::eager};
  }

 private:
  /// Most calls lose no time, some give way, a few sleep.
  static void dawdle(std::minstd_rand& random) {
    auto const draw = random() % 16;
    if (draw == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
    if (draw < 6) std::this_thread::yield();
  }

  template <class F>
  static void for_each_run(const ringfold::piece& of, F f) {
    for (ringfold::extent a = 0; a < of.extents[0]; ++a) {
      for (ringfold::extent b = 0; b < of.extents[1]; ++b) {
        for (ringfold::extent c = 0; c < of.extents[2]; ++c) {
          for (ringfold::extent d = 0; d < of.extents[3]; ++d) {
            f(static_cast<unsigned char*>(of.data) + a * of.strides[0] + b * of.strides[1] + c * of.strides[2] +
                  d * of.strides[3],
              static_cast<std::size_t>(of.type.bytes()));
          }
        }
      }
    }
  }

  delivery how_;
  std::minstd_rand random_;
};
