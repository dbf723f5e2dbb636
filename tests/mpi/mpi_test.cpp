#include <mpi_main.hpp>

#include <algorithm>
#include <chrono>
#include <span>
#include <thread>
#include <vector>

#include <ringfold/comm/mpi.hpp>
#include <ringfold/core/group.hpp>

using namespace ringfold;

namespace {

/// How the same exchanges are carried: as they are, cut into small messages, and without MPI's buffers.
std::vector<mpi_options> const& carriages() {
  static std::vector<mpi_options> const all = [] {
    mpi_options plain, cut, unbuffered;
    plain.deadline = cut.deadline = unbuffered.deadline = std::chrono::seconds(20);
    cut.max_message_bytes = 7;
    unbuffered.synchronous_sends = true;
    return std::vector{plain, cut, unbuffered};
  }();
  return all;
}

double value(int from, int to, extent i) { return from * 1e6 + to * 1e3 + static_cast<double>(i); }

std::vector<double> filled(int from, int to, extent count) {
  std::vector<double> made(static_cast<std::size_t>(count));
  for (extent i = 0; i < count; ++i) made[static_cast<std::size_t>(i)] = value(from, to, i);
  return made;
}

piece flat(std::vector<double>& data, int peer) {
  return piece_of(dense(data.data(), static_cast<extent>(data.size())), role::other, peer);
}

}  // namespace

TEST_CASE("a ring passes every block to everybody") {
  for (mpi_options const& options : carriages()) {
    mpi comm(MPI_COMM_WORLD, options);
    int const me = comm.rank(), size = comm.size();
    // Beyond any eager limit, so that large sends need the other side.
    extent const count = options.max_message_bytes == 7 ? 300 : 40000;
    std::vector<double> held = filled(me, 0, count), coming(held.size());
    for (int step = 1; step < size; ++step) {
      piece const send = flat(held, (me + 1) % size), receive = flat(coming, (me + size - 1) % size);
      auto request = comm.post({{&send, 1}, {&receive, 1}}, {});
      request.arrived({});
      request.reusable({});
      CHECK(request.test());
      std::swap(held, coming);
      REQUIRE(held == filled((me + size - step) % size, 0, count));
    }
  }
}

TEST_CASE("everybody to everybody, oneself and uneven and empty pieces included") {
  for (mpi_options const& options : carriages()) {
    mpi comm(MPI_COMM_WORLD, options);
    int const me = comm.rank(), size = comm.size();
    auto const length = [](int from, int to) { return extent{(from * 7 + to * 3) % 5} * 20; };
    std::vector<std::vector<double>> out, in;
    for (int peer = 0; peer < size; ++peer) {
      out.push_back(filled(me, peer, length(me, peer)));
      in.emplace_back(static_cast<std::size_t>(length(peer, me)));
    }
    std::vector<piece> sends, receives;
    for (int peer = 0; peer < size; ++peer) {
      sends.push_back(flat(out[static_cast<std::size_t>(peer)], peer));
      receives.push_back(flat(in[static_cast<std::size_t>(peer)], peer));
    }
    auto request = comm.post({sends, receives, pattern::all_to_all}, {});
    request.arrived({});
    for (int peer = 0; peer < size; ++peer) {
      REQUIRE(in[static_cast<std::size_t>(peer)] == filled(peer, me, length(peer, me)));
    }
    request.reusable({});
    comm.post({}, {}).arrived({});
  }
}

TEST_CASE("strided memory on both sides, each its own strides") {
  for (mpi_options const& options : carriages()) {
    mpi comm(MPI_COMM_WORLD, options);
    int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
    extent const rows = 9, heads = 4, dim = 6;
    for (int repeat = 0; repeat < 3; ++repeat) {
      // Sent from a packed qkv buffer [row, head, 3, dim]; received into [head, row, dim] with a gap behind each row.
      std::vector<float> packed(static_cast<std::size_t>(rows * heads * 3 * dim)), kept, room(9 * 4 * 10, -1);
      for (std::size_t i = 0; i < packed.size(); ++i) packed[i] = static_cast<float>(me * 10000 + static_cast<int>(i));
      kept = packed;
      view<float, 4> const from{packed.data() + dim, {1, rows, heads, dim}, {0, heads * 3 * dim, 3 * dim, 1}};
      view<float, 4> const to{room.data(), {1, rows, heads, dim}, {0, 10, rows * 10, 1}};
      piece const send = piece_of(from, role::key, next), receive = piece_of(to, role::key, previous);
      auto request = comm.post({{&send, 1}, {&receive, 1}}, {});
      request.arrived({});
      request.reusable({});
      for (extent row = 0; row < rows; ++row) {
        for (extent head = 0; head < heads; ++head) {
          for (extent d = 0; d < dim; ++d) {
            REQUIRE(to(0, row, head, d) ==
                    static_cast<float>(previous * 10000 + row * heads * 3 * dim + head * 3 * dim + dim + d));
          }
          for (extent d = dim; d < 10; ++d) REQUIRE((&to(0, row, head, 0))[d] == -1);
        }
      }
      REQUIRE(packed == kept);
    }
  }
}

