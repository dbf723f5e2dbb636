#include <ringfold/attention/canonical.hpp>

#include <doctest/doctest.h>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/alibi.hpp>
#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/dropout.hpp>
#include <ringfold/sequence/shifted.hpp>
#include <ringfold/testing/kernel_laws.hpp>

#include "support/canonical_digest.hpp"
#include "support/combinations.hpp"
#include "support/either_kernel.hpp"
#include "support/sanitized.hpp"

using namespace ringfold;
using namespace combinations;

namespace {

constexpr either_kernel by_definition{{}, false}, by_blocks{{}, true};

/// A kernel that may close in natural logarithms only.
struct natural : reference_kernel {
  static constexpr bool closes_in_any_base = false;
};

struct cotangents {
  std::vector<double> out, lse;
};
template <class E, class T = typename E::element>
cotangents make_cotangents(const E& e) {
  extent const rows = e.shape.batch * e.tokens.tokens() * e.shape.heads;
  return {oracle::uniform<T>(rows * e.shape.value_dim, 7), oracle::uniform<accumulate_t<T>>(rows, 8)};
}

template <class E, class Kernel>
auto whole_run(const E& e, schedules::name which, Kernel kernel) {
  auto const of = make_cotangents(e);
  return schedules::run_backward(e, which, kernel, of.out, of.lse);
}

template <class T>
void check_same(const schedules::backward_outcome<T>& a, const schedules::backward_outcome<T>& b) {
  CHECK(bitwise(a.forward.o, b.forward.o));
  CHECK(bitwise(a.forward.lse, b.forward.lse));
  CHECK(bitwise(a.dq, b.dq));
  CHECK(bitwise(a.dk, b.dk));
  CHECK(bitwise(a.dv, b.dv));
}

/// The same of an attention on one rank.
template <class T>
struct alone_results {
  std::vector<T> o;
  std::vector<accumulate_t<T>> lse;
  std::vector<T> dq, dk, dv;
};
template <class T, class A>
alone_results<T> alone(const schedules::experiment<T>& e, const cotangents& of, A attend) {
  auto const rounded = [](const std::vector<double>& from, auto like) {
    std::vector<decltype(like)> made;
    for (double const each : from) made.push_back(sharded::rounded<decltype(like)>(each));
    return made;
  };
  auto const& s = e.shape;
  extent const n = e.tokens.tokens();
  auto q = rounded(e.q, T{}), k = rounded(e.k, T{}), v = rounded(e.v, T{}), dout = rounded(of.out, T{});
  auto dlse = rounded(of.lse, accumulate_t<T>{});
  alone_results<T> made{dout, dlse, q, k, v};
  auto const rows = [&](auto& numbers, extent heads, extent dim) {
    return dense(numbers.data(), s.batch, n, heads, dim);
  };
  auto const lse = dense(made.lse.data(), s.batch, n, s.heads), of_lse = dense(dlse.data(), s.batch, n, s.heads);
  auto const in_q = rows(q, s.heads, s.dim), in_k = rows(k, s.kv_heads, s.dim), in_v = rows(v, s.kv_heads, s.value_dim);
  auto const out = rows(made.o, s.heads, s.value_dim);
  plan(attend, e.problem()).forward(in_q, in_k, in_v, out, lse);
  backward_plan(attend, e.problem())
      .backward(in_q, in_k, in_v, out, lse, rows(dout, s.heads, s.value_dim), rows(made.dq, s.heads, s.dim),
                rows(made.dk, s.kv_heads, s.dim), rows(made.dv, s.kv_heads, s.value_dim), of_lse);
  return made;
}

layout in_chunks(int kind, extent tokens, int ranks, extent chunk) {
  switch (kind) {
    case 0: return contiguous(tokens, ranks, chunk);
    case 1: return zigzag(tokens, ranks, chunk);
    case 2: return striped(tokens, ranks, chunk);
    default: return striped(tokens, ranks, 2 * chunk);
  }
}

bool left_out(schedules::name which, int ranks, extent heads) {
  return !schedules::takes_canonical(which) || schedules::refused(which, ranks, heads);
}

/// An experiment on other layouts.
template <class E>
E on(E e, const layout& tokens) {
  e.tokens = tokens;
  return e;
}

/// Random schedules, rank counts and layouts of one experiment against one rank.
template <class E, class Kernel>
void check_random(const E& alone, Kernel kernel, extent chunk, int count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  auto const wanted = whole_run(alone, schedules::name::ring, canonical(kernel, chunk));
  for (int done = 0; done < std::max(count, 1);) {
    int const ranks = rank_counts[random() % std::size(rank_counts)], kind = static_cast<int>(random() % 4);
    auto const which = schedules::names[random() % std::size(schedules::names)];
    if (left_out(which, ranks, alone.shape.heads)) continue;
    ++done;
    CAPTURE(ranks);
    CAPTURE(kind);
    CAPTURE(static_cast<int>(which));
    auto e = on(alone, in_chunks(kind, alone.tokens.tokens(), ranks, chunk));
    if (e.apart) e.apart = in_chunks(static_cast<int>(random() % 4), e.apart->tokens(), ranks, chunk);
    e.order = sharded::memory_orders[random() % 4];
    check_same(whole_run(e, which, canonical(kernel, chunk)), wanted);
  }
}

constexpr int some = sanitized ? 1 : 16;

constexpr shape grouped{.batch = 2, .heads = 16, .kv_heads = 4, .dim = 5, .value_dim = 7};

}  // namespace

