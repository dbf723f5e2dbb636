// sanitize: off
#include <ringfold/kernel/cpu/flash_backward.hpp>

#include <doctest/doctest.h>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/documents.hpp>

#include "backward_cases.hpp"
#include "erratic.hpp"

using namespace ringfold;
using namespace backward_cases;

static_assert(differentiable<flash_kernel, problem<float>, host_stream>);
static_assert(differentiable<flash_kernel, problem<double>, host_stream>);

TEST_CASE("the blocked backward pass agrees with the definition") {
  int const count = 40;
  check_random<double>(flash_kernel{}, 100, count);
  check_random<float>(flash_kernel{}, 200, count);
  check_random<f16>(flash_kernel{}, 400, count / 2);
  check_random<float>(reference_kernel{}, 500, count / 4);
}

TEST_CASE("many blocks of keys, more tiles than are worked on at once, few queries of many heads") {
  auto const hold = [](const auto& p, std::uint64_t seed) {
    auto const drawn = draw(p, seed);
    CHECK(worst_error(run(flash_kernel{}, p, drawn.in), drawn.wanted) <= 1e-6);
  };
  for (std::uint64_t const which : {0u, 2u, 4u}) {
    CAPTURE(which);
    hold(make_problem<float>(kernel_cases::layout_number(which, 701), shape{1, 2, 1, 24, 40}, causal()), 1);
    hold(make_problem<float>(kernel_cases::layout_number(which, 701), shape{1, 2, 2, 8, 8}, window(130, 7)), 2);
  }
  hold(make_problem<float>(contiguous(701, 3), shape{1, 2, 1, 8, 24}, documents({300, 0, 212, 100}) & causal()), 5);
  layout const one = uneven(1, {1, 0}), keys = contiguous(700, 2);
  hold(make_problem<float>(one, keys, shape{2, 40, 1, 64, 64}, full()), 3);
  hold(make_problem<float>(one, keys, shape{2, 24, 2, 33, 65}, window(0, 450)), 4);
}

TEST_CASE("a slice of the heads, in global numbers, gives what the reference kernel gives") {
  auto p = make_problem<double>(zigzag(50, 2), shape{2, 6, 3, 16, 16}, causal());
  auto const in = draw(p, 21).in;
  p.head = {2, 6, 0, 3, 3};  // heads 2..7 of 9 lie in groups 0, 1 and 2, which they cut at both ends
  auto const wanted = run(reference_kernel{}, p, in);
  for (extent const heads_per_block : {0, 1, 2}) {
    auto const got = run(flash_kernel{}, p, in, {1, heads_per_block, sharded::memory_order::packed});
    CHECK(worst_error(got, {wanted.dq, wanted.dk, wanted.dv}) <= 2e-15);
  }
}

TEST_CASE(
    "the blocked backward pass is about as accurate as the reference, repeatable to the bit, in any memory order") {
  auto const p = make_problem<float>(contiguous(1024, 1), shape{1, 2, 1, 64, 64}, causal());
  auto const drawn = draw(p, 9);
  auto const flash = run(flash_kernel{}, p, drawn.in);
  CHECK(worst_error(flash, drawn.wanted) <= 1e-6);
  CHECK(worst_error(flash, drawn.wanted) <= 1.5 * worst_error(run(reference_kernel{}, p, drawn.in), drawn.wanted));
  CHECK(flash == run(flash_kernel{}, p, drawn.in));

  auto const small = make_problem<float>(zigzag(150, 2), shape{2, 4, 2, 33, 17}, causal());
  auto const in = draw(small, 31).in;
  auto const first = run(flash_kernel{}, small, in);
  for (auto const order : sharded::memory_orders) CHECK(first == run(flash_kernel{}, small, in, {0, 1, order}));
}

