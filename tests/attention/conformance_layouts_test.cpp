// sanitize: off
// Conformance, layouts and masks: cases that implementations of sequence parallelism have failed.
#include <doctest/doctest.h>

#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/rotary.hpp>

#include "support/coordinates.hpp"
#include "support/definition.hpp"

using namespace ringfold;

namespace {

constexpr shape heads_of_all{.batch = 2, .heads = 5, .kv_heads = 5, .dim = 3, .value_dim = 4};
using experiment = schedules::experiment<float>;
using definition::check_all;

/// The same numbers everywhere but at some tokens, which hold none.
template <class F>
experiment with_garbage(const experiment& e, F at) {
  experiment made = e;
  extent const n = e.tokens.tokens();
  for (auto* each : {&made.q, &made.k, &made.v}) {
    auto const width = static_cast<extent>(each->size()) / (n * e.shape.batch);
    for (std::size_t i = 0; i < each->size(); ++i) {
      if (at(static_cast<extent>(i) / width % n)) (*each)[i] = std::nan("");
    }
  }
  return made;
}

}  // namespace

TEST_CASE(
    "4. ranks without tokens or with padding only; documents of 0 and 1 tokens, shorter than the ranks, one a rank") {
  std::uint64_t seed = 1;
  check_all(experiment(uneven(9, {0, 9, 0}), heads_of_all, causal(), ++seed));
  check_all(experiment(uneven(9, {4, 0, 0, 5}), heads_of_all, full(), ++seed));
  check_all(experiment(contiguous(0, 3), heads_of_all, causal(), ++seed));
  check_all(experiment(uneven(7, {0, 7}), uneven(5, {5, 0}), heads_of_all, full(), ++seed));
  struct {
    extent tokens;
    std::vector<extent> lengths;
    int ranks;
  } const packs[] = {
      {20, {6}, 4},                 // three ranks of padding
      {16, {}, 4},                  // nothing but padding
      {16, {4, 0, 0, 9, 0, 3}, 3},  // none between others, and at the end
      {12, {0, 0, 12}, 4},          // and at the start
      {8, {1, 1, 1, 1, 1, 1, 1, 1}, 3},
      {19, {16, 3}, 5},       // the last one is shorter than there are ranks
      {20, {5, 5, 5, 5}, 4},  // each begins where a rank begins
      {21, {20, 1}, 4},
  };
  for (const auto& each : packs) {
    documents const parts{span<const extent>(each.lengths)};
    for (const layout& tokens : {contiguous(each.tokens, each.ranks), zigzag(each.tokens, each.ranks),
                                 striped(each.tokens, each.ranks), zigzag(parts, each.tokens, each.ranks)}) {
      check_all(experiment(tokens, heads_of_all, parts & causal(), ++seed));
    }
  }
}

TEST_CASE("7. one rank is the kernel alone; 2, odd, prime and more ranks than documents or tokens") {
  std::uint64_t seed = 40;
  for (extent const n : {1, 3, 26}) {
    documents const parts{n / 2, n - n / 2};
    for (const any_mask& mask : {any_mask(causal()), any_mask(parts & full())}) {
      for (int const ranks : {1, 2, 3, 5, 7, 11, 13})
        check_all(experiment(zigzag(n, ranks), heads_of_all, mask, ++seed));

      experiment const alone(zigzag(n, 1), heads_of_all, mask, ++seed);
      auto const kernel = sharded::run(reference_kernel{}, alone.problem(), alone.q, alone.k, alone.v);
      definition::cotangents const of(alone);
      for (auto const which : schedules::names) {
        auto const got = schedules::run_backward(alone, which, reference_kernel{}, of.out, of.lse);
        CHECK(combinations::bitwise(got.forward.o, kernel.o));
        CHECK(combinations::bitwise(got.forward.lse, kernel.lse));
        for (const auto& book : {got.forward.books[0], got.books[0]}) {
          CHECK(book.messages == 0);
          CHECK(book.steps == 0);
        }
      }
    }
  }
}

TEST_CASE("8. any number of tokens: no multiple of the ranks, another on each, one on each, odd halves of a zigzag") {
  std::uint64_t seed = 80;
  for (int const ranks : {2, 3, 4}) {
    for (extent n = 4 * ranks; n < 6 * ranks; ++n)
      check_all(experiment(zigzag(n, ranks), heads_of_all, causal(), ++seed));
    for (extent n = ranks; n < 2 * ranks; ++n) {
      check_all(experiment(striped(n, ranks), heads_of_all, causal(), ++seed));
      check_all(experiment(contiguous(n, ranks), heads_of_all, window(1, 1), ++seed));
      check_all(experiment(zigzag(n, ranks), heads_of_all, causal(), ++seed));
    }
    std::vector<extent> lengths;
    for (int rank = 0; rank < ranks; ++rank) lengths.push_back((rank * 5 + 3) % 7);
    extent total = 0;
    for (extent const each : lengths) total += each;
    check_all(experiment(uneven(total, lengths), heads_of_all, causal(), ++seed));
    check_all(experiment(striped(11, ranks, 3), heads_of_all, causal(), ++seed));
  }
}

