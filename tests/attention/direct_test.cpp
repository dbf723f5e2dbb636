#include <ringfold/attention/direct.hpp>

#include <doctest/doctest.h>

#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/documents.hpp>

#include "support/combinations.hpp"
#include "support/sanitized.hpp"

using namespace ringfold;

namespace {

// A mask that sees one of so many pairs, without any structure.
struct sparse {
  std::uint64_t salt;
  bool operator()(extent q, extent k) const {
    return ((static_cast<std::uint64_t>(q * 1009 + k) ^ salt) * 0x9e3779b97f4a7c15u >> 40) % 11 == 0;
  }
};

// A window, packed documents or a sparse mask, in one type: every nesting is compiled once.
struct any_mask {
  int kind;
  band window;
  packed<band> documents;
  predicate_mask<sparse> pairs;

  template <class F>
  auto of(F f) const {
    return kind == 0 ? f(window) : kind == 1 ? f(documents) : f(pairs);
  }
  bool allows(extent q, extent k) const {
    return of([&](const auto& m) { return m.allows(q, k); });
  }
  coverage classify(hull q, hull k) const {
    return of([&](const auto& m) { return m.classify(q, k); });
  }
  bool meets(segment q, segment k) const {
    return of([&](const auto& m) { return m.meets(q, k); });
  }
};

any_mask random_mask(std::mt19937_64& random, extent tokens) {
  extent const first = static_cast<extent>(random()) % (tokens + 1);
  auto const width = [&] { return static_cast<extent>(random() % 12); };
  documents const parts{first < 0 ? 0 : first, 0, width()};
  band const bands[] = {causal(), full(), window(width()), window(width(), width())};
  return {static_cast<int>(random() % 3), bands[random() % 4], parts & bands[random() % 4],
          predicate_mask(sparse{random()})};
}

struct outcome {
  std::vector<float> o, lse, dq, dk, dv;
};

// Forward and backward of what make(comm) gives, gathered.
template <class Mask, class Make>
outcome run(const layout& queries, const layout& keys, const shape& s, const Mask& mask, std::uint64_t seed,
            Make make) {
  extent const nq = s.batch * queries.tokens(), nk = s.batch * keys.tokens();
  auto const q = oracle::uniform<float>(nq * s.heads * s.dim, seed);
  auto const k = oracle::uniform<float>(nk * s.kv_heads * s.dim, seed + 1);
  auto const v = oracle::uniform<float>(nk * s.kv_heads * s.value_dim, seed + 2);
  auto const dout = oracle::uniform<float>(nq * s.heads * s.value_dim, seed + 3);
  auto const zeros = [](extent count) { return std::vector<float>(static_cast<std::size_t>(count)); };
  outcome all{zeros(nq * s.heads * s.value_dim), zeros(nq * s.heads), zeros(nq * s.heads * s.dim),
              zeros(nk * s.kv_heads * s.dim), zeros(nk * s.kv_heads * s.value_dim)};
  std::mutex guard;
  run_ranks(queries.ranks(), [&](threads comm) {
    int const me = comm.rank();
    auto const order = sharded::memory_order::packed;
    extent const rows = queries.rows(me), key_rows = keys.rows(me);
    auto const mine = sharded::scatter<float>(q, queries, me, order, s.batch, s.heads, s.dim);
    auto const of_out = sharded::scatter<float>(dout, queries, me, order, s.batch, s.heads, s.value_dim);
    auto const my_k = sharded::scatter<float>(k, keys, me, order, s.batch, s.kv_heads, s.dim);
    auto const my_v = sharded::scatter<float>(v, keys, me, order, s.batch, s.kv_heads, s.value_dim);
    outcome part{zeros(s.batch * rows * s.heads * s.value_dim), zeros(s.batch * rows * s.heads),
                 zeros(s.batch * rows * s.heads * s.dim), zeros(s.batch * key_rows * s.kv_heads * s.dim),
                 zeros(s.batch * key_rows * s.kv_heads * s.value_dim)};
    auto const o = dense(part.o.data(), s.batch, rows, s.heads, s.value_dim);
    auto const lse = dense(part.lse.data(), s.batch, rows, s.heads);
    auto const problem = make_problem<float>(queries, keys, s, mask);
    auto const attend = make(comm);
    plan(attend, problem).forward(mine, my_k, my_v, o, lse);
    backward_plan(attend, problem)
        .backward(mine, my_k, my_v, o, lse, of_out, dense(part.dq.data(), s.batch, rows, s.heads, s.dim),
                  dense(part.dk.data(), s.batch, key_rows, s.kv_heads, s.dim),
                  dense(part.dv.data(), s.batch, key_rows, s.kv_heads, s.value_dim));
    std::lock_guard const lock(guard);
    sharded::gather(all.o, part.o, queries, me, s.batch, s.heads * s.value_dim);
    sharded::gather(all.lse, part.lse, queries, me, s.batch, s.heads);
    sharded::gather(all.dq, part.dq, queries, me, s.batch, s.heads * s.dim);
    sharded::gather(all.dk, part.dk, keys, me, s.batch, s.kv_heads * s.dim);
    sharded::gather(all.dv, part.dv, keys, me, s.batch, s.kv_heads * s.value_dim);
  });

  oracle::sizes const sizes{s.batch, queries.tokens(), keys.tokens(), s.heads, s.kv_heads, s.dim, s.value_dim};
  auto const allows = [&](extent i, extent j) { return mask.allows(i, j); };
  auto const exact = oracle::attention(sizes, q, k, v, allows);
  auto const slopes = oracle::backward(sizes, q, k, v, dout, std::vector<double>(exact.lse.size()), allows);
  CHECK(oracle::compare(all.o, exact.o).relative < 2e-6);
  CHECK(oracle::compare(all.lse, exact.lse).largest < 1e-5);
  CHECK(oracle::compare(all.dq, slopes.dq).relative < 4e-6);
  CHECK(oracle::compare(all.dk, slopes.dk).relative < 4e-6);
  CHECK(oracle::compare(all.dv, slopes.dv).relative < 4e-6);
  return all;
}

// Fewer rows, and yet every sum in the same order: the numbers are equal, but for the sign of a zero.
void check_same(const outcome& a, const outcome& b) {
  CHECK(a.o == b.o);
  CHECK(a.lse == b.lse);
  CHECK(a.dq == b.dq);
  CHECK(a.dk == b.dk);
  CHECK(a.dv == b.dv);
}

// How many keys of one owner are seen by a query of any of the readers, by the words of the definition.
template <class Mask>
extent count_seen(const layout& queries, const std::vector<int>& readers, const layout& keys, int owner,
                  const Mask& mask) {
  extent count = 0;
  keys.for_each_position(owner, [&](extent, extent key) {
    bool seen = false;
    for (int const reader : readers) {
      queries.for_each_position(reader, [&](extent, extent query) { seen = seen || mask.allows(query, key); });
    }
    count += seen;
  });
  return count;
}

extent kv_bytes(const counters& book) {
  return book.bytes[static_cast<int>(role::key)] + book.bytes[static_cast<int>(role::value)];
}
extent gradient_bytes(const counters& book) { return book.bytes[static_cast<int>(role::gradient)]; }

// What a forward and a backward call have sent, on one level of a nesting.
void check_rows(const counters& book, extent lent, extent fetched, const shape& s, extent heads) {
  extent const row = s.batch * heads * (s.dim + s.value_dim) * static_cast<extent>(sizeof(float));
  CHECK(kv_bytes(book) == 2 * lent * row);
  CHECK(gradient_bytes(book) == fetched * row);
  CHECK(book.total_bytes() == kv_bytes(book) + gradient_bytes(book));
}

}  // namespace

