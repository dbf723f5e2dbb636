#pragma once

#include <cmath>

#include <doctest/doctest.h>

#include "schedules.hpp"

/// \file
/// A kernel that computes nothing: every number that reaches it says which (batch, position, head, dim) of which tensor it
/// is, and what it adds to gradients says by which query and key.

namespace coordinates {

using ringfold::extent;

enum class tensor { q, k, v, dout, o, lse };

/// What stands at a place of a tensor: whole numbers, all different.
inline double number(tensor of, extent batch, extent position, extent head, extent dim) {
  return static_cast<double>((((static_cast<extent>(of) * 8 + batch) * 1024 + position) * 32 + head) * 32 + dim + 1);
}

/// What a token and head add to gradients of others: whole numbers of 20 bits, so that sums are exact and tell their terms.
inline double tag(extent batch, extent position, extent head) {
  std::uint64_t word = static_cast<std::uint64_t>((batch * 1024 + position) * 32 + head + 1) * 0x9e3779b97f4a7c15u;
  word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
  return static_cast<double>((word ^ word >> 27) % (1u << 20));
}

/// Tells tensors that arrive by their numbers. \throws usage_error when one is not what it must be
struct kernel : ringfold::local_attention {
  template <class P>
  struct open {
    P p;
    ringfold::view<double, 4> dq{};
  };

  template <class P>
  open<P> state(const P& p, ringfold::arena<>&) const {
    return {p};
  }
  template <class S, class Q>
  void prepare(S& s, Q q, ringfold::host_stream) const {
    expect(tensor::q, q, s.p.queries, s.p.owner, s.p.head.first_query);
  }
  template <class S, class B>
  void accumulate(S& s, const B& kv, ringfold::host_stream) const {
    expect_block(s.p, kv);
  }
  template <class S, class Out>
  void close(S& s, Out out, ringfold::host_stream) const {
    const auto& p = s.p;
    p.queries.for_each_position(p.owner, [&](extent row, extent position) {
      for_each_head(p, [&](extent b, extent h) {
        extent const head = p.head.first_query + h;
        out.lse(b, row, h) = number(tensor::lse, b, position, head, 0);
        for (extent d = 0; d < p.value_dim; ++d) out.o(b, row, h, d) = number(tensor::o, b, position, head, d);
      });
    });
  }

  template <class P>
  open<P> backward_state(const P& p, ringfold::arena<>& memory) const {
    return {p, memory.take_view<double>(p.batch, p.queries.rows(p.owner), p.head.query, p.dim)};
  }
  template <class S, class Q, class Cotangent>
  void prepare_backward(S& s, Q q, Cotangent of_out, ringfold::host_stream on) const {
    const auto& p = s.p;
    expect(tensor::q, q, p.queries, p.owner, p.head.first_query);
    expect(tensor::dout, of_out.dout, p.queries, p.owner, p.head.first_query);
    p.queries.for_each_position(p.owner, [&](extent row, extent position) {
      for_each_head(p, [&](extent b, extent h) {
        extent const head = p.head.first_query + h;
        double delta = 0;
        for (extent d = 0; d < p.value_dim; ++d) {
          delta += number(tensor::o, b, position, head, d) * number(tensor::dout, b, position, head, d);
        }
        bool const right = near(of_out.lse(b, row, h), number(tensor::lse, b, position, head, 0), 10) &&
                           near(of_out.delta(b, row, h), delta, 1e-12 * delta);
        if (!right) throw ringfold::usage_error(ringfold::say("lse or delta of position %lld", number_of(position)));
      });
    });
    on.elementwise(ringfold::elementwise::set_zero{}, s.dq);
  }
  template <class S, class B, class G>
  void accumulate_backward(S& s, const B& kv, const G& to, ringfold::host_stream) const {
    const auto& p = s.p;
    expect_block(p, kv);
    if (!kv.present()) return;
    p.queries.for_each_position(p.owner, [&](extent row, extent query) {
      p.keys.for_each_position(kv.owner, [&](extent key_row, extent key) {
        if (!p.mask_of.allows(query, key)) return;
        for_each_head(p, [&](extent b, extent h) {
          extent const head = p.head.first_query + h, key_head = head / p.head.group, at = key_head - kv.first_key;
          if (at < 0 || at >= kv.k.extents[2]) return;
          auto const add = [](double& sum, double term, extent d) { sum += term * static_cast<double>(d + 1); };
          for (extent d = 0; d < p.dim; ++d) add(s.dq(b, row, h, d), tag(b, key, key_head), d);
          for (extent d = 0; d < p.dim; ++d) add(to.k(b, key_row, at, d), tag(b, query, head), d);
          for (extent d = 0; d < p.value_dim; ++d) add(to.v(b, key_row, at, d), -tag(b, query, head), d);
        });
      });
    });
  }
  template <class S, class Q>
  void close_backward(S& s, Q dq, ringfold::host_stream on) const {
    on.copy(piece_of(dq, ringfold::role::gradient), piece_of(s.dq, ringfold::role::gradient));
  }

