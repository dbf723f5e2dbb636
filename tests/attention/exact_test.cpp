// sanitize: off
#include <doctest/doctest.h>

#include <cstring>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>

#include "support/provenance.hpp"
#include "support/schedules.hpp"

using namespace ringfold;

namespace {

std::vector<layout> layouts(extent tokens, int ranks) {
  std::vector<extent> lengths(static_cast<std::size_t>(ranks), 0);
  for (extent i = 0; i < tokens; ++i) ++lengths[static_cast<std::size_t>(i * i % ranks)];
  return {contiguous(tokens, ranks), zigzag(tokens, ranks), striped(tokens, ranks), striped(tokens, ranks, 2),
          uneven(tokens, lengths)};
}

// Every allowed (query, key) pair once, no other at all: counted through the kernel's own arithmetic.
void check_pairs(const layout& tokens, schedules::name which, band mask) {
  extent const n = tokens.tokens(), heads = 6, key_heads = 3;
  auto const p = make_problem<provenance>(tokens, shape{1, heads, key_heads, 1}, mask);
  std::vector<provenance> o(static_cast<std::size_t>(n * heads)), lse(o);
  std::mutex guard;
  run_ranks(tokens.ranks(), [&](threads comm) {
    int const me = comm.rank();
    extent const rows = tokens.rows(me);
    std::vector<provenance> q(static_cast<std::size_t>(rows * heads + 1)),
        k(static_cast<std::size_t>(rows * key_heads + 1)), v(k), mine(q), my_lse(q);
    tokens.for_each_position(me, [&](extent row, extent position) {
      int const at = static_cast<int>(position);
      for (extent h = 0; h < heads; ++h) {
        q[static_cast<std::size_t>(row * heads + h)] =
            provenance::of_query(at * 8 + static_cast<int>(h), 0.25 * static_cast<double>(at % 5));
      }
      for (extent h = 0; h < key_heads; ++h) {
        k[static_cast<std::size_t>(row * key_heads + h)] = provenance::of_key(at, 3.0 - at % 7);
        v[static_cast<std::size_t>(row * key_heads + h)] = provenance::of_key(at, 1.0);
      }
    });
    schedules::with(which, comm, reference_kernel{}, [&](auto attend) {
      plan run(attend, p);
      run.forward(dense(q.data(), 1, rows, heads, 1), dense(k.data(), 1, rows, key_heads, 1),
                  dense(v.data(), 1, rows, key_heads, 1), dense(mine.data(), 1, rows, heads, 1),
                  dense(my_lse.data(), 1, rows, heads));
    });
    mine.pop_back(), my_lse.pop_back();
    std::lock_guard const lock(guard);
    sharded::gather(o, mine, tokens, me, 1, heads);
    sharded::gather(lse, my_lse, tokens, me, 1, heads);
  });
  int wrong = 0;
  for (extent i = 0; i < n; ++i) {
    for (extent h = 0; h < heads; ++h) {
      for (const auto* of : {&o, &lse}) {
        const provenance& held = (*of)[static_cast<std::size_t>(i * heads + h)];
        wrong += held.wrong;
        for (extent j = 0; j < n; ++j) wrong += held.keys[j] != (mask.allows(i, j) ? 1 : 0);
      }
    }
  }
  CHECK(wrong == 0);
}

// Scores that are integers in units of log2, and small integer values: every sum is exact, so any order of blocks must
// give the same bits. Partials that are closed and merged are rounded, and left out.
template <class Kernel>
void check_bits(Kernel kernel, const layout& tokens, schedules::name which, band mask, extent dim) {
  extent const n = tokens.tokens();
  schedules::experiment<float> e(tokens, {.heads = 6, .kv_heads = 3, .dim = dim}, mask, 5);
  for (std::size_t i = 0; i < e.q.size(); ++i) e.q[i] = i % static_cast<std::size_t>(dim) == 0 ? 1.0 : 0.0;
  for (std::size_t i = 0; i < e.k.size(); ++i) e.k[i] = static_cast<double>(i * i % 7) - 3.0;
  for (std::size_t i = 0; i < e.v.size(); ++i) e.v[i] = static_cast<double>(i * 5 % 9) - 4.0;
  e.score.scale = 0.69314718055994530942;
  auto alone = e;
  alone.tokens = contiguous(n, 1);
  auto const wanted = schedules::run(alone, schedules::name::ring, reference_kernel{});
  auto const got = schedules::run(e, which, kernel);
  CHECK(std::memcmp(got.o.data(), wanted.o.data(), wanted.o.size() * sizeof(float)) == 0);
  // The log-sum-exp of exact sums differs by no more than the kernels' logarithms do.
  double worst = 0;
  for (std::size_t i = 0; i < wanted.lse.size(); ++i) {
    if (got.lse[i] == wanted.lse[i]) continue;
    worst = std::max(worst, std::fabs(static_cast<double>(got.lse[i] - wanted.lse[i])));
  }
  CHECK(worst <= 4e-7 * 8);
}

}  // namespace

TEST_CASE("every allowed pair is merged exactly once, by every schedule over every layout") {
  for (int const ranks : {1, 2, 3, 4, 5, 6, 8, 9}) {
    for (extent const n : {1, 6, 29}) {
      for (const layout& tokens : layouts(n, ranks)) {
        for (auto const which : schedules::names) {
          if (schedules::refused(which, ranks, 6)) continue;
          CAPTURE(ranks);
          CAPTURE(n);
          CAPTURE(static_cast<int>(which));
          for (band const mask : {full(), causal(), window(3, 2)}) check_pairs(tokens, which, mask);
        }
      }
    }
  }
}

TEST_CASE("exact sums have the same bits in any order of blocks, through both kernels") {
  for (int const ranks : {1, 2, 3, 4, 6, 8}) {
    for (extent const n : {29, 100}) {
      for (const layout& tokens : layouts(n, ranks)) {
        for (auto const which : schedules::names) {
          if (schedules::refused(which, ranks, 6) || schedules::merges(which)) continue;
          CAPTURE(ranks);
          CAPTURE(n);
          CAPTURE(static_cast<int>(which));
          for (band const mask : {full(), causal(), window(20, 3)}) {
            check_bits(reference_kernel{}, tokens, which, mask, 2);
            check_bits(flash_kernel{}, tokens, which, mask, 2);
          }
        }
      }
    }
  }
}
