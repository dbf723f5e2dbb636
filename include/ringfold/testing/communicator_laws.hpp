#pragma once

#include <vector>

#include <ringfold/core/group.hpp>
#include <ringfold/testing/law.hpp>

/// \file
/// What the library relies on in a communicator. Run it on your own:
/// every rank calls communicator_laws(comm, seed) with the same seed.

namespace ringfold {
namespace laws {

/// A value of its own for every element of every message.
inline double mark(int from, int to, int message, extent element) {
  return static_cast<double>(((extent{from} * 64 + to) * 4096 + message) * (extent{1} << 20) + element);
}

/// Memory on one end of a message: some elements, with whatever lies between them.
class marked {
 public:
  static constexpr double untouched = -1;

  explicit marked(extent count) : marked(1, count, 0) {}

  /// rows x columns elements; `gap` more between them, and columns first in memory where it is odd.
  marked(extent rows, extent columns, int gap)
      : memory_(static_cast<std::size_t>((rows + gap) * (columns + gap)), untouched),
        elements_{memory_.data(), {rows, columns}, {columns + gap, 1}} {
    if (gap % 2 == 1) elements_.strides[0] = 1, elements_.strides[1] = rows + gap;
  }

  marked(marked&&) = default;  // the elements stay where they are
  marked& operator=(marked&&) = default;

  marked& filled(int from, int to, int message) {
    each([&](double& value, extent i) { value = mark(from, to, message, i); });
    return *this;
  }
  void overwrite() {
    each([](double& value, extent) { value = -2; });
  }

  piece to(int peer) { return piece_of(elements_, role::other, peer); }
  /// A receive that asks to be lent the memory.
  piece without_memory(int peer) {
    piece asked = to(peer);
    asked.data = nullptr;
    return asked;
  }

  void expect(const char* law, int from, int me, int message) { expect(law, elements_, from, me, message); }

  /// \throws law_violation when an element is not what was sent, or one between them was touched
  void expect(const char* law, view<double, 2> found, int from, int me, int message) {
    extent at = 0, touched = 0;
    for (extent row = 0; row < found.extents[0]; ++row) {
      for (extent column = 0; column < found.extents[1]; ++column, ++at) {
        double const value = found(row, column), expected = mark(from, me, message, at);
        if (value == expected) continue;
        throw law_violation(say("%s: rank %d, message %d from rank %d, element %lld is %.17g instead of %.17g", law, me,
                                message, from, static_cast<long long>(at), value, expected));
      }
    }
    for (double const value : memory_) touched += value != untouched;
    if (found.data == memory_.data() && touched != at) {
      throw law_violation(
          say("%s: rank %d, message %d from rank %d wrote outside of its elements", law, me, message, from));
    }
  }

 private:
  template <class F>
  void each(F f) {
    extent at = 0;
    for (extent row = 0; row < elements_.extents[0]; ++row) {
      for (extent column = 0; column < elements_.extents[1]; ++column) f(elements_(row, column), at++);
    }
  }

  std::vector<double> memory_;
  view<double, 2> elements_;
};

/// An exchange under construction, on ranks of the communicator.
template <communicator C>
class letter {
 public:
  explicit letter(C& comm) : comm_(comm) {}
  letter& send(marked& memory, int to) {
    sends_.push_back(memory.to(wire(comm_, to)));
    return *this;
  }
  letter& receive(marked& memory, int from) {
    receives_.push_back(memory.to(wire(comm_, from)));
    return *this;
  }
  letter& send(piece sent, int to) {
    sent.peer = wire(comm_, to);
    sends_.push_back(sent);
    return *this;
  }
  letter& receive(piece asked, int from) {
    asked.peer = wire(comm_, from);
    receives_.push_back(asked);
    return *this;
  }
  [[nodiscard]] request_t<C> post(pattern shape = pattern::pairs) {
    return comm_.post({.sends = sends_, .receives = receives_, .shape = shape}, stream_t<C>{});
  }

