#pragma once

#include <cmath>

#include <doctest/doctest.h>

#include <ringfold/kernel/reference.hpp>

#include "kernel_cases.hpp"

/// \file
/// What every kernel's backward pass must get right, checked against the oracle.

namespace backward_cases {

using namespace ringfold;

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

/// Inputs and exact gradients; that of lse is drawn too, so that no row's gradient cancels to nothing. What the parts of
/// a score mean is for the caller to say.
template <class P, class Score = oracle::plain_score, class Keep = oracle::keep_all>
case_of draw(const P& p, std::uint64_t seed, double bound = 1.7, Score score_of = {}, Keep keep = {}) {
  using T = typename P::element;
  auto const drawn = kernel_cases::draw<T>(p, seed, bound);
  oracle::sizes const sizes{p.batch, p.queries.tokens(), p.keys.tokens(), p.head.query, p.head.key,
                            p.dim,   p.value_dim,        p.score.scale};
  auto const allows = [&](extent query, extent key) { return p.mask_of.allows(query, key); };
  auto const forward = oracle::attention(sizes, drawn.q, drawn.k, drawn.v, allows, score_of, keep);
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
  auto wanted = oracle::backward(sizes, in.q, in.k, in.v, in.dout, dlse, allows, score_of, keep);
  return {std::move(in), std::move(wanted)};
}

template <class A>
double worst_error(const gradients<A>& got, const oracle::gradients& wanted) {
  return std::max({oracle::compare(got.dq, wanted.dq).relative, oracle::compare(got.dk, wanted.dk).relative,
                   oracle::compare(got.dv, wanted.dv).relative});
}

template <class A>
inline constexpr double allowed = std::is_same_v<A, double> ? 2e-15 : 1e-6;

template <class A>
inline constexpr double roundoff = std::is_same_v<A, double> ? 0x1p-53 : 0x1p-24;

/// The largest error of an element by what it may be off by.
template <class A, class Allowed>
double worst_of_allowed(const std::vector<A>& got, const std::vector<double>& wanted, Allowed allowed_at) {
  double worst = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    double const apart = std::fabs(static_cast<double>(got[i]) - wanted[i]);
    if (!(apart <= 0)) worst = std::fmax(worst, std::isfinite(apart) ? apart / allowed_at(i) : INFINITY);
  }
  return worst;
}

/// Every element to within 48 roundoffs of the sizes of its terms, which may cancel. Where weights and gradients of
/// scores are rounded before they are multiplied, to within `rounding` of these products more.
template <class A>
void check_terms(const gradients<A>& got, const oracle::gradients& wanted, double rounding = 0) {
  double const sums = 48 * roundoff<A>;
  auto const worst = [&](const auto& of, const auto& exact, const auto& terms, const auto& products) {
    return worst_of_allowed(of, exact, [&](std::size_t i) { return sums * terms[i] + rounding * products[i]; });
  };
  CHECK(worst(got.dq, wanted.dq, wanted.dq_terms, wanted.dq_products) <= 1);
  CHECK(worst(got.dk, wanted.dk, wanted.dk_terms, wanted.dk_products) <= 1);
  CHECK(worst(got.dv, wanted.dv, wanted.dv_terms, wanted.dv_terms) <= 1);
}

template <class T, class Kernel>
void check_random(Kernel kernel, std::uint64_t first_seed, int count, double rounding = 0) {
  using A = accumulate_t<T>;
  kernel_cases::for_random_cases<T>(first_seed, count, [&](const auto& p, std::uint64_t seed, sharded::cut how) {
    auto const drawn = draw(p, seed);
    auto const got = run(kernel, p, drawn.in, how);
    // Where a row sees one key, its gains cancel, for the reference as well.
    if (double const error = worst_error(got, drawn.wanted); rounding == 0 && error > allowed<A>) {
      CHECK(error <= 1.5 * worst_error(run(reference_kernel{}, p, drawn.in, how), drawn.wanted));
    }
    check_terms(got, drawn.wanted, rounding);
    for (std::size_t i = 0; i < drawn.in.lse.size(); ++i) {
      if (drawn.in.lse[i] != -INFINITY) continue;
      for (extent d = 0; d < p.dim; ++d) {
        CHECK(got.dq[i * static_cast<std::size_t>(p.dim) + static_cast<std::size_t>(d)] == 0);
      }
    }
  });
}

}  // namespace backward_cases