TEST_CASE("a window fetches a halo") {
  counters books[4];
  run_ranks(4, [&](threads wire) {
    counted comm(wire, books[wire.rank()]);
    std::vector<float> memory(16 * 8, 1), out(16 * 8);
    auto const mine = dense(memory.data(), 1, 16, 1, 8);
    //! [direct]
    auto const attend = direct(comm, reference_kernel{});
    auto const problem = make_problem<float>(contiguous(64, 4), {.dim = 8}, window(3));
    plan(attend, problem).forward(mine, mine, mine, dense(out.data(), 1, 16, 1, 8));  // 3 rows from the rank before
    //! [direct]
    if (out != memory) throw usage_error(say("a mean of ones is one"));
  });
  for (int rank = 0; rank < 4; ++rank) CHECK(books[rank].total_bytes() == (rank < 3 ? 3 * (8 + 8) * 4 : 0));
}

TEST_CASE("windows send what their formulas say: contiguous, two-sided, zigzag, across any number of ranks") {
  for (int ranks = 1; ranks <= 9; ++ranks) {
    extent const c = 3, n = 2 * c, tokens = n * ranks;
    for (extent const left : {extent{0}, c - 1, c, n - 1, n, n + 1, 2 * n + 3, tokens + 5}) {
      for (extent const right : {extent{0}, extent{1}, n + 2}) {
        CAPTURE(ranks);
        CAPTURE(left);
        CAPTURE(right);
        shape const s{.batch = 2, .heads = 4, .kv_heads = 2, .dim = 3, .value_dim = 5};
        extent const row = 2 * 2 * (3 + 5) * static_cast<extent>(sizeof(bf16));
        schedules::experiment<bf16> line(contiguous(tokens, ranks), s, window(left, right), 1);
        auto const sent = schedules::run(line, schedules::name::direct, reference_kernel{});
        for (int rank = 0; rank < ranks; ++rank) {
          // The d-th rank behind gets what its window leaves after the d - 1 between, and likewise before.
          extent rows = 0;
          for (int d = 1; rank + d < ranks; ++d) rows += std::clamp(left - (d - 1) * n, extent{0}, n);
          for (int d = 1; rank - d >= 0; ++d) rows += std::clamp(right - (d - 1) * n, extent{0}, n);
          CHECK(sent.books[static_cast<std::size_t>(rank)].total_bytes() == rows * row);
          CHECK(sent.books[static_cast<std::size_t>(rank)].steps <= 1);
        }
        if (right > 0) continue;
        schedules::experiment<bf16> folded(zigzag(tokens, ranks), s, window(left), 1);
        auto const twice = schedules::run(folded, schedules::name::direct, reference_kernel{});
        extent got = 0, all = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          // Before its first piece, and between its first and its second.
          got += std::min(left, rank * c) + std::min(left, (2 * ranks - 2 - 2 * rank) * c);
          all += twice.books[static_cast<std::size_t>(rank)].total_bytes();
        }
        CHECK(all == got * row);
      }
    }
  }
}