 private:
  C& comm_;
  std::vector<piece> sends_, receives_;
};

inline void require(bool holds, const line& law) {
  if (!holds) throw law_violation(law);
}

/// Ranks are numbered from 0, and a copy is the same communicator.
template <communicator C>
void copies_agree(C comm) {
  C const copy = comm;
  require(comm.size() >= 1 && comm.rank() >= 0 && comm.rank() < comm.size() && copy.rank() == comm.rank() &&
              copy.size() == comm.size(),
          say("copies agree: rank %d of %d, its copy is rank %d of %d", comm.rank(), comm.size(), copy.rank(),
              copy.size()));
}

/// The k-th send a -> b meets the k-th receive b <- a, in whatever order requests are waited for.
template <communicator C>
void pairing(C comm, int messages = 40) {
  int const me = comm.rank(), size = comm.size();
  std::vector<marked> out, in;
  out.reserve(static_cast<std::size_t>(messages * size));
  in.reserve(out.capacity());
  std::vector<request_t<C>> posted;
  for (int message = 0; message < messages; ++message) {
    letter<C> all(comm);
    extent const count = message % 3 == 2 ? 100 : 1;
    for (int peer = 0; peer < size; ++peer) {
      all.send(out.emplace_back(count).filled(me, peer, message), peer);
      all.receive(in.emplace_back(count), peer);
    }
    posted.push_back(all.post());
  }
  for (int message = messages - 1; message >= 0; --message) {
    posted[static_cast<std::size_t>(message)].arrived(stream_t<C>{});
    for (int peer = 0; peer < size; ++peer) {
      in[static_cast<std::size_t>(message * size + peer)].expect("pairing", peer, me, message);
    }
  }
  for (auto& each : posted) each.reusable(stream_t<C>{});
}

/// A rank may receive without sending and send without receiving.
template <communicator C>
void one_way(C comm) {
  int const me = comm.rank(), size = comm.size(), root = size - 1;
  stream_t<C> const s{};
  if (me != root) {
    marked first(9), second(9), back(5);
    auto sent = letter<C>(comm).send(first.filled(me, root, 0), root).send(second.filled(me, root, 1), root).post();
    sent.reusable(s);
    auto received = letter<C>(comm).receive(back, root).post();
    received.arrived(s);
    back.expect("one way", root, me, 2);
    return;
  }
  for (int peer = 0; peer < root; ++peer) {
    marked first(9), second(9), back(5);
    letter<C>(comm).receive(first, peer).post().arrived(s);
    letter<C>(comm).receive(second, peer).post().arrived(s);
    first.expect("one way", peer, me, 0);
    second.expect("one way", peer, me, 1);
    letter<C>(comm).send(back.filled(me, peer, 2), peer).post().reusable(s);
  }
}

/// A rank may send to itself, within an exchange and from one to another.
template <communicator C>
void self_send(C comm) {
  int const me = comm.rank();
  stream_t<C> const s{};
  for (extent const count : {1, 500}) {
    marked out(count), in(count), late(count), early(count);
    auto both = letter<C>(comm).send(out.filled(me, me, 0), me).receive(in, me).post();
    auto before = letter<C>(comm).receive(early, me).post();
    auto after = letter<C>(comm).send(late.filled(me, me, 1), me).post();
    before.arrived(s);
    early.expect("self-send", me, me, 1);
    both.arrived(s);
    in.expect("self-send", me, me, 0);
    both.reusable(s);
    after.reusable(s);
  }
}

/// An exchange without pieces is legal, waits for nobody and is complete.
template <communicator C>
void empty_exchange(C comm) {
  auto nothing = letter<C>(comm).post();
  nothing.arrived(stream_t<C>{});
  nothing.reusable(stream_t<C>{});
  require(nothing.test(), say("empty exchange: rank %d, it is not complete", comm.rank()));
}

/// A piece without elements is a message like any other, and needs no memory.
template <communicator C>
void empty_pieces(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  marked none_out(0), none_in(0), out(7), in(7);
  piece const nowhere = piece_of(view<double, 2>{nullptr, {3, 0}, {0, 1}}, role::other);
  auto posted = letter<C>(comm)
                    .send(none_out, next)
                    .send(out.filled(me, next, 0), next)
                    .send(nowhere, next)
                    .receive(none_in, previous)
                    .receive(in, previous)
                    .receive(nowhere, previous)
                    .post();
  posted.arrived(stream_t<C>{});
  in.expect("empty pieces", previous, me, 0);
  posted.reusable(stream_t<C>{});
}

/// Both ends may be strided, each in its own way, and nothing between the elements is touched.
template <communicator C>
void strided(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  for (int gaps = 0; gaps < 16; ++gaps) {
    for (extent const rows : {1, 2, 31}) {
      marked out(rows, 5, gaps / 4), in(rows, 5, gaps % 4);
      auto posted = letter<C>(comm).send(out.filled(me, next, gaps), next).receive(in, previous).post();
      posted.arrived(stream_t<C>{});
      in.expect("strided", previous, me, gaps);
      posted.reusable(stream_t<C>{});
    }
  }
}

/// A request that is destroyed or assigned to completes first: what it receives is there, what it sent was read.
template <communicator C>
void drop_drains(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  request_t<C> kept;
  for (int message = 0; message < 6; ++message) {
    marked out(200), in(200);
    {
      auto posted = letter<C>(comm).send(out.filled(me, next, message), next).receive(in, previous).post();
      if (message % 2 == 1) {
        kept = std::move(posted);
        kept = {};
      }
    }
    out.overwrite();
    in.expect("drop drains", previous, me, message);
  }
}

/// A request that was moved from, or default-made, is complete; the one it was moved to carries on.
template <communicator C>
void moves(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  marked out(200), in(200);
  auto posted = letter<C>(comm).send(out.filled(me, next, 0), next).receive(in, previous).post();
  request_t<C> moved(std::move(posted)), made;
  for (request_t<C>* each : {&posted, &made}) {
    each->arrived(stream_t<C>{});
    each->reusable(stream_t<C>{});
    require(each->test(), say("moves: rank %d, a request that holds nothing is not complete", me));
  }
  moved.arrived(stream_t<C>{});
  in.expect("moves", previous, me, 0);
  moved.reusable(stream_t<C>{});
  require(moved.test(), say("moves: rank %d, an exchange that arrived and is reusable is not complete", me));
}

/// Once a request is reusable, what was sent may be overwritten, whether its own receives were looked at or not;
/// test() alone gets there too.
template <communicator C>
void reusable_before_arrived(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  for (int message = 0; message < 4; ++message) {
    marked out(1000), in(1000);
    auto posted = letter<C>(comm).send(out.filled(me, next, message), next).receive(in, previous).post();
    if (message % 2 == 0) {
      posted.reusable(stream_t<C>{});
    } else {
      while (!posted.test()) {}
    }
    out.overwrite();
    posted.arrived(stream_t<C>{});
    in.expect("reusable before arrived", previous, me, message);
  }
}

/// Who waits for one request keeps all others going: ranks that each wait for their sends do not block each other.
template <communicator C>
void progress(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  marked out(20'000), in(20'000);
  auto sent = letter<C>(comm).send(out.filled(me, next, 0), next).post();
  auto received = letter<C>(comm).receive(in, previous).post();
  sent.reusable(stream_t<C>{});
  out.overwrite();
  received.arrived(stream_t<C>{});
  in.expect("progress", previous, me, 0);
}

/// A message of some MiB arrives whole.
template <communicator C>
void large(C comm, extent elements = extent{1} << 19) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  marked out(elements), in(elements);
  auto posted = letter<C>(comm).send(out.filled(me, next, 0), next).receive(in, previous).post();
  posted.arrived(stream_t<C>{});
  in.expect("large", previous, me, 0);
  posted.reusable(stream_t<C>{});
}

/// Saying what pattern an exchange has changes nothing.
template <communicator C>
void patterns(C comm) {
  int const me = comm.rank(), size = comm.size();
  for (pattern const shape : {pattern::pairs, pattern::all_gather, pattern::all_to_all}) {
    bool const same = shape == pattern::all_gather;
    marked mine(30);
    mine.filled(me, same ? 0 : me, 0);
    std::vector<marked> out, in;
    out.reserve(static_cast<std::size_t>(size));
    in.reserve(static_cast<std::size_t>(size));
    letter<C> all(comm);
    for (int step = 1; step < size; ++step) {
      int const to = (me + step) % size, from = (me + size - step) % size;
      extent const sent = 1 + (me * 7 + to) % 50, received = 1 + (from * 7 + me) % 50;
      all.send(same ? mine : out.emplace_back(sent).filled(me, to, 0), to);
      all.receive(in.emplace_back(same ? 30 : received), from);
    }
    auto posted = all.post(shape);
    posted.arrived(stream_t<C>{});
    for (int step = 1; step < size; ++step) {
      in[static_cast<std::size_t>(step - 1)].expect("patterns", (me + size - step) % size, same ? 0 : me, 0);
    }
    posted.reusable(stream_t<C>{});
  }
}

/// Any pattern of pieces, several exchanges at once, discharged in any order and any way.
template <communicator C>
void any_traffic(C comm, std::uint64_t seed, int rounds = 12) {
  struct arrival {
    int from, message;
    marked memory;
  };
  struct flight {
    std::vector<marked> sent;
    std::vector<arrival> received;
    request_t<C> posted;
  };
  int const me = comm.rank(), size = comm.size();
  detail::random_bits shared{seed}, own{seed * 64 + static_cast<std::uint64_t>(me)};
  // Every rank draws all of the traffic from the shared numbers, and its own memory and waits from its own.
  auto const drawn = [&](int bound) { return static_cast<int>(shared.below(static_cast<std::size_t>(bound))); };
  auto const gap = [&] { return static_cast<int>(own.below(4)); };
  std::vector<flight> flights(4);
  for (int round = 0; round < rounds; ++round) {
    flight& now = flights[own.below(flights.size())];
    now.posted = {};
    for (arrival& each : now.received) each.memory.expect("any traffic", each.from, me, each.message);
    int const messages = drawn(2 * size * size + 1);
    now.sent.clear();
    now.received.clear();
    now.sent.reserve(static_cast<std::size_t>(messages));
    now.received.reserve(static_cast<std::size_t>(messages));
    letter<C> next(comm);
    for (int i = 0; i < messages; ++i) {
      int const from = drawn(size), to = drawn(size), message = round * 64 + i % 64;
      extent const rows = drawn(5), columns = drawn(3) == 0 ? drawn(300) : drawn(4);
      if (from == me) next.send(now.sent.emplace_back(rows, columns, gap()).filled(me, to, message), to);
      if (to == me) {
        now.received.push_back({from, message, marked(rows, columns, gap())});
        next.receive(now.received.back().memory, from);
      }
    }
    now.posted = next.post();
    flight& old = flights[own.below(flights.size())];
    switch (own.below(4)) {
      case 0: old.posted.arrived(stream_t<C>{}); break;
      case 1: old.posted.reusable(stream_t<C>{}); break;
      case 2: static_cast<void>(old.posted.test()); break;
      default: break;
    }
  }
  for (flight& each : flights) {
    each.posted = {};
    for (arrival& one : each.received) one.memory.expect("any traffic", one.from, me, one.message);
  }
}

/// A receive without memory sees what was sent for as long as it is not released, whatever the sender does once its
/// own request is reusable.
template <communicator C>
  requires lends<C>
void lending(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  stream_t<C> const s{};
  for (extent const count : {1, 3, 600}) {
    marked out(count), like(count), word_out(1), word_in(1);
    auto posted = letter<C>(comm)
                      .send(out.filled(me, next, 0), next)
                      .receive(like.without_memory(wire(comm, previous)), previous)
                      .post();
    posted.arrived(s);
    auto const seen = [&] { return view_of<double, 2>(posted.received(0)); };
    like.expect("lending", seen(), previous, me, 0);
    letter<C>(comm).send(word_out, next).receive(word_in, previous).post().arrived(s);  // everybody holds a loan
    for (int look = 0; look < 100; ++look) {
      if (posted.test()) out.overwrite();
    }
    letter<C>(comm).send(word_out, next).receive(word_in, previous).post().arrived(s);
    like.expect("lending", seen(), previous, me, 0);
    posted.release(s);
    posted.release(s);
    posted.reusable(s);
    out.overwrite();
  }
}

/// Borrowed memory may be sent on before it is released: its owner alone waits until the last reader lets go.
template <communicator C>
  requires lends<C>
void sending_on(C comm, int laps = 2) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  stream_t<C> const s{};
  for (extent const count : {2, 400}) {
    marked mine(count);
    request_t<C> home, moving[2];
    piece held = mine.filled(me, 0, 0).to(0);
    for (int step = 0; step < laps * size; ++step) {
      request_t<C>& posted = step == 0 ? home : moving[step % 2];
      posted = letter<C>(comm).send(held, next).receive(mine.without_memory(0), previous).post();
      posted.arrived(s);
      if (step > 0) posted.reusable(s);
      held = posted.received(0);
      int const origin = ((me - step - 1) % size + size) % size;
      mine.expect("sending on", view_of<double, 2>(held), origin, 0, 0);
      if (step > 0) (step == 1 ? home : moving[(step - 1) % 2]).release(s);
    }
    home.release(s);
    moving[0].release(s);
    moving[1].release(s);
    home.reusable(s);
    mine.overwrite();
  }
}

