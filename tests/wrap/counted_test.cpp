#include <ringfold/wrap/counted.hpp>

#include <doctest/doctest.h>

#include <vector>

#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/core/group.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/testing/communicator_laws.hpp>

using namespace ringfold;

namespace {

static_assert(communicator<counted<threads>> && lends<counted<threads>>);
static_assert(communicator<counted<group<counted<self>>>>);

template <class T>
struct buffer {
  explicit buffer(extent count) : memory(static_cast<std::size_t>(count)) {}
  piece as(role what, int peer) {
    return piece_of(dense(memory.data(), static_cast<extent>(memory.size())), what, peer);
  }
  std::vector<T> memory;
};

extent bytes_of(const counters& book, role what) { return book.bytes[static_cast<int>(what)]; }

}  // namespace

TEST_CASE("bytes by role, messages and steps are those of the pieces that leave the rank") {
  std::vector<counters> books(3);
  run_ranks(3, [&](threads comm) {
    int const me = comm.rank(), next = (me + 1) % 3, previous = (me + 2) % 3;
    counted counting(comm, books[static_cast<std::size_t>(me)]);
    buffer<float> key(7), key_in(7), own(100), own_in(100);
    buffer<bf16> value(3), value_in(3);
    buffer<double> none(0);
    piece const sends[] = {key.as(role::key, next), value.as(role::value, next), own.as(role::query, me),
                           none.as(role::state, next)};
    piece const receives[] = {key_in.as(role::key, previous), value_in.as(role::value, previous),
                              own_in.as(role::query, me), none.as(role::state, previous)};
    for (int repeat = 0; repeat < 2; ++repeat) {
      auto posted = counting.post({.sends = sends, .receives = receives}, {});
      posted.arrived({});
      posted.reusable({});
    }
    counting.post({}, {}).arrived({});  // no pieces
    auto to_self = counting.post({.sends = {sends + 2, 1}, .receives = {receives + 2, 1}}, {});
    to_self.arrived({});
    to_self.reusable({});
  });
  for (const counters& book : books) {
    CHECK(bytes_of(book, role::key) == 2 * 28);
    CHECK(bytes_of(book, role::value) == 2 * 6);
    CHECK(book.total_bytes() == 2 * 34);
    CHECK(book.messages == 2 * 3);
    CHECK(book.steps == 2);
    CHECK(book.in_flight == 0);
    CHECK(book.high_water == 34);
  }
}

TEST_CASE("a rank that only receives takes a step too") {
  std::vector<counters> books(2);
  run_ranks(2, [&](threads comm) {
    counted counting(comm, books[static_cast<std::size_t>(comm.rank())]);
    buffer<float> data(5);
    piece const one = data.as(role::output, 1 - comm.rank());
    bool const sends = comm.rank() == 0;
    auto posted = counting.post({.sends = {&one, sends ? 1u : 0u}, .receives = {&one, sends ? 0u : 1u}}, {});
    posted.arrived({});
    posted.reusable({});
  });
  CHECK(books[0].steps == 1);
  CHECK(books[1].steps == 1);
  CHECK(books[0].total_bytes() == 20);
  CHECK(books[1].total_bytes() == 0);
  CHECK(books[1].messages == 0);
  CHECK(books[0].high_water == 0);
  CHECK(books[1].high_water == 20);
}

TEST_CASE("the high-water mark is the most that has not arrived at one time") {
  std::vector<counters> books(2);
  std::vector<std::vector<extent>> in_flight(2);
  run_ranks(2, [&](threads comm) {
    int const me = comm.rank(), peer = 1 - me;
    counters& book = books[static_cast<std::size_t>(me)];
    counted counting(comm, book);
    std::vector<buffer<f16>> out, in;
    for (extent const count : {20, 10, 5}) out.emplace_back(count), in.emplace_back(count);
    auto const post = [&](std::size_t i) {
      piece const sent = out[i].as(role::state, peer), received = in[i].as(role::state, peer);
      return counting.post({.sends = {&sent, 1}, .receives = {&received, 1}}, {});
    };
    auto const look = [&] { in_flight[static_cast<std::size_t>(me)].push_back(book.in_flight); };
    auto first = post(0);
    auto second = post(1);
    look();
    first.arrived({});
    first.arrived({});  // twice is once
    look();
    auto third = post(2);
    look();
    third.arrived({});
    second.arrived({});
    look();
    for (auto* each : {&first, &second, &third}) each->reusable({});
  });
  for (std::size_t rank = 0; rank < 2; ++rank) {
    CHECK(in_flight[rank] == std::vector<extent>{60, 20, 30, 0});
    CHECK(books[rank].high_water == 60);
  }
}