TEST_CASE("results are a ring's, gradients are gather's, bytes and memory are those of the pairs") {
  std::mt19937_64 random(5);
  int const rounds = sanitized ? 20 : 250;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    int const ranks = 1 + static_cast<int>(random() % 9);
    auto const some = [&] {
      return combinations::make_layout(static_cast<int>(random() % 6), static_cast<extent>(random() % 40), ranks,
                                       random());
    };
    layout const queries = some(), keys = random() % 2 == 0 ? queries : some();
    auto const mask = random_mask(random, queries.tokens());
    shape const s{.batch = 1 + static_cast<extent>(random() % 2), .heads = 4, .kv_heads = 2, .dim = 3, .value_dim = 5};
    std::uint64_t const seed = random();

    std::vector<counters> books(static_cast<std::size_t>(ranks));
    struct scratch {
      extent forward, backward;  // beyond the kernel's
    };
    std::vector<scratch> memory(books.size());
    auto const got = run(queries, keys, s, mask, seed, [&](threads wire) {
      auto const rank = static_cast<std::size_t>(wire.rank());
      counted comm(wire, books[rank]);
      reference_kernel const kernel;
      auto const attend = direct(comm, kernel);
      auto problem = make_problem<float>(queries, keys, s, mask);
      problem.owner = wire.rank();
      arena<> whole, inner, whole_backward, inner_backward;
      (void)attend.state(problem, whole), (void)kernel.state(problem, inner);
      (void)attend.backward_state(problem, whole_backward), (void)kernel.backward_state(problem, inner_backward);
      memory[rank] = {whole.used() - inner.used(), whole_backward.used() - inner_backward.used()};
      return attend;
    });
    auto const around = run(queries, keys, s, mask, seed, [](threads comm) { return ring(comm, reference_kernel{}); });
    CHECK(combinations::bitwise(got.o, around.o));
    CHECK(combinations::bitwise(got.lse, around.lse));
    CHECK(combinations::bitwise(got.dq, around.dq));
    check_same(got,
               run(queries, keys, s, mask, seed, [](threads comm) { return gather(comm, reference_kernel{}, 2); }));

    for (int rank = 0; rank < ranks; ++rank) {
      extent lent = 0, fetched = 0;
      for (int other = 0; other < ranks; ++other) {
        if (other == rank) continue;
        lent += count_seen(queries, {other}, keys, rank, mask);
        fetched += count_seen(queries, {rank}, keys, other, mask);
      }
      auto const& book = books[static_cast<std::size_t>(rank)];
      check_rows(book, lent, fetched, s, 2);
      CHECK(book.steps == (lent + fetched > 0 ? 3 : 0));
      auto const bytes = [&](extent rows) {
        return round_up(rows * s.batch * 2 * 3 * 4, 64) + round_up(rows * s.batch * 2 * 5 * 4, 64);
      };
      CHECK(memory[static_cast<std::size_t>(rank)].forward == bytes(fetched));
      CHECK(memory[static_cast<std::size_t>(rank)].backward == 2 * bytes(fetched) + bytes(lent));
    }
  }
}