/// What was sent on stays readable on its way, after the rank that sent it on has released it.
template <communicator C>
  requires lends<C>
void released_on_the_way(C comm) {
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  int const after_next = (me + 2) % size, origin = (me + 2 * size - 2) % size;
  if (size < 3) return;  // its words would have to overtake the memory that is on its way
  stream_t<C> const s{};
  for (extent const count : {2, 400}) {
    marked mine(count), word_out(1), word_in(1);
    auto lent = letter<C>(comm).send(mine.filled(me, 0, 0), next).receive(mine.without_memory(0), previous).post();
    lent.arrived(s);
    auto sent_on = letter<C>(comm).send(lent.received(0), next).post();
    lent.release(s);
    letter<C>(comm).send(word_out, previous).receive(word_in, next).post().arrived(s);  // it was sent on and released
    for (int look = 0; look < 100; ++look) {
      if (lent.test()) mine.overwrite();
    }
    letter<C>(comm).send(word_out, after_next).receive(word_in, origin).post().arrived(s);  // its owner has looked
    auto received = letter<C>(comm).receive(mine.without_memory(0), previous).post();
    received.arrived(s);
    mine.expect("released on the way", view_of<double, 2>(received.received(0)), origin, 0, 0);
    received.release(s);
    sent_on.reusable(s);
    lent.reusable(s);
    mine.overwrite();
  }
}