TEST_CASE("every schedule, rank count and layout of whole chunks gives the same bits") {
  extent const tokens = 45, chunk = 4;
  schedules::experiment<float> const alone(contiguous(tokens, 1), grouped, causal(), 3);
  auto const wanted = whole_run(alone, schedules::name::ring, canonical(by_definition, chunk));
  for (int const ranks : {1, 2, 3, 4, 5, 7, 8, 16}) {
    for (int const kind : {0, 1, 2}) {
      if (sanitized && (ranks != 4 || kind != 1)) continue;
      for (auto const which : schedules::names) {
        if (left_out(which, ranks, grouped.heads)) continue;
        CAPTURE(ranks);
        CAPTURE(kind);
        CAPTURE(static_cast<int>(which));
        check_same(whole_run(on(alone, in_chunks(kind, tokens, ranks, chunk)), which, canonical(by_definition, chunk)),
                   wanted);
      }
    }
  }
}

TEST_CASE("masks, head ratios and chunks change which bits, but not from rank count to rank count") {
  std::uint64_t seed = 1;
  for (band const mask : {full(), window(6), window(9, 4)}) {
    for (auto const [heads, kv_heads] : {head_counts{4, 4}, head_counts{6, 3}, head_counts{5, 1}}) {
      schedules::experiment<float> const e(contiguous(37, 1), {.heads = heads, .kv_heads = kv_heads, .dim = 3}, mask,
                                           seed);
      check_random(e, by_definition, extent{1} << seed % 5, some / 3, seed);
      ++seed;
    }
  }
}

TEST_CASE("packed documents and keys of another length") {
  auto const parts = documents({9, 0, 17, 5}) & causal();
  check_random(schedules::experiment<float>(contiguous(37, 1), grouped, parts, 11), by_definition, 4, some / 2, 1);
  check_random(schedules::experiment<float>(contiguous(37, 1), grouped, parts, 11), by_blocks, 16, some / 4, 2);
  band const mask = bottom_right(causal(), 21, 50);
  check_random(schedules::experiment<float>(contiguous(21, 1), contiguous(50, 1), grouped, mask, 12), by_blocks, 8,
               some / 2, 3);
}

#ifndef RINGFOLD_SANITIZED  // which takes long to compile
TEST_CASE("double and bfloat16, by both kernels") {
  check_random(schedules::experiment<double>(contiguous(45, 1), grouped, causal(), 13), by_definition, 8, some, 4);
  check_random(schedules::experiment<bf16>(contiguous(45, 1), grouped, causal(), 14), by_definition, 8, some, 5);
  check_random(schedules::experiment<double>(contiguous(150, 1), grouped, causal(), 15), by_blocks, 16, some / 2, 6);
  check_random(schedules::experiment<bf16>(contiguous(150, 1), grouped, causal(), 16), by_blocks, 16, some / 2, 7);
}
#endif

TEST_CASE("the blocked kernel over chunks of more and of less than its blocks" * doctest::skip(sanitized)) {
  for (extent const chunk : {16, 64, 150}) {
    check_random(schedules::experiment<float>(contiguous(410, 1), {.heads = 8, .kv_heads = 2, .dim = 9}, causal(), 17),
                 by_blocks, chunk, some / 3, 8);
    check_random(
        schedules::experiment<float>(contiguous(410, 1), {.heads = 8, .kv_heads = 2, .dim = 9}, window(70), 17),
        by_blocks, chunk, some / 3, 9);
  }
}

