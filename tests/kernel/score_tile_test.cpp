// sanitize: off
#include <ringfold/kernel/cpu/score_tile.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/bias.hpp>

#include "oracle.hpp"

using namespace ringfold;

namespace {

/// o, lse, dq, dk and dv of a problem on one rank, one behind the other.
template <class Kernel, class P>
std::vector<double> everything(Kernel kernel, const P& p, double bound) {
  using T = typename P::element;
  extent const n = p.queries.tokens(), h = p.head.query, rows = p.batch * n;
  std::vector<T> memory[8];
  extent const widths[] = {h * p.dim,       p.head.key * p.dim, p.head.key * p.value_dim, h * p.value_dim,
                           h * p.value_dim, h * p.dim,          p.head.key * p.dim,       p.head.key * p.value_dim};
  for (std::size_t i = 0; i < 8; ++i) {
    for (double const each : oracle::uniform<T>(rows * widths[i], i, bound)) memory[i].push_back(static_cast<T>(each));
  }
  std::vector<T> lses(static_cast<std::size_t>(rows * h));
  auto const tensor = [&](std::size_t i, extent heads, extent dim) {
    return dense(memory[i].data(), p.batch, n, heads, dim);
  };
  auto const q = tensor(0, h, p.dim), k = tensor(1, p.head.key, p.dim), v = tensor(2, p.head.key, p.value_dim),
             out = tensor(3, h, p.value_dim), dout = tensor(4, h, p.value_dim), dq = tensor(5, h, p.dim),
             dk = tensor(6, p.head.key, p.dim), dv = tensor(7, p.head.key, p.value_dim);
  auto const lse = dense(lses.data(), p.batch, n, h);
  auto const attend = ring(self{}, kernel);
  plan(attend, p).forward(q, k, v, out, lse);
  backward_plan(attend, p).backward(q, k, v, out, lse, dout, dq, dk, dv);
  std::vector<double> all(lses.begin(), lses.end());
  for (std::size_t const i : {3u, 5u, 6u, 7u}) all.insert(all.end(), memory[i].begin(), memory[i].end());
  return all;
}

template <class T, class Score>
void check(Score score, double bound = 1.7) {
  for (auto const& tokens : {contiguous(150, 1), striped(67, 1, 5)}) {
    for (auto const& mask_of : {causal(), window(20, 3)}) {
      shape const s{.batch = 2, .heads = 6, .kv_heads = 3, .dim = 20, .value_dim = 9, .first_batch = 5};
      auto const p = make_problem<T>(tokens, s, mask_of, score);
      auto const blocked = everything(flash_kernel{}, p, bound), pairs = everything(reference_kernel{}, p, bound);
      // Scores are rounded in proportion to their size.
      double const roundings = 16 * std::fmax(1, bound * bound / 10);
      CHECK(oracle::compare(blocked, pairs).relative <= roundings * std::ldexp(1.0, sizeof(T) == 4 ? -24 : -53));
    }
  }
}

template <class Score>
void check_both(Score score) {
  check<float>(score);
  check<double>(score);
}

}  // namespace

TEST_CASE("parts with code for registers do what they do pair by pair") {
  check_both(softcap(0.7));
  check_both(softcap(30));
  check_both(alibi(6));
  check_both(alibi(6, 11));
  check_both(dropout(0.3, 42));
  check_both(scaled{0.4} | softcap(2) | alibi(6) | dropout(0.2, 7));
  check_both(alibi(6) | softcap(1.5));
  check_both(optionally(true, softcap(0.7)) | optionally(false, alibi(6)) | optionally(true, dropout(0.2, 7)));
}

TEST_CASE("scores that are far apart or not finite stay what they are") {
  check<float>(softcap(5), 100);
  std::vector<double> numbers(static_cast<std::size_t>(150 * 150), 0.0);
  for (std::size_t i = 0; i < numbers.size(); i += 3) numbers[i] = -INFINITY;
  shape const s{.heads = 2, .dim = 8};
  auto const p = make_problem<double>(contiguous(150, 1), s, causal(), bias(dense(numbers.data(), 1, 1, 150, 150)));
  CHECK(oracle::compare(everything(flash_kernel{}, p, 1.7), everything(reference_kernel{}, p, 1.7)).relative <= 1e-14);
}

TEST_CASE("a bias of any axes and strides is added as it is pair by pair") {
  constexpr extent most = 7L * 6 * 150 * 2 * 150;
  auto const drawn = oracle::uniform<float>(most, 3, 2.0);
  std::vector<float> const numbers(drawn.begin(), drawn.end());
  shape const s{.batch = 2, .heads = 6, .kv_heads = 3, .dim = 20, .value_dim = 9, .first_batch = 5};
  for (auto const& tokens : {contiguous(150, 1), striped(67, 1, 5)}) {
    for (int axes = 0; axes < 16; ++axes) {
      CAPTURE(axes);
      extent const n = tokens.tokens(), step = 1 + axes % 3 / 2;
      auto const extent_of = [&](int axis, extent whole) { return (axes >> axis & 1) != 0 ? whole : 1; };
      auto of = dense(numbers.data(), extent_of(0, 7), extent_of(1, 6), extent_of(2, n), step * extent_of(3, n));
      of.extents[3] = extent_of(3, n), of.strides[3] = step;
      auto const p = make_problem<float>(tokens, s, causal(), bias(of));
      auto const blocked = everything(flash_kernel{}, p, 1.7), pairs = everything(reference_kernel{}, p, 1.7);
      CHECK(oracle::compare(blocked, pairs).relative <= 16 * 0x1p-24);
    }
  }
}
