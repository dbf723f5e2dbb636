#include <ringfold/collective/bring_home.hpp>

#include <doctest/doctest.h>

#include <random>
#include <set>
#include <vector>

#include <ringfold/wrap/counted.hpp>

#include "support/lending_hidden.hpp"

using namespace ringfold;

namespace {

constexpr extent rows_of_owner(int owner) { return (owner * 3 + 2) % 4; }
/// What a rank has of an owner's row: distinct powers, so that a sum tells its terms.
double term(int rank, int owner, extent row) {
  return static_cast<double>(1 << rank) * (1 + static_cast<double>(row) / 8 + owner);
}

struct outcome {
  std::vector<counters> books;
  std::vector<std::vector<double>> sums;
};

// Every rank has parts of the owners' rows where has[rank][owner]; the parts lie two apart, so pieces are strided.
template <class C>
void run_rank(C plain, reduction how, const std::vector<std::vector<bool>>& has, outcome& all) {
  auto const mine = static_cast<std::size_t>(plain.rank());
  counted comm(plain, all.books[mine]);
  int const me = comm.rank(), size = comm.size();
  auto const made = [&](int rank, int owner) {
    return rows_of_owner(owner) > 0 && has[static_cast<std::size_t>(rank)][static_cast<std::size_t>(owner)];
  };
  std::vector<double> memory(static_cast<std::size_t>(size) * 8, 0.0), room;
  auto const part = [&](int owner) {
    view<double, 4> const rows{memory.data() + owner * 8, {1, rows_of_owner(owner), 1, 1}, {8, 2, 1, 1}};
    return parcel<1>{{rows_of(rows, role::gradient)}};
  };
  for (int owner = 0; owner < size; ++owner) {
    for (extent row = 0; row < rows_of_owner(owner) && made(me, owner); ++row) {
      memory[static_cast<std::size_t>(owner * 8 + row * 2)] = term(me, owner, row);
    }
  }
  posting lists;
  host_stream on;
  auto const add = [&](const parcel<1>& into, const parcel<1>& from) {
    on.elementwise(elementwise::add_to{}, view_of<double, 4>(into.pieces[0]), view_of<double, 4>(from.pieces[0]));
  };
  //! [bring_home]
  way_home const way(how, me, size, made);
  room.resize(static_cast<std::size_t>(way.most_bytes(part)) / sizeof(double));
  bring_home(comm, way, part, lends<C> ? nullptr : room.data(), add, lists, on);
  //! [bring_home]
  for (extent row = 0; row < rows_of_owner(me); ++row) {
    all.sums[mine].push_back(memory[mine * 8 + static_cast<std::size_t>(row) * 2]);
  }
}

template <class Wrap>
outcome run(int size, reduction how, const std::vector<std::vector<bool>>& has, Wrap wrap) {
  outcome all{std::vector<counters>(static_cast<std::size_t>(size)),
              std::vector<std::vector<double>>(static_cast<std::size_t>(size))};
  run_ranks(size, [&](threads comm) { run_rank(wrap(comm), how, has, all); });
  return all;
}

std::vector<std::vector<bool>> everything(int size) {
  auto const count = static_cast<std::size_t>(size);
  return std::vector<std::vector<bool>>(count, std::vector<bool>(count, true));
}

}  // namespace

TEST_CASE("every owner gets the sum of all parts, straight or through a tree, lent or received") {
  std::mt19937 random(3);
  for (int size = 1; size <= 9; ++size) {
    for (int round = 0; round < 12; ++round) {
      auto has = everything(size);
      for (auto& row : has) {
        for (std::size_t owner = 0; owner < row.size() && round > 0; ++owner)
          row[owner] = random() % 12 >= static_cast<unsigned>(round);
      }
      for (auto const how : {reduction::all_to_all, reduction::tree}) {
        CAPTURE(size);
        CAPTURE(round);
        auto const lent = run(size, how, has, [](threads c) { return c; });
        auto const received = run(size, how, has, [](threads c) { return lending_hidden(c); });
        CHECK(lent.sums == received.sums);
        for (int owner = 0; owner < size; ++owner) {
          for (extent row = 0; row < rows_of_owner(owner); ++row) {
            double sum = 0;  // exact, as all terms of a row are multiples of one number
            for (int rank = 0; rank < size; ++rank) {
              if (has[static_cast<std::size_t>(rank)][static_cast<std::size_t>(owner)]) sum += term(rank, owner, row);
            }
            CHECK(lent.sums[static_cast<std::size_t>(owner)][static_cast<std::size_t>(row)] == sum);
          }
        }
      }
    }
  }
}

TEST_CASE("both ways carry the same bytes when all have parts; a tree in log2 steps with one peer each way") {
  for (int size = 1; size <= 17; ++size) {
    CAPTURE(size);
    int rounds = 0;
    while (1 << rounds < size) ++rounds;
    auto const straight = run(size, reduction::all_to_all, everything(size), [](threads c) { return c; });
    auto const tree = run(size, reduction::tree, everything(size), [](threads c) { return c; });
    for (int rank = 0; rank < size; ++rank) {
      extent bytes = 0;
      for (int owner = 0; owner < size; ++owner) bytes += owner == rank ? 0 : rows_of_owner(owner) * 8;
      auto const at = static_cast<std::size_t>(rank);
      CHECK(straight.books[at].total_bytes() == bytes);
      CHECK(straight.books[at].steps == (size > 1));
      CHECK(tree.books[at].total_bytes() == bytes);
      CHECK(tree.books[at].messages == straight.books[at].messages);
      CHECK(tree.books[at].steps <= rounds);
      way_home const way(reduction::tree, rank, size, [](int, int) { return true; });
      CHECK(way.steps() == rounds);
      for (int step = 0; step < rounds; ++step) {
        std::set<int> to, from;
        way.at(step, [&](const way_home::hop& each) { (each.sends ? to : from).insert(each.peer); });
        CHECK(to.size() == 1);
        CHECK(from.size() == 1);
      }
    }
  }
}
