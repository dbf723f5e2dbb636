// Communicators that break one law each: the laws must find that, and say which it was.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include <ringfold/comm/self.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/testing/communicator_laws.hpp>

using namespace ringfold;

namespace {

/// The law that a communicator of `ranks` threads breaks when `made(threads)` stands before it.
template <class Make, class Stream = host_stream>
std::string broken_law(int ranks, Make made, Stream = {}) {
  try {
    run_ranks<Stream>(ranks, [&](basic_threads<Stream> comm) { communicator_laws(made(comm)); },
                      {.deadline = std::chrono::seconds(5)});
  } catch (const law_violation& broken) {
    std::string const text = broken.what();
    return text.substr(0, text.find(':'));
  } catch (const std::exception& other) {
    return other.what();
  }
  return "none";
}

constexpr auto as_it_is = [](auto comm) { return comm; };

/// What every wrapper here shares.
struct wrapper {
  using stream = host_stream;
  threads inner;
  std::vector<piece> sends{}, receives{};

  int rank() const noexcept { return inner.rank(); }
  int size() const noexcept { return inner.size(); }
  void poison(std::exception_ptr why) { inner.poison(why); }
};

struct backwards : wrapper {
  auto post(exchange x, host_stream s) {
    sends.assign(x.sends.begin(), x.sends.end());
    std::ranges::reverse(sends);
    return inner.post({sends, x.receives, x.shape}, s);
  }
};

struct careless : wrapper {
  auto post(exchange x, host_stream s) {
    sends.clear(), receives.clear();
    for (piece each : x.sends) each.peer < 0 ? void() : sends.push_back(each);
    for (piece each : x.receives) each.peer < 0 ? void() : receives.push_back(each);
    return inner.post({sends, receives, x.shape}, s);
  }
};

struct single_wire : wrapper {
  auto post(exchange x, host_stream s) { return inner.post(x, s); }
  friend single_wire split(const single_wire& whole) { return whole; }
};

/// A communicator with requests of its own.
template <class Request>
struct with_request : wrapper {
  Request post(exchange x, host_stream s) { return Request(inner.post(x, s)); }
};

struct request_wrapper {
  request_wrapper() = default;
  explicit request_wrapper(threads::request from) : inner(std::move(from)) {}
  request_wrapper(request_wrapper&&) = default;
  request_wrapper& operator=(request_wrapper&&) = default;
  void arrived(host_stream s) { inner.arrived(s); }
  void reusable(host_stream s) { inner.reusable(s); }
  bool test() { return inner.test(); }
  threads::request inner;
};

struct reusable_too_early : request_wrapper {
  using request_wrapper::request_wrapper;
  void reusable(host_stream) {}
};

struct dropped_undone : request_wrapper {
  using request_wrapper::request_wrapper;
  dropped_undone(dropped_undone&&) = default;
  dropped_undone& operator=(dropped_undone&& from) {
    std::swap(inner, from.inner);
    return *this;
  }
  ~dropped_undone() { undone().push_back(std::move(inner)); }
  static std::vector<threads::request>& undone() {
    thread_local std::vector<threads::request> all;
    return all;
  }
};

struct released_too_early : request_wrapper {
  using request_wrapper::request_wrapper;
  void arrived(host_stream s) {
    inner.arrived(s);
    inner.release(s);
  }
  piece received(int i) { return inner.received(i); }
  void release(host_stream) {}
};

struct never_complete : request_wrapper {
  using request_wrapper::request_wrapper;
  bool test() { return inner.test() && false; }
};

/// Receives are posted when somebody waits for them.
struct lazy : wrapper {
  struct request {
    void arrived(host_stream s) {
      if (!waiting) return;
      received = from->inner.post({{}, receives}, s);
      received.arrived(s);
      waiting = false;
    }
    void reusable(host_stream s) {
      sent.reusable(s);
      arrived(s);
    }
    bool test() {
      reusable({});
      return true;
    }
    lazy* from = nullptr;
    std::vector<piece> receives{};
    threads::request sent{}, received{};
    bool waiting = false;
  };
  request post(exchange x, host_stream s) {
    return {this, {x.receives.begin(), x.receives.end()}, inner.post({x.sends, {}}, s), {}, true};
  }
};

struct ignores_strides : host_stream {
  void copy(const piece& to, const piece& from) const {
    if (from.bytes() > 0) std::memcpy(to.data, from.data, static_cast<std::size_t>(from.bytes()));
  }
};

struct copies_a_mebibyte : host_stream {
  void copy(piece to, piece from) const {
    if (from.bytes() > 1 << 20) to.extents[3] = from.extents[3] = (1 << 20) / from.type.bytes();
    host_stream::copy(to, from);
  }
};

template <class Wrapper>
constexpr auto wrapped = [](threads comm) { return Wrapper{{comm}}; };
template <class Request>
constexpr auto requested = [](threads comm) { return with_request<Request>{{comm}}; };

}  // namespace

TEST_CASE("a good communicator breaks no law") {
  CHECK(broken_law(3, as_it_is) == "none");
  CHECK(broken_law(4, [](threads comm) { return grid(comm, 2, 2).col(); }) == "none");
  CHECK(broken_law(6, [](threads comm) { return group(comm, comm.rank() % 2, 2, 3); }) == "none");
  CHECK(broken_law(9, [](threads comm) { return split(comm); }) == "none");
  CHECK(broken_law(3, requested<request_wrapper>) == "none");
}

TEST_CASE("each broken law is found and named") {
  CHECK(broken_law(2, wrapped<backwards>) == "one way");
  CHECK(broken_law(2, wrapped<lazy>) == "pairing");
  CHECK(broken_law(1, wrapped<careless>) == "refusal");
  CHECK(broken_law(2, wrapped<single_wire>) == "wires");
  CHECK(broken_law(1, requested<reusable_too_early>) == "reusable before arrived");
  CHECK(broken_law(1, requested<dropped_undone>) == "drop drains");
  CHECK(broken_law(1, requested<released_too_early>) == "lending");
  CHECK(broken_law(1, requested<never_complete>) == "empty exchange");
  CHECK(broken_law(2, as_it_is, ignores_strides{}) == "strided");
  CHECK(broken_law(2, as_it_is, copies_a_mebibyte{}) == "large");
}