TEST_CASE("negative strides and many shapes, more than are remembered") {
  mpi comm(MPI_COMM_WORLD, carriages()[0]);
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  for (extent rows = 1; rows < 150; ++rows) {
    std::vector<double> out = filled(me, 1, 2 * rows), in(out.size());
    view<double, 2> const backwards{out.data() + 2 * (rows - 1), {rows, 1}, {-2, 1}};
    view<double, 2> const every_second{in.data(), {rows, 1}, {2, 1}};
    piece const send = piece_of(backwards, role::other, next);
    piece const receive = piece_of(every_second, role::other, previous);
    auto request = comm.post({{&send, 1}, {&receive, 1}}, {});
    request.arrived({});
    request.reusable({});
    for (extent i = 0; i < rows; ++i) {
      REQUIRE(in[static_cast<std::size_t>(2 * i)] == value(previous, 1, 2 * (rows - 1 - i)));
      REQUIRE(in[static_cast<std::size_t>(2 * i + 1)] == 0);
    }
  }
}

TEST_CASE("the k-th send meets the k-th receive, however they are posted") {
  for (mpi_options const& options : carriages()) {
    mpi comm(MPI_COMM_WORLD, options);
    int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
    // Four numbers to the next rank: sent by exchanges of 1 and 3, received by exchanges of 3 and 1.
    std::vector<std::vector<double>> out, in(4, std::vector<double>(40));
    for (int k = 0; k < 4; ++k) out.push_back(filled(me, k, 40));
    std::vector<piece> sends, receives;
    for (std::size_t k = 0; k < 4; ++k) sends.push_back(flat(out[k], next)), receives.push_back(flat(in[k], previous));
    auto first = comm.post({{sends.data(), 1}, {receives.data(), 3}}, {});
    auto second = comm.post({{sends.data() + 1, 3}, {receives.data() + 3, 1}}, {});
    second.arrived({});
    second.reusable({});
    first.arrived({});
    first.reusable({});
    for (int k = 0; k < 4; ++k) REQUIRE(in[static_cast<std::size_t>(k)] == filled(previous, k, 40));
  }
}

TEST_CASE("two exchanges in flight are waited for in either order") {
  for (mpi_options const& options : carriages()) {
    mpi comm(MPI_COMM_WORLD, options);
    mpi same = comm;  // a copy: the same wire and order
    int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
    std::vector<double> out[2] = {filled(me, 0, 50), filled(me, 1, 70)}, in[2] = {out[0], out[1]};
    piece const sends[] = {flat(out[0], next), flat(out[1], next)};
    piece const receives[] = {flat(in[0], previous), flat(in[1], previous)};
    auto a = comm.post({{&sends[0], 1}, {&receives[0], 1}}, {});
    auto b = same.post({{&sends[1], 1}, {&receives[1], 1}}, {});
    if (me % 2 == 0) std::swap(a, b);
    b.arrived({});
    a.arrived({});
    CHECK(in[0] == filled(previous, 0, 50));
    CHECK(in[1] == filled(previous, 1, 70));
  }
}

TEST_CASE("rows and columns of a grid share the wire") {
  mpi comm(MPI_COMM_WORLD, carriages()[2]);
  int const columns = comm.size() % 2 == 0 ? 2 : 1;
  auto const ranks = grid(comm, comm.size() / columns, columns);
  auto const around = [&](auto group) {
    int const size = group.size(), me = group.rank();
    std::vector<double> out = filled(comm.rank(), 5, 30), in(30);
    piece const send = flat(out, wire(group, (me + 1) % size));
    piece const receive = flat(in, wire(group, (me + size - 1) % size));
    group.post({{&send, 1}, {&receive, 1}}, {}).arrived({});
    CHECK(in == filled(wire(group, (me + size - 1) % size), 5, 30));
  };
  around(ranks.row());
  around(ranks.col());
}