/// Groups of one communicator share its wire: exchanges of rows and columns may be in flight together.
template <communicator C>
void groups(C comm, std::uint64_t seed) {
  for (int rows = 1; rows <= comm.size(); ++rows) {
    if (comm.size() % rows != 0) continue;
    auto const laid_out = grid(comm, rows, comm.size() / rows);
    auto row = laid_out.row();
    auto column = laid_out.col();
    marked row_out(50), row_in(50), column_out(50), column_in(50);
    auto const shifted = [](auto& in, marked& out, marked& into) {
      int const me = in.rank(), size = in.size(), to = (me + 1) % size, from = (me + size - 1) % size;
      return letter(in).send(out.filled(me, to, 0), to).receive(into, from).post();
    };
    auto const along_row = shifted(row, row_out, row_in);
    auto along_column = shifted(column, column_out, column_in);
    along_column.arrived(stream_t<C>{});
    column_in.expect("groups", (column.rank() + column.size() - 1) % column.size(), column.rank(), 0);
    any_traffic(column, seed, 4);
    any_traffic(row, seed, 4);
  }
}

/// What is split off has an order of its own: two wires never mix.
template <communicator C>
  requires requires(C& c) { split(c); }
void wires(C comm) {
  C second = split(comm), third = split(comm);
  int const me = comm.rank(), size = comm.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
  C* const order[2][3] = {{&comm, &second, &third}, {&third, &comm, &second}};
  marked out[3] = {marked(9), marked(9), marked(9)}, in[3] = {marked(9), marked(9), marked(9)};
  request_t<C> posted[3];
  for (int at = 0; at < 3; ++at) {
    C* const which = order[me % 2][at];
    int const wire = which == &comm ? 0 : which == &second ? 1 : 2;
    posted[wire] = letter<C>(*which).send(out[wire].filled(me, next, wire), next).receive(in[wire], previous).post();
  }
  for (int wire = 0; wire < 3; ++wire) {
    posted[wire].arrived(stream_t<C>{});
    in[wire].expect("wires", previous, me, wire);
  }
}