TEST_CASE(
    "9. packed documents anywhere: cut by chunks, at their edges, padded behind and between, repeated boundaries") {
  std::uint64_t seed = 120;
  for (int const ranks : {2, 4}) {
    extent const n = 8 * ranks, chunk = n / (2 * ranks);
    std::vector<extent> const all[] = {
        {0, 3 * chunk, n},                             // at the edge of a chunk
        {0, chunk + 1, n - chunk},                     // within one, and padding behind
        {0, 1, 1, 1, chunk + 2, chunk + 2, n - 3},     // boundaries that repeat
        {0, 2 * chunk - 1, 2 * chunk, 2 * chunk + 1},  // one token on either side
        {0, 5, 11, n - 5},                             // what is real is no multiple of anything
    };
    for (const auto& boundaries : all) {
      documents const parts = documents::between(boundaries);
      for (const layout& tokens : {zigzag(n, ranks), contiguous(n, ranks), zigzag(parts, n, ranks)}) {
        check_all(experiment(tokens, heads_of_all, parts & causal(), ++seed));
      }
    }
    // Padding between documents is a document of its own; whatever it holds, the others have the same bits.
    documents const between{7, 4, n - 13};  // 2 more behind the last
    experiment const clean(zigzag(n, ranks), heads_of_all, between & causal(), ++seed);
    auto const padding = [&](extent token) { return (token >= 7 && token < 11) || token >= n - 2; };
    experiment const dirty = with_garbage(clean, padding);
    definition::cotangents const of(clean);
    for (auto const which : schedules::names) {
      CAPTURE(static_cast<int>(which));
      auto const a = schedules::run_backward(clean, which, reference_kernel{}, of.out, of.lse),
                 b = schedules::run_backward(dirty, which, reference_kernel{}, of.out, of.lse);
      auto const same = [&](const std::vector<float>& x, const std::vector<float>& y) {
        std::size_t const width = x.size() / static_cast<std::size_t>(n) / 2;
        for (std::size_t i = 0; i < x.size(); ++i) {
          if (!padding(static_cast<extent>(i / width) % n) && x[i] != y[i]) return false;
        }
        return true;
      };
      CHECK(same(a.forward.o, b.forward.o));
      CHECK(same(a.dq, b.dq));
      CHECK(same(a.dk, b.dk));
      CHECK(same(a.dv, b.dv));
    }
  }
}

TEST_CASE(
    "9. other documents in sequences of the same length, in turn on one communicator: nothing is kept of the others") {
  extent const n = 18, width = 5 * 4;
  experiment const first(zigzag(n, 3), heads_of_all, documents{6, 6, 6} & causal(), 7);
  experiment second = first;
  second.mask = documents{1, 6, 11} & causal();
  const experiment* const in_turn[] = {&first, &second, &first, &second};
  for (auto const which : schedules::names) {
    CAPTURE(static_cast<int>(which));
    std::vector<std::vector<float>> got(4, std::vector<float>(static_cast<std::size_t>(2 * n * width)));
    std::mutex guard;
    run_ranks(3, [&](threads comm) {
      schedules::with(which, comm, reference_kernel{}, [&](auto attend) {
        plan one(attend, first.problem()), other(attend, second.problem());
        for (std::size_t turn = 0; turn < 4; ++turn) {
          auto const shard = [&](const std::vector<double>& of, extent dim) {
            return sharded::scatter<float>(of, first.tokens, comm.rank(), first.order, 2, 5, dim);
          };
          auto out = sharded::make_shard<float>(first.order, 2, first.tokens.rows(comm.rank()), 5, 4);
          (turn % 2 == 0 ? one : other).forward(shard(first.q, 3), shard(first.k, 3), shard(first.v, 4), out.whole);
          std::lock_guard const lock(guard);
          schedules::keep(got[turn], out, first.tokens, comm.rank());
        }
      });
    });
    for (std::size_t turn = 0; turn < 4; ++turn) {
      CHECK(combinations::bitwise(got[turn], schedules::run(*in_turn[turn], which, reference_kernel{}).o));
    }
  }
}

TEST_CASE("10. windows of one key, around a rank's length, across ranks, beyond all tokens, to both sides") {
  int const ranks = 3;
  extent const each = 6, n = each * ranks;
  std::uint64_t seed = 200;
  for (extent const keys : {extent{1}, extent{3}, each - 1, each, each + 1, 2 * each + 1, n, n + 5}) {
    for (band const mask : {window(keys - 1), window(keys - 1, keys - 1), window(1, keys - 1)}) {
      for (const layout& tokens : {contiguous(n, ranks), zigzag(n, ranks), striped(n, ranks), striped(n, ranks, 2)}) {
        check_all(experiment(tokens, heads_of_all, mask, ++seed));
      }
    }
  }
}