TEST_CASE_TEMPLATE("exact sums are exact, whatever the order of blocks", T, double, float, bf16) {
  // Scores are whole numbers in units of log2 and lse is 4 there, so weights are powers of two; all else is whole. One group of tiles
  // holds all queries, so that dk, which is not dyadic, is rounded once.
  using A = accumulate_t<T>;
  double const ln_2 = 0.693147180559945309417;
  extent const n = 31, heads = 4, key_heads = 2, dim = 3, value_dim = 5;
  std::mt19937_64 random(7);
  auto const whole = [&](extent count, int bound) {
    std::vector<double> made;
    for (extent i = 0; i < count; ++i) {
      made.push_back(static_cast<double>(random() % (2 * static_cast<unsigned>(bound) + 1)) - bound);
    }
    return made;
  };
  given in{whole(n * heads * dim, 1),
           whole(n * key_heads * dim, 1),
           whole(n * key_heads * value_dim, 3),
           whole(n * heads * value_dim, 3),
           {},
           whole(n * heads, 4)};
  in.lse.assign(static_cast<std::size_t>(n * heads), 4 * ln_2);
  std::vector<double> dq(in.q.size()), dk(in.k.size()), dv(in.v.size());
  auto const at = [](auto& all, extent i) -> auto& { return all[static_cast<std::size_t>(i)]; };
  for (extent row = 0; row < n * heads; ++row) {
    for (extent j = 0; j <= row / heads; ++j) {
      extent const key = j * key_heads + row % heads / 2;
      double score = -4, gain = -at(in.delta, row);
      for (extent d = 0; d < dim; ++d) score += at(in.q, row * dim + d) * at(in.k, key * dim + d);
      for (extent d = 0; d < value_dim; ++d) gain += at(in.dout, row * value_dim + d) * at(in.v, key * value_dim + d);
      double const weight = std::exp2(score);
      for (extent d = 0; d < value_dim; ++d) at(dv, key * value_dim + d) += weight * at(in.dout, row * value_dim + d);
      for (extent d = 0; d < dim; ++d) {
        at(dq, row * dim + d) += weight * gain * at(in.k, key * dim + d);
        at(dk, key * dim + d) += weight * gain * at(in.q, row * dim + d);
      }
    }
  }
  gradients<A> wanted;
  for (double const each : dq) wanted.dq.push_back(static_cast<A>(each) * static_cast<A>(ln_2));
  for (double const each : dk) wanted.dk.push_back(static_cast<A>(each) * static_cast<A>(ln_2));
  for (double const each : dv) wanted.dv.push_back(static_cast<A>(each));
  for (const layout& keys : {contiguous(n, 4), uneven(n, {7, 0, 20, 4}), striped(n, 4)}) {
    auto const p = make_problem<T>(uneven(n, {n, 0, 0, 0}), keys, shape{1, heads, key_heads, dim, value_dim}, causal(),
                                   scaled{ln_2});
    for (std::uint64_t const seed : {0u, 1u, 2u}) {
      CHECK(run(flash_kernel{}, p, in, {seed, static_cast<extent>(seed % 2), {}}) == wanted);
    }
  }
}

TEST_CASE_TEMPLATE("what is hidden may hold anything, and what is seen propagates", T, float, double, bf16) {
  extent const n = 170, dim = 9, value_dim = 11;
  auto const p = make_problem<T>(zigzag(n, 2), shape{1, 1, 1, dim, value_dim}, causal());
  given const clean = draw(p, 11).in;
  auto const good = run(flash_kernel{}, p, clean);
  auto const differ = [](const auto& a, const auto& b, extent first, extent last) {
    int wrong = 0;
    for (extent i = first; i < last; ++i) wrong += a[static_cast<std::size_t>(i)] != b[static_cast<std::size_t>(i)];
    return wrong;
  };
  auto const finite = [](const auto& a, extent first, extent last) {
    int count = 0;
    for (extent i = first; i < last; ++i) count += std::isfinite(static_cast<double>(a[static_cast<std::size_t>(i)]));
    return count;
  };
  for (double const bad : {static_cast<double>(NAN), static_cast<double>(INFINITY), -static_cast<double>(INFINITY)}) {
    for (extent const at : {extent{0}, extent{33}, extent{100}, extent{169}}) {
      CAPTURE(at);
      given in = clean;
      in.v[static_cast<std::size_t>(at * value_dim + 4)] = bad;
      auto got = run(flash_kernel{}, p, in);
      CHECK(differ(got.dq, good.dq, 0, at * dim) == 0);
      CHECK(finite(got.dq, at * dim, n * dim) == 0);
      CHECK(differ(got.dv, good.dv, 0, n * value_dim) == 0);
      in.k[static_cast<std::size_t>(at * dim + 2)] = bad;
      got = run(flash_kernel{}, p, in);
      CHECK(differ(got.dq, good.dq, 0, at * dim) == 0);

      in = clean;
      in.dout[static_cast<std::size_t>(at * value_dim + 4)] = bad;
      in.delta[static_cast<std::size_t>(at)] = bad;
      got = run(flash_kernel{}, p, in);
      CHECK(differ(got.dq, good.dq, 0, at * dim) == 0);
      CHECK(differ(got.dq, good.dq, (at + 1) * dim, n * dim) == 0);
      CHECK(differ(got.dk, good.dk, (at + 1) * dim, n * dim) == 0);
      CHECK(differ(got.dv, good.dv, (at + 1) * value_dim, n * value_dim) == 0);
      CHECK(finite(got.dk, 0, (at + 1) * dim) == 0);
      in.q[static_cast<std::size_t>(at * dim + 2)] = bad;
      in.lse[static_cast<std::size_t>(at)] = NAN;
      got = run(flash_kernel{}, p, in);
      CHECK(differ(got.dk, good.dk, (at + 1) * dim, n * dim) == 0);
      CHECK(differ(got.dv, good.dv, (at + 1) * value_dim, n * value_dim) == 0);

      // A row that saw nothing takes no part, whatever it holds.
      in.lse[static_cast<std::size_t>(at)] = -INFINITY;
      got = run(flash_kernel{}, p, in);
      CHECK(finite(got.dk, 0, n * dim) == n * dim);
      CHECK(finite(got.dv, 0, n * value_dim) == n * value_dim);
      for (extent d = 0; d < dim; ++d) CHECK(got.dq[static_cast<std::size_t>(at * dim + d)] == 0);
    }
  }
}

