#include <doctest/doctest.h>

#include <ringfold/core/reject.hpp>

using namespace ringfold;

// A concept is tested by models that have everything but one thing.
namespace {

struct request {
  request() = default;
  request(request&&) = default;
  request& operator=(request&&) = default;
  void arrived(host_stream);
  void reusable(host_stream);
  bool test();
};

struct everything {
  using stream = host_stream;
  int rank() const noexcept;
  int size() const noexcept;
  request post(exchange, stream);
};
static_assert(request_on<request, host_stream> && communicator<everything>);

// Requests.
struct no_arrived : request {
  void arrived(host_stream) = delete;
};
struct no_reusable : request {
  void reusable(host_stream) = delete;
};
struct no_test : request {
  void test();
};
struct copyable_request {
  void arrived(host_stream);
  void reusable(host_stream);
  bool test();
};
struct immovable_request : request {
  immovable_request() = default;
  immovable_request(immovable_request&&) = delete;
};
struct request_without_default : request {
  explicit request_without_default(int);
};
struct request_of_another_stream {
  request_of_another_stream() = default;
  request_of_another_stream(request_of_another_stream&&) = default;
  request_of_another_stream& operator=(request_of_another_stream&&) = default;
  void arrived(phantom_stream);
  void reusable(phantom_stream);
  bool test();
};
static_assert(!request_on<no_arrived, host_stream> && !request_on<no_reusable, host_stream>);
static_assert(!request_on<no_test, host_stream> && !request_on<copyable_request, host_stream>);
static_assert(!request_on<immovable_request, host_stream> && !request_on<request_without_default, host_stream>);
static_assert(!request_on<request_of_another_stream, host_stream> &&
              request_on<request_of_another_stream, phantom_stream>);
static_assert(!request_on<void, host_stream> && !request_on<int, host_stream>);

struct lending : request {
  piece received(int);
  void release(host_stream);
};
struct no_received : request {
  void release(host_stream);
};
struct no_release : request {
  piece received(int);
};
struct received_is_a_pointer : no_received {
  void* received(int);
};
static_assert(lending_request_on<lending, host_stream> && !lending_request_on<request, host_stream>);
static_assert(!lending_request_on<no_received, host_stream> && !lending_request_on<no_release, host_stream>);
static_assert(!lending_request_on<received_is_a_pointer, host_stream>);

// Communicators.
struct no_rank {
  using stream = host_stream;
  int size() const noexcept;
  request post(exchange, stream);
};
struct rank_may_throw : no_rank {
  int rank() const;
};
struct rank_is_long : no_rank {
  long rank() const noexcept;
};
struct rank_is_not_const : no_rank {
  int rank() noexcept;
};
struct no_size {
  using stream = host_stream;
  int rank() const noexcept;
  request post(exchange, stream);
};
struct size_may_throw : no_size {
  int size() const;
};
struct no_stream {
  int rank() const noexcept;
  int size() const noexcept;
  request post(exchange, host_stream);
};
struct stream_is_none : no_stream {
  using stream = int;
};
struct no_post {
  using stream = host_stream;
  int rank() const noexcept;
  int size() const noexcept;
};
struct post_without_stream : no_post {
  request post(exchange);
};
struct post_gives_nothing : no_post {
  void post(exchange, stream);
};
struct post_gives_a_copyable_request : no_post {
  copyable_request post(exchange, stream);
};
struct not_copyable : everything {
  not_copyable(not_copyable&&) = default;
  not_copyable& operator=(not_copyable&&) = default;
};
static_assert(!communicator<no_rank> && !communicator<rank_may_throw> && !communicator<rank_is_long>);
static_assert(!communicator<rank_is_not_const> && !communicator<no_size> && !communicator<size_may_throw>);
static_assert(!communicator<no_stream> && !communicator<stream_is_none> && !communicator<not_copyable>);
static_assert(!communicator<no_post> && !communicator<post_without_stream> && !communicator<post_gives_nothing>);
static_assert(!communicator<post_gives_a_copyable_request> && !communicator<int>);

// Each part of the message looks at its own part only.
static_assert(detail::has_stream<everything> && detail::has_rank<everything> && detail::has_size<everything>);
static_assert(detail::has_post<everything> && detail::has_request<everything>);
static_assert(!detail::has_rank<no_rank> && detail::has_size<no_rank> && detail::has_request<no_rank>);
static_assert(!detail::has_rank<rank_may_throw> && !detail::has_size<size_may_throw>);
static_assert(!detail::has_size<no_size> && detail::has_rank<no_size> && detail::has_request<no_size>);
static_assert(!detail::has_stream<no_stream> && !detail::has_stream<stream_is_none> && detail::has_rank<no_stream>);
static_assert(!detail::has_post<no_post> && !detail::has_post<post_without_stream>);
static_assert(detail::has_post<post_gives_nothing> && !detail::has_request<post_gives_nothing>);
static_assert(!detail::has_request<post_gives_a_copyable_request>);

struct other_axis : everything {
  ringfold::axis axis() const { return {3, 2}; }
  int wire(int rank) const { return 3 * rank + 1; }
};

}  // namespace

TEST_CASE("a communicator may say where its ranks stand") {
  other_axis const c{};
  CHECK(axis_of(c).stride == 3);
  CHECK(axis_of(c).count == 2);
  CHECK(wire(c, 1) == 4);
}