namespace {

// One nesting, made by make(grid, book of its rank, direct or gather), gives the same numbers with either; the books
// tell what was sent by direct.
template <class Make>
void nest(int ranks, int columns, const layout& queries, const layout& keys, const shape& s, const any_mask& mask,
          std::uint64_t seed, std::vector<counters>& books, Make make) {
  books.assign(static_cast<std::size_t>(ranks), {});
  auto const with = [&](auto by) {
    return run(queries, keys, s, mask, seed, [&](threads comm) {
      return make(grid(comm, ranks / columns, columns), books[static_cast<std::size_t>(comm.rank())], by);
    });
  };
  auto const gathered = with([](auto comm, auto inner) { return gather(comm, inner, 6); });
  books.assign(books.size(), {});
  check_same(with([](auto comm, auto inner) { return direct(comm, inner); }), gathered);
}

}  // namespace

TEST_CASE("direct under and over ring and Ulysses: the same numbers as gather, and only the rows that are needed") {
  std::mt19937_64 random(11);
  int const rounds = sanitized ? 6 : 60;
  reference_kernel const kernel;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    int const columns = 1 + static_cast<int>(random() % 3), lines = 1 + static_cast<int>(random() % 3);
    int const ranks = lines * columns;
    auto const some = [&] {
      return combinations::make_layout(static_cast<int>(random() % 6), static_cast<extent>(random() % 40), ranks,
                                       random());
    };
    layout const queries = some(), keys = random() % 2 == 0 ? queries : some();
    auto const mask = random_mask(random, queries.tokens());
    shape const s{.batch = 2, .heads = 6, .kv_heads = 6, .dim = 3, .value_dim = 2};
    std::uint64_t const seed = random();
    std::vector<counters> books;
    auto const column_of = [&](int rank) {  // the ranks of its column
      std::vector<int> all;
      for (int line = 0; line < lines; ++line) all.push_back(line * columns + rank % columns);
      return all;
    };
    auto const row_of = [&](int rank) {
      std::vector<int> all;
      for (int column = 0; column < columns; ++column) all.push_back(rank / columns * columns + column);
      return all;
    };
    auto const check_level = [&](extent heads, auto lent, auto fetched) {
      for (int rank = 0; rank < ranks; ++rank) {
        CAPTURE(rank);
        check_rows(books[static_cast<std::size_t>(rank)], lent(rank), fetched(rank), s, heads);
      }
    };

    // What any rank of a column needs comes in once, to the rank of the same row.
    auto const rows_for_columns = [&](int rank, bool mine) {
      extent rows = 0;
      for (int const other : row_of(rank)) {
        if (other != rank) rows += count_seen(queries, column_of(mine ? other : rank), keys, mine ? rank : other, mask);
      }
      return rows;
    };
    auto const lent_to_columns = [&](int rank) { return rows_for_columns(rank, true); };
    auto const fetched_for_columns = [&](int rank) { return rows_for_columns(rank, false); };
    nest(ranks, columns, queries, keys, s, mask, seed, books,
         [&](auto g, counters& book, auto by) { return by(counted(g.row(), book), ring(g.col(), kernel)); });
    check_level(6, lent_to_columns, fetched_for_columns);
    nest(ranks, columns, queries, keys, s, mask, seed, books,
         [&](auto g, counters& book, auto by) { return by(counted(g.row(), book), ulysses(g.col(), kernel)); });
    check_level(6, lent_to_columns, fetched_for_columns);

    // A ring shows whole blocks of my line; of each, the ranks of a column lend each other what they need.
    auto const rows_of_line = [&](int rank, bool mine) {
      extent rows = 0;
      for (int const other : column_of(rank)) {
        if (other == rank) continue;
        for (int const holder : row_of(mine ? rank : other)) {
          rows += count_seen(queries, {mine ? other : rank}, keys, holder, mask);
        }
      }
      return rows;
    };
    nest(ranks, columns, queries, keys, s, mask, seed, books,
         [&](auto g, counters& book, auto by) { return ring(g.row(), by(counted(g.col(), book), kernel)); });
    check_level(
        6, [&](int rank) { return rows_of_line(rank, true); }, [&](int rank) { return rows_of_line(rank, false); });

    // Under Ulysses a rank works on all rows of its line and on a share of the heads.
    auto const rows_of_lines = [&](int rank, bool mine) {
      extent rows = 0;
      for (int const other : column_of(rank)) {
        if (other == rank) continue;
        for (int const holder : row_of(mine ? rank : other)) {
          rows += count_seen(queries, row_of(mine ? other : rank), keys, holder, mask);
        }
      }
      return rows;
    };
    nest(ranks, columns, queries, keys, s, mask, seed, books,
         [&](auto g, counters& book, auto by) { return ulysses(g.row(), by(counted(g.col(), book), kernel)); });
    check_level(
        6 / columns, [&](int rank) { return rows_of_lines(rank, true); },
        [&](int rank) { return rows_of_lines(rank, false); });

    // Two of them: rows that came from another column go on within mine, as far as they are needed there.
    run(queries, keys, s, mask, seed, [&](threads comm) {
      auto const g = grid(comm, lines, columns);
      return direct(g.row(), direct(g.col(), kernel));
    });
  }
}