TEST_CASE_TEMPLATE("the number of workers changes no bit", T, float, bf16) {
  constexpr shape shapes[] = {{1, 1, 1, 16, 8}, {2, 6, 3, 5, 7}, {1, 40, 1, 8, 8}};
  for (int which = 0; which < 12; ++which) {
    CAPTURE(which);
    auto const tokens = kernel_cases::layout_number(static_cast<std::uint64_t>(which), which % 3 == 0 ? 1801 : 130);
    auto const p = make_problem<T>(tokens, shapes[which % 3], which % 2 == 0 ? causal() : window(90, 7));
    auto const in = draw(p, 5).in;
    sharded::cut const how{1, which % 3, sharded::memory_order::packed};
    erratic const many{2 + which % 6};
    CHECK(run(flash_kernel{}, p, in, how) == run(flash_kernel{}.on(many), p, in, how));
  }
}

TEST_CASE("a score function that fails on a worker ends the call with its error") {
  auto const raise = [](float score, const token_pair& at) {
    if (at.query == 900 && at.key == 650) throw std::runtime_error("score of 900 and 650");
    return score;
  };
  auto const p = make_problem<float>(contiguous(1200, 1), shape{1, 2, 1, 8, 8}, causal(), score_function(raise, raise));
  auto const in = draw(make_problem<float>(contiguous(1200, 1), shape{1, 2, 1, 8, 8}, causal()), 7).in;
  erratic const many{4};
  CHECK_THROWS_WITH_AS(run(flash_kernel{}.on(many), p, in), "score of 900 and 650", std::runtime_error);
}

TEST_CASE("what does not fit is refused by name") {
  flash_kernel const kernel;
  auto const p = make_problem<float>(contiguous(8, 2), shape{1, 2, 1, 4, 4});
  sharded::workspace memory(1 << 20);
  auto state = kernel.backward_state(p, memory.arena());
  std::vector<float> numbers(1024);
  host_stream const on;
  view<const float, 4> const q = dense(numbers.data(), 1, 4, 2, 4), kv = dense(numbers.data(), 1, 4, 1, 4);
  view<const float, 3> const rows = dense(numbers.data(), 1, 4, 2), short_rows = dense(numbers.data(), 1, 3, 2);
  auto const of_kv = dense(numbers.data(), 1, 4, 1, 4), wide = dense(numbers.data(), 1, 4, 1, 5);
  CHECK_THROWS_WITH_AS(kernel.prepare_backward(state, q, cotangent<float>{q, short_rows, rows}, on),
                       "lse: extent 3 along the row axis; the problem has 4", shape_error);
  kernel.prepare_backward(state, q, cotangent<float>{q, rows, rows}, on);
  CHECK_THROWS_WITH_AS(
      kernel.accumulate_backward(state, block<float>{kv, kv, 0, 0}, block_gradient<float>{of_kv, wide}, on),
      "dv: extent 5 along the dim axis; the problem has 4", shape_error);
  CHECK_THROWS_WITH_AS(
      kernel.accumulate_backward(state, block<float>{kv, kv, 2, 0}, block_gradient<float>{of_kv, of_kv}, on),
      "block: owner 2; the keys lie on ranks 0..1", usage_error);
  auto const hidden = make_problem<float>(contiguous(8, 2), shape{1, 2, 1, 4, 4}, causal());
  auto hidden_state = kernel.backward_state(hidden, memory.arena());
  kernel.prepare_backward(hidden_state, q, cotangent<float>{q, rows, rows}, on);
  kernel.accumulate_backward(hidden_state, block<float>{kv, kv, 1, 0},
                             block_gradient<float>{absent(of_kv), absent(of_kv)}, on);
  CHECK_THROWS_WITH_AS(kernel.accumulate_backward(hidden_state, block<float>{kv, kv, 0, 0},
                                                  block_gradient<float>{absent(of_kv), absent(of_kv)}, on),
                       "dk: extent 0 along the row axis; the problem has 4", shape_error);
  CHECK_THROWS_WITH_AS(kernel.close_backward(state, of_kv, on), "dq: extent 1 along the head axis; the problem has 2",
                       shape_error);
}
