// sanitize: off
#include <ringfold/kernel/cpu/flash_backward.hpp>

#include <doctest/doctest.h>

#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/documents.hpp>

#include "erratic.hpp"
#include "kernel_cases.hpp"

using namespace ringfold;

static_assert(differentiable<flash_kernel, problem<float>, host_stream>);
static_assert(differentiable<flash_kernel, problem<bf16>, host_stream>);
static_assert(differentiable<flash_kernel, problem<double>, host_stream>);

namespace {

/// Whole sequences of what a backward pass is given.
struct given {
  std::vector<double> q, k, v, dout, lse, delta;
};

template <class A>
struct gradients {
  std::vector<A> dq, dk, dv;
  friend bool operator==(const gradients&, const gradients&) = default;
};

/// The backward verbs over every owner's queries and every block, in any order and by any number of heads at once; the
/// state is used twice and must forget the first use, and its measured and its real memory must agree.
template <class Kernel, class P>
gradients<typename P::accumulate> run(Kernel kernel, P p, const given& in, sharded::cut how = {}) {
  using T = typename P::element;
  using A = typename P::accumulate;
  extent const heads = p.head.query, key_heads = p.head.key, key_tokens = p.keys.tokens();
  auto const sized = [&](extent count) { return std::vector<A>(static_cast<std::size_t>(p.batch * count)); };
  gradients<A> all{sized(p.queries.tokens() * heads * p.dim), sized(key_tokens * key_heads * p.dim),
                   sized(key_tokens * key_heads * p.value_dim)};
  struct keys_of {
    sharded::shard<T> k, v;
    sharded::shard<A> dk, dv;
  };
  struct part {
    int owner;
    extent first;
  };
  extent const step = how.heads_per_block > 0 ? how.heads_per_block : key_heads;
  std::vector<part> parts;
  std::vector<keys_of> keys, wasted;
  for (int owner = 0; owner < p.keys.ranks(); ++owner) {
    extent const rows = p.keys.rows(owner);
    for (extent first = 0; first < key_heads; first += step) parts.push_back({owner, first});
    keys.push_back({sharded::scatter<T>(in.k, p.keys, owner, how.order, p.batch, key_heads, p.dim),
                    sharded::scatter<T>(in.v, p.keys, owner, how.order, p.batch, key_heads, p.value_dim),
                    sharded::make_shard<A>(how.order, p.batch, rows, key_heads, p.dim),
                    sharded::make_shard<A>(how.order, p.batch, rows, key_heads, p.value_dim)});
    wasted.push_back({{},
                      {},
                      sharded::make_shard<A>(how.order, p.batch, rows, key_heads, p.dim),
                      sharded::make_shard<A>(how.order, p.batch, rows, key_heads, p.value_dim)});
  }
  host_stream const on;
  std::mt19937_64 random(how.seed);
  for (int owner = 0; owner < p.queries.ranks(); ++owner) {
    if (how.seed != 0) std::shuffle(parts.begin(), parts.end(), random);
    p.owner = owner;
    arena<> measuring;
    (void)kernel.backward_state(p, measuring);
    sharded::workspace memory(measuring.used());
    auto state = kernel.backward_state(p, memory.arena());
    CHECK(memory.arena().used() == measuring.used());

    extent const rows = p.queries.rows(owner);
    auto const q = sharded::scatter<T>(in.q, p.queries, owner, how.order, p.batch, heads, p.dim);
    auto const dout = sharded::scatter<T>(in.dout, p.queries, owner, how.order, p.batch, heads, p.value_dim);
    auto const numbers = [&](const std::vector<double>& from) {
      std::vector<A> narrow(from.begin(), from.end());
      return sharded::scatter<A>(narrow, p.queries, owner, sharded::memory_order::bshd, p.batch, heads, 1);
    };
    auto const lse = numbers(in.lse), delta = numbers(in.delta);
    auto const of_rows = [&](const sharded::shard<A>& from) {
      return view<const A, 3>(dense(from.memory.data(), p.batch, rows, heads));
    };
    cotangent<T> const of_out{dout, of_rows(lse), of_rows(delta)};
    auto const fold = [&](const part& each, keys_of& into) {
      keys_of& from = keys[static_cast<std::size_t>(each.owner)];
      extent const count = std::min(step, key_heads - each.first);
      auto const some = [&](auto whole) { return slice(whole, head_axis, each.first, count); };
      kernel.accumulate_backward(
          state, block<T>{some(from.k.whole), some(from.v.whole), each.owner, p.head.first_key + each.first},
          block_gradient<A>{some(into.dk.whole), some(into.dv.whole)}, on);
    };
    kernel.prepare_backward(state, q, of_out, on);
    if (!parts.empty()) fold(parts.front(), wasted[static_cast<std::size_t>(parts.front().owner)]);
    kernel.prepare_backward(state, q, of_out, on);
    for (const part& each : parts) {
      kernel.accumulate_backward(state, block<T>{}, block_gradient<A>{}, on);
      fold(each, keys[static_cast<std::size_t>(each.owner)]);
    }
    auto const dq = sharded::make_shard<A>(how.order, p.batch, rows, heads, p.dim);
    kernel.close_backward(state, dq.whole, on);
    p.queries.for_each_position(owner, [&](extent row, extent position) {
      for (extent b = 0; b < p.batch; ++b) {
        for (extent h = 0; h < heads; ++h) {
          auto const at = static_cast<std::size_t>(((b * p.queries.tokens() + position) * heads + h) * p.dim);
          for (extent d = 0; d < p.dim; ++d) all.dq[at + static_cast<std::size_t>(d)] = dq.whole(b, row, h, d);
        }
      }
    });
  }
  for (int owner = 0; owner < p.keys.ranks(); ++owner) {
    auto const keep = [&](std::vector<A>& to, const view<A, 4>& from, extent dim) {
      p.keys.for_each_position(owner, [&](extent row, extent position) {
        for (extent b = 0; b < p.batch; ++b) {
          for (extent h = 0; h < key_heads; ++h) {
            auto const at = static_cast<std::size_t>(((b * key_tokens + position) * key_heads + h) * dim);
            for (extent d = 0; d < dim; ++d) to[at + static_cast<std::size_t>(d)] = from(b, row, h, d);
          }
        }
      });
    };
    keep(all.dk, keys[static_cast<std::size_t>(owner)].dk.whole, p.dim);
    keep(all.dv, keys[static_cast<std::size_t>(owner)].dv.whole, p.value_dim);
  }
  return all;
}

struct case_of {
  given in;
  oracle::gradients wanted;
};

/// Inputs and exact gradients; that of lse is drawn too, so that no row's gradient cancels to nothing.
template <class P>
case_of draw(const P& p, std::uint64_t seed, double bound = 1.7) {
  using T = typename P::element;
  auto const drawn = kernel_cases::draw<T>(p, seed, bound);
  auto const forward = kernel_cases::expected(p, drawn);
  extent const rows = p.batch * p.queries.tokens() * p.head.query;
  given in{drawn.q, drawn.k, drawn.v, oracle::uniform<T>(rows * p.value_dim, seed + 1000), forward.lse, {}};
  auto const dlse = oracle::uniform<float>(rows, seed + 2000);
  for (extent i = 0; i < rows; ++i) {
    double sum = -dlse[static_cast<std::size_t>(i)];
    for (extent d = 0; d < p.value_dim; ++d) {
      auto const at = static_cast<std::size_t>(i * p.value_dim + d);
      sum += forward.o[at] * in.dout[at];
    }
    in.delta.push_back(sum);
  }
  auto wanted = oracle::backward(
      {p.batch, p.queries.tokens(), p.keys.tokens(), p.head.query, p.head.key, p.dim, p.value_dim, p.score.scale}, in.q,
      in.k, in.v, in.dout, dlse, [&](extent query, extent key) { return p.mask_of.allows(query, key); });
  return {std::move(in), std::move(wanted)};
}

template <class A>
double worst_error(const gradients<A>& got, const oracle::gradients& wanted) {
  return std::max({oracle::compare(got.dq, wanted.dq).relative, oracle::compare(got.dk, wanted.dk).relative,
                   oracle::compare(got.dv, wanted.dv).relative});
}

template <class A>
inline constexpr double allowed = std::is_same_v<A, double> ? 2e-15 : 1e-6;

/// The largest error in roundoffs of the sizes of its terms, which may cancel.
template <class A>
double worst_roundoffs(const std::vector<A>& got, const std::vector<double>& wanted, const std::vector<double>& terms) {
  double worst = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    double const apart = std::fabs(static_cast<double>(got[i]) - wanted[i]);
    if (apart > 0) worst = std::fmax(worst, apart / terms[i] / (std::is_same_v<A, double> ? 0x1p-53 : 0x1p-24));
  }
  return worst;
}