TEST_CASE("a second wire has an order of its own, and the parent's traffic is not seen") {
  mpi comm(MPI_COMM_WORLD, carriages()[0]);
  mpi other = split(comm);
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  std::vector<double> out[2] = {filled(me, 0, 50), filled(me, 1, 50)}, in[2] = {out[0], out[1]};
  int theirs = me, ours = -1;
  MPI_Request rival[2];
  MPI_Irecv(&ours, 1, MPI_INT, previous, 0, MPI_COMM_WORLD, &rival[0]);
  MPI_Isend(&theirs, 1, MPI_INT, next, 0, MPI_COMM_WORLD, &rival[1]);
  piece const sends[] = {flat(out[0], next), flat(out[1], next)};
  piece const receives[] = {flat(in[0], previous), flat(in[1], previous)};
  // The two wires are used in different order on the two sides.
  bool const swapped = me % 2 == 1;
  auto a = (swapped ? other : comm).post({{&sends[swapped], 1}, {&receives[swapped], 1}}, {});
  auto b = (swapped ? comm : other).post({{&sends[!swapped], 1}, {&receives[!swapped], 1}}, {});
  b.arrived({});
  a.arrived({});
  CHECK(in[0] == filled(previous, 0, 50));
  CHECK(in[1] == filled(previous, 1, 50));
  MPI_Waitall(2, rival, MPI_STATUSES_IGNORE);
  CHECK(ours == previous);
}

TEST_CASE("dropping a request waits for its messages, and the next ones are not mixed up") {
  for (mpi_options const& options : carriages()) {
    mpi comm(MPI_COMM_WORLD, options);
    int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
    std::vector<double> out = filled(me, 0, 500), in(500);
    piece const send = flat(out, next), receive = flat(in, previous);
    comm.post({{&send, 1}, {&receive, 1}}, {});
    CHECK(in == filled(previous, 0, 500));
    std::vector<double> const more = filled(me, 1, 500);
    std::copy(more.begin(), more.end(), out.begin());
    auto request = comm.post({{&send, 1}, {&receive, 1}}, {});
    request = comm.post({}, {});
    CHECK(in == filled(previous, 1, 500));
    mpi::request gone = std::move(request), never;
    CHECK(never.test());
    never.arrived({});
    gone.reusable({});
  }
}

TEST_CASE("a request outlives its communicator") {
  std::vector<double> out, in(100);
  mpi::request request;
  int previous = 0;
  {
    mpi comm(MPI_COMM_WORLD, carriages()[0]);
    int const me = comm.rank(), size = comm.size();
    previous = (me + size - 1) % size;
    out = filled(me, 0, 100);
    piece const send = flat(out, (me + 1) % size), receive = flat(in, previous);
    request = comm.post({{&send, 1}, {&receive, 1}}, {});
  }
  while (!request.test()) std::this_thread::yield();
  CHECK(in == filled(previous, 0, 100));
}

TEST_CASE("what cannot be exchanged is refused before anything is sent") {
  mpi comm(MPI_COMM_WORLD, carriages()[0]);
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  std::vector<double> out = filled(me, 0, 10), in(10);
  piece const good = flat(out, next);
  piece outside = flat(in, size), negative = flat(in, previous), bare = flat(in, previous), huge = flat(in, previous);
  negative.extents[1] = -2;
  bare.data = nullptr;
  huge.extents[0] = huge.extents[1] = huge.extents[2] = extent{1} << 30;
  for (piece const& bad : {outside, negative, bare, huge}) {
    CHECK_THROWS_AS(comm.post({{&good, 1}, {&bad, 1}}, {}), usage_error);
    CHECK_THROWS_AS(comm.post({{&bad, 1}, {}}, {}), usage_error);
  }
  piece const receive = flat(in, previous);
  comm.post({{&good, 1}, {&receive, 1}}, {}).arrived({});
  CHECK(in == filled(previous, 0, 10));
}

TEST_CASE("what is not a communicator is refused") {
  CHECK_THROWS_AS(mpi{MPI_COMM_NULL}, usage_error);
  mpi_options options;
  options.max_message_bytes = 0;
  CHECK_THROWS_AS(mpi(MPI_COMM_WORLD, options), usage_error);
  options.max_message_bytes = extent{1} << 31;
  CHECK_THROWS_AS(mpi(MPI_COMM_WORLD, options), usage_error);
  options = {};
  options.deadline = std::chrono::milliseconds(-1);
  CHECK_THROWS_AS(mpi(MPI_COMM_WORLD, options), usage_error);
}