TEST_CASE("a request counts once, wherever it is moved and however it ends") {
  counters book;
  std::vector<extent> in_flight;
  run_ranks(2, [&](threads comm) {
    counters other;
    counters& mine = comm.rank() == 0 ? book : other;
    counted counting(comm, mine);
    buffer<f16> out(4), in(4);
    auto const post = [&] {
      piece const sent = out.as(role::state, 1 - comm.rank()), received = in.as(role::state, 1 - comm.rank());
      return counting.post({.sends = {&sent, 1}, .receives = {&received, 1}}, {});
    };
    auto const look = [&] {
      if (comm.rank() == 0) in_flight.push_back(mine.in_flight);
    };
    auto first = post();
    auto moved = std::move(first);
    look();
    first.arrived({});  // complete since it was moved from
    look();
    moved = post();  // the old one is drained
    look();
    {
      auto const dropped = post();
      look();
    }
    look();
    auto& same = moved;
    moved = std::move(same);
    look();
    moved.arrived({});
    look();
    moved.reusable({});
  });
  CHECK(in_flight == std::vector<extent>{8, 8, 8, 16, 8, 8, 0});
  CHECK(book.messages == 3);
  CHECK(book.steps == 3);
}

TEST_CASE("what a communicator refuses is not counted") {
  counters book;
  counted counting(self(), book);
  buffer<float> data(5);
  piece const nobody[] = {data.as(role::key, 3)};
  CHECK_THROWS_AS(counting.post({.sends = nobody}, {}), usage_error);
  CHECK(book.steps == 0);
  CHECK(book.messages == 0);
  CHECK(book.total_bytes() == 0);
  CHECK(book.high_water == 0);
}

TEST_CASE("groups of a counted communicator share its counters, and know themselves from others") {
  std::vector<counters> books(4);
  run_ranks(4, [&](threads comm) {
    auto const g = grid(counted(comm, books[static_cast<std::size_t>(comm.rank())]), 2, 2);
    auto row = g.row();
    auto col = g.col();
    buffer<f16> out(16), in(16);
    auto const swap_with = [&](auto& on, int peer, extent count) {
      auto sent = out.as(role::key, wire(on, peer)), received = in.as(role::key, wire(on, peer));
      sent.extents[3] = received.extents[3] = count;
      auto posted = on.post({.sends = {&sent, 1}, .receives = {&received, 1}}, {});
      posted.arrived({});
      posted.reusable({});
    };
    swap_with(row, 1 - row.rank(), 3);
    swap_with(col, 1 - col.rank(), 5);
    swap_with(col, col.rank(), 7);  // to itself
  });
  for (const counters& book : books) {
    CHECK(book.total_bytes() == 16);
    CHECK(book.steps == 2);
    CHECK(book.messages == 2);
    CHECK(book.high_water == 10);
  }
}

TEST_CASE("a counted ring sends what the paper says") {
  constexpr extent tokens = 24, heads = 2, dim = 4;
  std::vector<counters> books(4);
  run_ranks(4, [&](threads comm) {
    counters& book = books[static_cast<std::size_t>(comm.rank())];
    auto const problem = make_problem<float>(contiguous(tokens, 4), {.heads = heads, .dim = dim});
    std::vector<float> q(tokens / 4 * heads * dim, 0.5f), k = q, v = q, out = q;
    auto const shard = [&](std::vector<float>& memory) { return dense(memory.data(), 1, tokens / 4, heads, dim); };
    //! [counted]
    plan run(ring(counted(comm, book), reference_kernel{}), problem);
    run.forward(shard(q), shard(k), shard(v), shard(out));
    //! [counted]
  });
  for (const counters& book : books) {
    CHECK(book.steps == 3);
    CHECK(bytes_of(book, role::key) == 3 * tokens / 4 * heads * dim * 4);
    CHECK(bytes_of(book, role::value) == bytes_of(book, role::key));
    CHECK(book.total_bytes() == 2 * bytes_of(book, role::key));
    CHECK(book.messages == 2 * 3);
  }
}

TEST_CASE("a counted communicator keeps the laws") {
  for (int const ranks : {1, 2, 3, 5, 8}) {
    CAPTURE(ranks);
    run_ranks(ranks, [](threads comm) {
      counters book;
      communicator_laws(counted(comm, book), 11);
      if (book.in_flight != 0) throw law_violation(say("rank %d: bytes are still in flight", comm.rank()));
    });
  }
}