TEST_CASE("caps, linear biases and dropout") {
  auto const score = softcap(2) | alibi(16) | dropout(0.25, 9);
  schedules::experiment<float, any_mask, decltype(score.parts)> const e(contiguous(45, 1), grouped, causal(), 18, 1.7,
                                                                        score);
  check_random(e, by_definition, 8, some / 2, 10);
  check_random(e, by_blocks, 8, some / 2, 11);
}

TEST_CASE("numbers that are not finite, and rows that see nothing") {
  schedules::experiment<float> e(contiguous(45, 1), grouped, window(3), 19);
  e.k[100] = INFINITY, e.v[1000] = -INFINITY, e.v[3] = NAN, e.q[2000] = NAN;
  check_random(e, by_definition, 4, some / 2, 12);
  check_random(e, by_blocks, 4, some / 2, 13);
  // Of 30 queries over 20 keys the last ones see none.
  schedules::experiment<float> const beyond(contiguous(30, 1), contiguous(20, 1), grouped, window(2), 20);
  check_random(beyond, by_definition, 4, some / 2, 14);
  auto const alone = whole_run(beyond, schedules::name::ring, canonical(by_definition, 4));
  for (extent row = 22; row < 30; ++row) {
    CHECK(alone.forward.o[static_cast<std::size_t>(row * 16 * 7)] == 0);
    CHECK(alone.forward.lse[static_cast<std::size_t>(row * 16)] == -INFINITY);
    CHECK(alone.dq[static_cast<std::size_t>(row * 16 * 5)] == 0);
  }
  check_random(schedules::experiment<float>(contiguous(0, 1), grouped, full(), 21), by_definition, 4, some / 4, 15);
}

#ifndef RINGFOLD_SANITIZED
TEST_CASE("it is as exact as its kernel") {
  auto const hold = [](const auto& e, auto kernel, extent chunk) {
    using T = typename std::remove_cvref_t<decltype(e)>::element;
    auto const of = make_cotangents(e);
    auto const allows = [&](extent i, extent j) { return e.mask.allows(i, j); };
    auto const gradients = oracle::backward(e.sizes(), e.q, e.k, e.v, of.out, of.lse, allows);
    auto const exact = e.exact();
    auto const plain = alone(e, of, kernel), got = alone(e, of, canonical(kernel, chunk));
    auto const check = [](const char* what, const auto& ours, const auto& theirs, const std::vector<double>& wanted) {
      CAPTURE(what);
      double const bound = std::max(oracle::compare(theirs, wanted).relative, 8 * roundoff<T>);
      CHECK(oracle::compare(ours, wanted).relative <= 1.5 * bound);
    };
    check("o", got.o, plain.o, exact.o);
    check("lse", got.lse, plain.lse, exact.lse);
    check("dq", got.dq, plain.dq, gradients.dq);
    check("dk", got.dk, plain.dk, gradients.dk);
    check("dv", got.dv, plain.dv, gradients.dv);
  };
  for (double const size : {0.1, 1.7, 6.0}) {
    for (extent const chunk : {8, 50}) {
      for (band const mask : {full(), causal(), window(30)}) {
        CAPTURE(size);
        CAPTURE(chunk);
        shape const s{.heads = 4, .kv_heads = 2, .dim = 16};
        hold(schedules::experiment<float>(contiguous(300, 1), s, mask, 22, size), by_blocks, chunk);
        hold(schedules::experiment<double>(contiguous(300, 1), s, mask, 23, size), by_blocks, chunk);
        hold(schedules::experiment<bf16>(contiguous(300, 1), s, mask, 24, size), by_blocks, chunk);
      }
    }
  }
}
#endif

TEST_CASE("one token a chunk, it keeps the laws of a kernel") {
  kernel_laws<float>(canonical(natural{}, 1));
  kernel_laws<float>(canonical(reference_kernel{}, 1));
  kernel_laws<double>(canonical(flash_kernel{}, 1));
}

TEST_CASE("only gradients cost more bytes, and nothing more steps" * doctest::skip(sanitized)) {
  for (auto const which : schedules::names) {
    for (int const ranks : {2, 4, 6}) {
      if (left_out(which, ranks, grouped.heads)) continue;
      schedules::experiment<float> e(zigzag(96, ranks, 4), grouped, causal(), 25);
      e.gradient_bytes = 16;
      auto const got = whole_run(e, which, canonical(by_definition, 4));
      for (int rank = 0; rank < ranks; ++rank) {
        CAPTURE(static_cast<int>(which));
        CAPTURE(ranks);
        auto const at = static_cast<std::size_t>(rank);
        examples::sent forward, backward;
        if (!schedules::expected(e, which, rank, forward)) continue;
        schedules::expected_backward(e, which, rank, backward);
        CHECK(got.forward.books[at].total_bytes() == forward.bytes);
        CHECK(got.forward.books[at].steps == forward.steps);
        CHECK(got.books[at].total_bytes() == backward.bytes);
        CHECK(got.books[at].steps == backward.steps);
      }
    }
  }
}