/// A refused exchange throws a usage_error, sends nothing and leaves the communicator good.
template <communicator C>
void refusal(C comm) {
  marked memory(4);
  piece const good = memory.to(wire(comm, comm.rank()));
  piece nobody = good, negative = good;
  nobody.peer = -1;
  negative.extents[2] = -1;
  for (piece const& bad : {nobody, negative}) {
    piece const pair[] = {good, bad};
    for (exchange const& x : {exchange{.sends = pair, .receives = {}}, exchange{.sends = {}, .receives = pair}}) {
      bool refused = false;
      try {
        static_cast<void>(comm.post(x, stream_t<C>{}));
      } catch (const usage_error&) {
        refused = true;
      }
      require(refused, say("refusal: rank %d, an exchange with %s was posted", comm.rank(),
                           bad.peer == -1 ? "peer -1" : "a negative extent"));
    }
  }
  pairing(comm, 2);
}

}  // namespace laws

/// Runs all laws. Every rank calls it with the same seed; it takes well under a second.
/// \throws law_violation, on the rank that saw it; where the communicator can be poisoned, the others learn of it
template <communicator C>
void communicator_laws(C comm, std::uint64_t seed = 1) {
  static_assert(std::same_as<space_t<C>, host_space>, "[ringfold] communicator_laws: the laws look at host memory");
  or_poison(comm, [&] {
    laws::copies_agree(comm);
    laws::pairing(comm);
    laws::one_way(comm);
    laws::self_send(comm);
    laws::empty_exchange(comm);
    laws::empty_pieces(comm);
    laws::strided(comm);
    laws::drop_drains(comm);
    laws::moves(comm);
    laws::reusable_before_arrived(comm);
    laws::progress(comm);
    laws::patterns(comm);
    laws::large(comm);
    laws::any_traffic(comm, seed);
    laws::groups(comm, seed);
    laws::refusal(comm);
    if constexpr (lends<C>) {
      laws::lending(comm);
      laws::sending_on(comm);
      laws::released_on_the_way(comm);
    }
    if constexpr (requires { split(comm); }) laws::wires(comm);
  });
}

template <class C>
  requires(!communicator<C>)
not_a_communicator<C> communicator_laws(C, std::uint64_t = 1);

}  // namespace ringfold