namespace {

// Every rank for itself, whatever the mask says.
struct local_only : reference_kernel {
  template <class P>
  bool needs(const P& p, int query_owner, int key_owner) const {
    return query_owner == key_owner && reference_kernel::needs(p, query_owner, key_owner);
  }
};

}  // namespace

TEST_CASE("a kernel that needs less than the mask shows is sent less; one that sees nothing is sent nothing") {
  shape const s{.batch = 1, .heads = 1, .kv_heads = 1, .dim = 4, .value_dim = 4};
  layout const tokens = zigzag(23, 3);
  std::vector<int> owners(23);
  for (int rank = 0; rank < 3; ++rank) {
    tokens.for_each_position(rank, [&](extent, extent p) { owners[static_cast<std::size_t>(p)] = rank; });
  }
  counters books[3];
  auto const of = [&](auto kernel) {
    return [&books, kernel](threads comm) { return direct(counted(comm, books[comm.rank()]), kernel); };
  };
  auto const alike = [&](extent q, extent k) {
    return owners[static_cast<std::size_t>(q)] == owners[static_cast<std::size_t>(k)];
  };
  outcome const apart = run(tokens, tokens, s, predicate_mask(alike), 1, of(reference_kernel{}));
  run(tokens, tokens, s, window(0), 1, of(reference_kernel{}));
  std::vector<float> out(apart.o.size());
  std::mutex guard;
  auto const q = oracle::uniform<float>(23 * 4, 1), k = oracle::uniform<float>(23 * 4, 2),
             v = oracle::uniform<float>(23 * 4, 3);
  run_ranks(3, [&](threads comm) {
    auto const shard = [&](const std::vector<double>& all) {
      return sharded::scatter<float>(all, tokens, comm.rank(), sharded::memory_order::bshd, 1, 1, 4);
    };
    std::vector<float> mine(static_cast<std::size_t>(tokens.rows(comm.rank()) * 4));
    plan(of(local_only{})(comm), make_problem<float>(tokens, s))
        .forward(shard(q), shard(k), shard(v), dense(mine.data(), 1, tokens.rows(comm.rank()), 1, 4));
    std::lock_guard const lock(guard);
    sharded::gather(out, mine, tokens, comm.rank(), 1, 4);
  });
  CHECK(out == apart.o);
  for (const counters& book : books) CHECK(book.steps == 0);
}
