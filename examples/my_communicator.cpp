// A communicator of one's own: processes that exchange over UNIX sockets, one for each ordered pair of ranks.
// It is held to the laws of a communicator, and then carries ring attention. Usage: my_communicator [ranks]

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <vector>

#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/check.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/testing/communicator_laws.hpp>

using namespace ringfold;

namespace {

// --- The transport: pieces queue at sockets, and all sockets make progress together ---

/// A piece on its way through a socket, packed.
struct transfer {
  piece what;
  std::vector<char> bytes;
  std::size_t moved = 0;
  std::shared_ptr<int> left;  // pieces that its exchange has yet to receive

  /// The piece as it lies in `bytes`.
  piece packed() {
    piece made = what;
    made.data = bytes.data();
    extent stride = made.type.bytes();
    for (int axis = 3; axis >= 0; --axis) made.strides[axis] = stride, stride *= made.extents[axis];
    return made;
  }
};

struct mesh {
  int rank, size;
  std::vector<int> to, from;  // a socket for each rank
  std::vector<std::deque<transfer>> sending, receiving;
  bool broken = false;

  mesh(int me, std::vector<int> out, std::vector<int> in)
      : rank(me), size(static_cast<int>(out.size())), to(out), from(in), sending(out.size()), receiving(in.size()) {}
  mesh(const mesh&) = delete;
  mesh& operator=(const mesh&) = delete;

  /// Moves what the sockets take and give now, after waiting for one of them if asked to.
  void progress(bool wait) {
    std::vector<pollfd> ready;
    for (std::size_t peer = 0; peer < to.size(); ++peer) {
      ready.push_back({sending[peer].empty() ? -1 : to[peer], POLLOUT, 0});
      ready.push_back({receiving[peer].empty() ? -1 : from[peer], POLLIN, 0});
    }
    if (wait && poll(ready.data(), ready.size(), 60'000) == 0) fail(timeout_error(say("sockets: nothing for 60 s")));
    for (std::size_t peer = 0; peer < to.size(); ++peer) {
      move(sending[peer], [&](char* data, std::size_t count) { return ::send(to[peer], data, count, MSG_NOSIGNAL); });
      move(receiving[peer], [&](char* data, std::size_t count) { return ::recv(from[peer], data, count, 0); });
    }
  }

  ~mesh() {
    while (!broken && std::any_of(sending.begin(), sending.end(), [](auto& queue) { return !queue.empty(); })) {
      try {
        progress(true);
      } catch (const error&) {}
    }
    for (auto* sockets : {&to, &from}) std::for_each(sockets->begin(), sockets->end(), close);
  }

 private:
  template <class F>
  void move(std::deque<transfer>& queue, F some) {
    while (!queue.empty()) {
      transfer& first = queue.front();
      if (first.moved < first.bytes.size()) {
        ssize_t const count = some(first.bytes.data() + first.moved, first.bytes.size() - first.moved);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (count <= 0) fail(peer_failed(say("sockets: rank %d lost rank %d", rank, first.what.peer)));
        first.moved += static_cast<std::size_t>(count);
      } else {
        if (first.left) {
          host_stream().copy(first.what, first.packed());
          --*first.left;
        }
        queue.pop_front();
      }
    }
  }

  /// Nothing in flight touches anybody's memory any more.
  template <class E>
  [[noreturn]] void fail(const E& why) {
    broken = true;
    for (auto* queues : {&sending, &receiving}) {
      for (auto& each : *queues) each.clear();
    }
    throw why;
  }
};

}  // namespace

//! [my_communicator]
class sockets {
 public:
  using stream = host_stream;

  class request {
   public:
    request() = default;
    request(request&&) = default;
    request& operator=(request&& other) noexcept {
      request finished(std::move(*this));
      mesh_ = std::move(other.mesh_), left_ = std::move(other.left_);
      return *this;
    }
    ~request() {
      try {
        arrived({});
      } catch (const error&) {  // then nothing is in flight
      }
    }
    void arrived(stream) {
      while (!test()) mesh_->progress(true);
    }
    void reusable(stream) {}  // what was sent has been copied
    bool test() {
      if (!left_ || *left_ == 0) return true;
      if (mesh_->broken) throw peer_failed(say("sockets: an exchange failed before"));
      mesh_->progress(false);
      return *left_ == 0;
    }

   private:
    friend sockets;
    std::shared_ptr<mesh> mesh_;
    std::shared_ptr<int> left_;
  };

  explicit sockets(std::shared_ptr<mesh> connected) : mesh_(std::move(connected)) {}
  int rank() const noexcept { return mesh_->rank; }
  int size() const noexcept { return mesh_->size; }