TEST_CASE(
    "11. more keys than queries or fewer: aligned top-left and bottom-right, prefixes, joint keys before and behind") {
  std::uint64_t seed = 300;
  for (int const ranks : {2, 3}) {
    for (auto const& [queries, keys] : {std::pair<extent, extent>{7, 16}, {16, 7}, {1, 13}, {13, 1}, {9, 9}}) {
      layout const of_queries = zigzag(queries, ranks), of_keys = striped(keys, ranks);
      for (band const mask : {full(), causal(), bottom_right(causal(), queries, keys), window(2),
                              bottom_right(window(2), queries, keys)}) {
        check_all(experiment(of_queries, of_keys, heads_of_all, mask, ++seed));
      }
    }
    // A prefix: a cache, or joint keys in front of the own ones. Everybody sees it.
    layout const before = striped(5, ranks), own = zigzag(12, ranks);
    check_all(experiment(own, appended(before, own), heads_of_all, bottom_right(causal(), 12, 17), ++seed));
    // Joint keys behind the own ones, seen by everybody too; and queries of both, as in a transformer of text and image.
    auto const rear = [](extent i, extent j) { return j >= 12 || j <= i; };
    check_all(experiment(own, appended(own, before), heads_of_all, rear, ++seed));
    check_all(experiment(appended(own, before), heads_of_all, rear, ++seed));
  }
}

TEST_CASE("12. every number reaches whom it is for and comes back to whom it is of, whatever layout and memory order") {
  struct {
    extent heads, kv_heads;
  } const ratios[] = {{6, 6}, {6, 2}, {8, 4}};
  for (int const ranks : {1, 2, 3, 4, 6}) {
    extent const n = 13;
    std::vector<double> hashes;
    for (extent i = 0; i < n; ++i) hashes.push_back(coordinates::tag(0, i, 0));
    for (const layout& tokens : {contiguous(n, ranks), zigzag(n, ranks), striped(n, ranks), striped(n, ranks, 2),
                                 zigzag(documents{4, 0, 7}, n, ranks), combinations::make_layout(4, n, ranks, 3)}) {
      std::vector<double> back(hashes.size());
      for (int rank = 0; rank < ranks; ++rank) {
        auto rows = sharded::scatter<double>(hashes, tokens, rank, sharded::memory_order::bshd, 1, 1, 1).memory;
        sharded::gather(back, rows, tokens, rank, 1, 1);
      }
      CHECK(back == hashes);
      std::size_t draw = 0;
      for (auto const which : schedules::names) {
        auto const [heads, kv_heads] = ratios[draw++ % 3];
        schedules::experiment<double> e(
            tokens, {.batch = 3, .heads = heads, .kv_heads = kv_heads, .dim = 2, .value_dim = 3}, causal(), 1);
        for (auto const order : sharded::memory_orders) {
          CAPTURE(ranks);
          CAPTURE(static_cast<int>(which));
          CAPTURE(static_cast<int>(order));
          e.order = order;
          coordinates::check(e, which);
        }
      }
    }
  }
}

TEST_CASE("12. rotary positions are those of the token in its document, on whatever rank it lies") {
  extent const n = 17;
  documents const parts{5, 0, 9};
  auto const numbers = oracle::uniform<float>(2 * n * 3 * 4, 4);
  auto const rotated = [&](const layout& tokens, int rank) {
    auto made = sharded::scatter<float>(numbers, tokens, rank, sharded::memory_order::sbhd, 2, 3, 4);
    rotate(rotary_table<float>(tokens, rank, {.dims = 4}, parts).at(), made.whole, made.whole);
    return made;
  };
  std::vector<float> whole(numbers.size());
  schedules::keep(whole, rotated(contiguous(n, 1), 0), contiguous(n, 1), 0);
  for (extent const token : {0, 5}) {  // the first of each document
    for (std::size_t i = 0; i < 12; ++i) {
      std::size_t const at = static_cast<std::size_t>(token) * 12 + i;
      CHECK(whole[at] == static_cast<float>(numbers[at]));
    }
  }
  for (int const ranks : {2, 3, 5}) {
    for (const layout& tokens : {contiguous(n, ranks), zigzag(n, ranks), striped(n, ranks), zigzag(parts, n, ranks)}) {
      std::vector<float> got(numbers.size());
      for (int rank = 0; rank < ranks; ++rank) schedules::keep(got, rotated(tokens, rank), tokens, rank);
      CHECK(got == whole);
    }
  }
}
