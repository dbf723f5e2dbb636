#pragma once

#include <ringfold/testing/lending_laws.hpp>
#include <ringfold/testing/request_laws.hpp>

/// \file
/// What the library relies on in a communicator. Run it on your own:
/// every rank calls communicator_laws(comm, seed) with the same seed.

namespace ringfold {
namespace laws {

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