  request post(exchange x, stream s) {
    check_exchange(x, size());
    request made;
    made.mesh_ = mesh_;
    made.left_ = std::make_shared<int>(static_cast<int>(x.receives.size()));
    auto const enter = [](auto& queues, const piece& p, std::shared_ptr<int> left) -> transfer& {
      std::vector<char> bytes(static_cast<std::size_t>(p.bytes()));
      return queues[static_cast<std::size_t>(p.peer)].emplace_back(transfer{p, std::move(bytes), 0, std::move(left)});
    };
    for (const piece& each : x.receives) enter(mesh_->receiving, each, made.left_);
    for (const piece& each : x.sends) s.copy(enter(mesh_->sending, each, nullptr).packed(), each);
    mesh_->progress(false);
    return made;
  }

 private:
  std::shared_ptr<mesh> mesh_;
};
static_assert(communicator<sockets>);
//! [my_communicator]

namespace {

/// Runs f(communicator) in processes of their own; true when f returned true in all of them.
template <class F>
bool run_processes(int ranks, F f) {
  auto const count = static_cast<std::size_t>(ranks);
  std::vector<std::vector<int>> to(count, std::vector<int>(count)), from = to;  // [rank][peer]
  for (std::size_t a = 0; a < count; ++a) {
    for (std::size_t b = 0; b < count; ++b) {
      int pair[2];
      if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0) throw transport_error(say("no socket pair"));
      to[a][b] = pair[0], from[b][a] = pair[1];
    }
  }
  auto const close_all_but = [&](int kept) {
    for (auto* all : {&to, &from}) {
      for (std::size_t rank = 0; rank < count; ++rank) {
        if (static_cast<int>(rank) != kept) std::for_each((*all)[rank].begin(), (*all)[rank].end(), close);
      }
    }
  };
  for (int rank = 0; rank < ranks; ++rank) {
    if (fork() != 0) continue;
    close_all_but(rank);
    bool good = false;
    try {
      auto const me = static_cast<std::size_t>(rank);
      auto const connected = std::make_shared<mesh>(rank, to[me], from[me]);
      good = f(sockets(connected));
    } catch (const std::exception& e) {
      std::fprintf(stderr, "rank %d: %s\n", rank, e.what());
    }
    std::fflush(stdout);
    _exit(good ? 0 : 1);
  }
  close_all_but(-1);
  bool good = true;
  for (int status = 0; wait(&status) > 0;) good = good && status == 0;
  return good;
}

/// Ring attention over a communicator against the definition on one rank, for this rank's rows.
template <communicator C>
bool ring_is_right(C comm) {
  extent const tokens = 120, heads = 4, dim = 16;
  layout const rows = contiguous(tokens, comm.size());
  extent const first = rows.rows(comm.rank()) > 0 ? rows.segments(comm.rank())[0].first : 0;
  std::mt19937 random(1);
  std::uniform_real_distribution<float> number(-1, 1);
  std::vector<float> q(static_cast<std::size_t>(tokens * heads * dim)), k = q, v = q, out = q, exact = q;
  for (auto* each : {&q, &k, &v}) std::generate(each->begin(), each->end(), [&] { return number(random); });

  auto const whole = [&](std::vector<float>& all) { return dense(all.data(), 1, tokens, heads, dim); };
  plan(ring(self(), reference_kernel{}),
       make_problem<float>(contiguous(tokens, 1), {.heads = heads, .dim = dim}, causal()))
      .forward(whole(q), whole(k), whole(v), whole(exact));

  auto const mine = [&](auto& all) { return slice(whole(all), row_axis, first, rows.rows(comm.rank())); };
  plan(ring(comm, reference_kernel{}), make_problem<float>(rows, {.heads = heads, .dim = dim}, causal()))
      .forward(mine(q), mine(k), mine(v), mine(out));

  float worst = 0;
  host_stream().elementwise([&](float a, float b) { worst = std::max(worst, std::fabs(a - b)); }, mine(out),
                            mine(exact));
  std::printf("rank %d of %d, process %d: the largest error is %.1e\n", comm.rank(), comm.size(), getpid(), worst);
  return worst < 1e-6F;  // outputs are means of values up to 1, which floats hold to 6e-8
}

}  // namespace

int main(int argc, char** argv) {
  int const ranks = argc > 1 ? std::atoi(argv[1]) : 4;
  if (ranks < 1 || ranks > 16) {
    std::fprintf(stderr, "my_communicator: %s ranks; allowed are 1..16\n", argv[1]);
    return 2;
  }
  return run_processes(ranks,
                       [](sockets comm) {
                         communicator_laws(comm, 1);
                         return ring_is_right(comm);
                       })
             ? 0
             : 1;
}