TEST_CASE("the smallest limit of all ranks holds") {
  mpi_options options = carriages()[0];
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  options.max_message_bytes = 7 + rank * 1000;
  mpi comm(MPI_COMM_WORLD, options);
  int const size = comm.size(), previous = (rank + size - 1) % size;
  std::vector<double> out = filled(rank, 0, 200), in(200);
  piece const send = flat(out, (rank + 1) % size), receive = flat(in, previous);
  comm.post({{&send, 1}, {&receive, 1}}, {}).arrived({});
  CHECK(in == filled(previous, 0, 200));
}

TEST_CASE("ranks that disagree about a size learn it") {
  mpi_options options = carriages()[0];
  options.failure = on_failure::throw_only;
  options.deadline = std::chrono::milliseconds(500);
  for (extent const sent : {extent{9}, extent{11}, extent{0}}) {
    CAPTURE(sent);
    mpi comm(MPI_COMM_WORLD, options);
    int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
    std::vector<double> out = filled(me, 0, sent), in(10);
    piece const send = flat(out, next), receive = flat(in, previous);
    try {
      auto request = comm.post({{&send, 1}, {&receive, 1}}, {});
      request.arrived({});
      FAIL("the sizes differ");
    } catch (const contract_violation& e) {
      CHECK(e.where().rank == me);
      CHECK(e.where().peer == previous);
      CHECK(e.where().step == 0);
    }
    CHECK_THROWS_AS(comm.post({}, {}), poisoned);
  }
}

TEST_CASE("a peer that does not come is named at the deadline") {
  mpi_options options;
  options.deadline = std::chrono::milliseconds(200);
  options.failure = on_failure::throw_only;
  {
    mpi comm(MPI_COMM_WORLD, options);
    int const previous = (comm.rank() + comm.size() - 1) % comm.size();
    std::vector<double> in(10);
    piece const receive = flat(in, previous);
    auto request = comm.post({{}, {&receive, 1}}, {});
    auto const start = std::chrono::steady_clock::now();
    try {
      request.arrived({});
      FAIL("nobody sent");
    } catch (const timeout_error& e) {
      CHECK(e.where().peer == previous);
    }
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::milliseconds(700));
  }
  {
    mpi comm(MPI_COMM_WORLD, options);
    std::vector<double> in(10);
    piece const receive = flat(in, comm.rank());
    comm.post({{}, {&receive, 1}}, {});  // dropped: withdrawn at the deadline
    CHECK_THROWS_AS(comm.post({}, {}), poisoned);
  }
}

TEST_CASE("a receive is withdrawn while an exception unwinds, and the communicator is poisoned") {
  mpi_options options;
  options.failure = on_failure::throw_only;
  mpi comm(MPI_COMM_WORLD, options);
  std::vector<double> in(10);
  auto const start = std::chrono::steady_clock::now();
  try {
    piece const receive = flat(in, comm.rank());
    auto request = comm.post({{}, {&receive, 1}}, {});
    throw cancelled(say("enough"));
  } catch (const cancelled&) {}
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::milliseconds(1500));
  CHECK_THROWS_AS(comm.post({}, {}), poisoned);
}

TEST_CASE("poison makes later posts throw its text") {
  mpi_options options;
  options.failure = on_failure::throw_only;
  mpi comm(MPI_COMM_WORLD, options);
  mpi const copy = comm;
  CHECK_THROWS_AS(or_poison(comm, [] { throw cancelled(say("the kernel gave up")); }), cancelled);
  CHECK_THROWS_WITH_AS(mpi(copy).post({}, {}), doctest::Contains("the kernel gave up"), poisoned);
}

TEST_CASE("any thread may use it when MPI is serialized") {
  mpi comm(MPI_COMM_WORLD, carriages()[0]);
  int const me = comm.rank(), size = comm.size(), previous = (me + size - 1) % size;
  std::vector<double> out = filled(me, 0, 10), in(10);
  std::thread([&] {
    piece const send = flat(out, (me + 1) % size), receive = flat(in, previous);
    comm.post({{&send, 1}, {&receive, 1}}, {}).arrived({});
  }).join();
  CHECK(in == filled(previous, 0, 10));
}