template <class T, class Kernel>
void check_random(Kernel kernel, std::uint64_t first_seed, int count) {
  using A = accumulate_t<T>;
  kernel_cases::for_random_cases<T>(first_seed, count, [&](const auto& p, std::uint64_t seed, sharded::cut how) {
    auto const drawn = draw(p, seed);
    auto const got = run(kernel, p, drawn.in, how);
    // Where a row sees one key, its gains cancel, for the reference as well.
    if (double const error = worst_error(got, drawn.wanted); error > allowed<A>) {
      CHECK(error <= 1.5 * worst_error(run(reference_kernel{}, p, drawn.in, how), drawn.wanted));
    }
    CHECK(worst_roundoffs(got.dq, drawn.wanted.dq, drawn.wanted.dq_terms) <= 48);
    CHECK(worst_roundoffs(got.dk, drawn.wanted.dk, drawn.wanted.dk_terms) <= 48);
    CHECK(worst_roundoffs(got.dv, drawn.wanted.dv, drawn.wanted.dv_terms) <= 48);
    for (std::size_t i = 0; i < drawn.in.lse.size(); ++i) {
      if (drawn.in.lse[i] != -INFINITY) continue;
      for (extent d = 0; d < p.dim; ++d) {
        CHECK(got.dq[i * static_cast<std::size_t>(p.dim) + static_cast<std::size_t>(d)] == 0);
      }
    }
  });
}

}  // namespace

TEST_CASE("the blocked backward pass agrees with the definition") {
  int const count = 40;
  check_random<double>(flash_kernel{}, 100, count);
  check_random<float>(flash_kernel{}, 200, count);
  check_random<bf16>(flash_kernel{}, 300, count / 2);
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
  hold(make_problem<bf16>(one, keys, shape{2, 24, 2, 33, 65}, window(0, 450)), 4);
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