TEST_CASE("the bits are those that every compiler gives" * doctest::skip(sanitized)) {
  for (int const columns : {1, 2, 4}) {
    for (int const rows : {1, 2, 5}) {
      for (int const which : {0, 1})
        CHECK(canonical_digest::of(which, rows, columns) == canonical_digest::wanted[which]);
    }
  }
}

TEST_CASE("what it cannot keep is refused before anything is sent") {
  auto const refusal = [](const layout& queries, const layout& keys, extent chunk) -> std::string {
    std::string text = "accepted";
    counters book;
    try {
      run_ranks(queries.ranks(), [&](threads plain) {
        auto const p = make_problem<float>(queries, keys, {.dim = 4});
        counters mine;
        counted comm(plain, mine);
        try {
          plan run(ring(comm, canonical(reference_kernel{}, chunk)), p);
        } catch (...) {
          if (mine.steps > 0) book.steps = mine.steps;
          throw;
        }
      });
    } catch (const usage_error& e) {
      text = e.what();
    }
    CHECK(book.steps == 0);
    return text;
  };
  auto const of_both = [&](const layout& tokens, extent chunk) { return refusal(tokens, tokens, chunk); };
  CHECK(of_both(contiguous(64, 2), 16) == "accepted");
  CHECK(of_both(contiguous(60, 2, 16), 16) == "accepted");
  CHECK(of_both(striped(64, 2), 1) == "accepted");
  CHECK(of_both(contiguous(64, 2), 24) ==
        "canonical: rank 0 holds 32 queries from token 0 on in steps of 1; whole chunks of 24 are needed, as in "
        "striped(tokens, ranks, 24)");
  CHECK(of_both(striped(64, 2), 2) ==
        "canonical: rank 0 holds 32 queries from token 0 on in steps of 2; whole chunks of 2 are needed, as in "
        "striped(tokens, ranks, 2)");
  CHECK(refusal(contiguous(64, 2), uneven(60, {20, 40}), 16) ==
        "canonical: rank 0 holds 20 keys from token 0 on in steps of 1; whole chunks of 16 are needed, as in "
        "striped(tokens, ranks, 16)");
  CHECK_THROWS_WITH_AS(canonical(reference_kernel{}, 0), "canonical: chunks of 0; at least 1 is needed", usage_error);
  CHECK_THROWS_WITH_AS(
      plan(canonical(reference_kernel{}, 1),
           make_problem<float>(contiguous(9, 1), {.heads = extent{1} << 20, .kv_heads = 1, .dim = 4})),
      "canonical: 9 chunks of queries, times 1048576 heads that read a key; at most 8388608 fit a sum, so take longer "
      "chunks than 1",
      usage_error);
  CHECK_THROWS_WITH_AS(run_ranks(2, [](threads comm) { canonical(ring(comm, reference_kernel{}), 4); }),
                       "canonical: its attention spans 2 ranks; put it around the kernel alone, as in ring(comm, "
                       "canonical(kernel, chunk))",
                       usage_error);
}

TEST_CASE("the same training step on any number of ranks") {
  std::vector<float> first;
  for (int const ranks : {1, 2, 3}) {
    std::vector<float> all(48 * 2 * 8);
    std::mutex guard;
    run_ranks(ranks, [&](threads comm) {
      //! [canonical]
      auto const tokens = zigzag(48, comm.size(), 8);  // pieces of whole chunks
      auto const problem = make_problem<float>(tokens, {.heads = 2, .dim = 8}, causal());
      auto const attend = ring(comm, canonical(flash_kernel{}, 8));
      plan run(attend, problem);
      //! [canonical]
      extent const rows = tokens.rows(comm.rank());
      std::vector<float> q, out(static_cast<std::size_t>(rows * 16));
      tokens.for_each_position(comm.rank(), [&](extent, extent position) {
        for (int i = 0; i < 16; ++i) q.push_back(std::sin(static_cast<float>(position * 16 + i)));
      });
      auto const view_of = [&](std::vector<float>& of) { return dense(of.data(), 1, rows, 2, 8); };
      run.forward(view_of(q), view_of(q), view_of(q), view_of(out));
      std::lock_guard const lock(guard);
      sharded::gather(all, out, tokens, comm.rank(), 1, 16);
    });
    if (first.empty()) first = all;
    CHECK(bitwise(all, first));
  }
}