 private:
  static long long number_of(extent value) { return static_cast<long long>(value); }
  static bool near(double got, double wanted, double bound) { return std::fabs(got - wanted) <= bound; }

  template <class P, class F>
  static void for_each_head(const P& p, F f) {
    for (extent b = 0; b < p.batch; ++b) {
      for (extent h = 0; h < p.head.query; ++h) f(b, h);
    }
  }

  template <class V>
  static void expect(tensor of, const V& got, const ringfold::layout& tokens, int owner, extent first_head) {
    if (got.extents[1] != tokens.rows(owner))
      throw ringfold::usage_error(ringfold::say("other rows than those of the owner"));
    tokens.for_each_position(owner, [&](extent row, extent position) {
      for (extent b = 0; b < got.extents[0]; ++b) {
        for (extent h = 0; h < got.extents[2]; ++h) {
          for (extent d = 0; d < got.extents[3]; ++d) {
            if (got(b, row, h, d) == number(of, b, position, first_head + h, d)) continue;
            throw ringfold::usage_error(
                ringfold::say("tensor %d, batch %lld, position %lld, head %lld: another is there", static_cast<int>(of),
                              number_of(b), number_of(position), number_of(first_head + h)));
          }
        }
      }
    });
  }
  template <class P, class B>
  static void expect_block(const P& p, const B& kv) {
    if (kv.present()) {
      expect(tensor::k, kv.k, p.keys, kv.owner, kv.first_key);
      expect(tensor::v, kv.v, p.keys, kv.owner, kv.first_key);
    } else if (p.batch > 0 && visible(p.mask_of, p.queries.segments(p.owner), p.keys.segments(kv.owner))) {
      throw ringfold::usage_error(ringfold::say("the block of rank %d is missing", kv.owner));
    }
  }
};

/// All numbers of a tensor over whole sequences.
inline std::vector<double> all(tensor of, extent batch, extent tokens, extent heads, extent dim) {
  std::vector<double> made;
  for (extent b = 0; b < batch; ++b) {
    for (extent position = 0; position < tokens; ++position) {
      for (extent h = 0; h < heads; ++h) {
        for (extent d = 0; d < dim; ++d) made.push_back(number(of, b, position, h, d));
      }
    }
  }
  return made;
}

/// Runs a schedule forward and backward: everything must reach whom it is for, and come back to whom it is of, once.
/// Every query must see some key.
inline void check(schedules::experiment<double> e, schedules::name which) {
  auto const& s = e.shape;
  extent const queries = e.tokens.tokens(), keys = e.keys().tokens(), group = s.heads / s.kv_heads;
  e.q = all(tensor::q, s.batch, queries, s.heads, s.dim);
  e.k = all(tensor::k, s.batch, keys, s.kv_heads, s.dim);
  e.v = all(tensor::v, s.batch, keys, s.kv_heads, s.value_dim);
  auto const o = all(tensor::o, s.batch, queries, s.heads, s.value_dim);
  auto const dout = all(tensor::dout, s.batch, queries, s.heads, s.value_dim);
  auto const lse = all(tensor::lse, s.batch, queries, s.heads, 1);
  std::vector<double> const dlse(lse.size(), 1.0);
  std::vector<double> dq(e.q.size(), 0.0), dk(e.k.size(), 0.0), dv(e.v.size(), 0.0);
  for (extent b = 0; b < s.batch; ++b) {
    for (extent i = 0; i < queries; ++i) {
      for (extent j = 0; j < keys; ++j) {
        for (extent h = 0; h < s.heads && e.mask.allows(i, j); ++h) {
          extent const row = (b * queries + i) * s.heads + h, key = (b * keys + j) * s.kv_heads + h / group;
          auto const add = [](std::vector<double>& to, extent at, extent dim, double term) {
            for (extent d = 0; d < dim; ++d)
              to[static_cast<std::size_t>(at * dim + d)] += term * static_cast<double>(d + 1);
          };
          add(dq, row, s.dim, tag(b, j, h / group)), add(dk, key, s.dim, tag(b, i, h));
          add(dv, key, s.value_dim, -tag(b, i, h));
        }
      }
    }
  }
  auto const got = schedules::run_backward(e, which, kernel{}, dout, dlse);
  // Partials of a row that are merged on their way have equal outputs, and log-sum-exps that grow a little.
  auto const within = [](const std::vector<double>& some, const std::vector<double>& wanted, double bound) {
    bool all_right = some.size() == wanted.size();
    for (std::size_t i = 0; all_right && i < wanted.size(); ++i) all_right = std::fabs(some[i] - wanted[i]) <= bound;
    return all_right;
  };
  CHECK(within(got.forward.o, o, 1e-3));
  CHECK(within(got.forward.lse, lse, 10));
  CHECK(got.dq == dq);
  CHECK(got.dk == dk);
  CHECK(got.dv == dv);
}

}  // namespace coordinates
