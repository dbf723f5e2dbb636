#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <ringfold/recurrence/delta.hpp>

/// \file
/// Recurrences whose transition is a matrix, by their published definitions, token by token in fp64, with that matrix
/// written out.

namespace dense_recurrences {

using namespace ringfold;

enum class rule_name { delta, dplr };

/// [batch, token, head, ...]; beta is as wide as 1, gates as experiment says; states are [batch, head, dim, value_dim].
struct numbers {
  std::vector<double> q, k, v, beta, a, b, gates, initial, out, final;
};

struct extents {
  extent batch = 1, tokens = 0, heads = 2, dim = 3, value_dim = 4;
};

/// A matrix of a definition.
struct square {
  extent n = 0;
  std::vector<double> at = {};
  explicit square(extent rows) : n(rows), at(static_cast<std::size_t>(rows * rows)) {}
  double& operator()(extent i, extent j) { return at[static_cast<std::size_t>(i * n + j)]; }
  double operator()(extent i, extent j) const { return at[static_cast<std::size_t>(i * n + j)]; }
  friend square operator*(const square& a, const square& b) {
    square c(a.n);
    for (extent i = 0; i < a.n; ++i) {
      for (extent j = 0; j < a.n; ++j) {
        for (extent k = 0; k < a.n; ++k) c(i, j) += a(i, k) * b(k, j);
      }
    }
    return c;
  }
};

/// One recurrence: its numbers, and what the definition makes of them.
struct experiment {
  rule_name rule;
  gating gates;
  extents size;
  documents packed;
  double scale = 0.5;
  numbers in;    ///< inputs; out and final are the cotangents
  numbers made;  ///< out, final; the gradients of the inputs

  extent gate_width() const { return gates == gating::per_row ? size.dim : 1; }
  std::size_t place(extent b, extent t, extent h, extent width, extent i) const {
    return static_cast<std::size_t>(((b * size.tokens + t) * size.heads + h) * width + i);
  }
  std::size_t gate_place(extent b, extent t, extent h, extent d) const {
    return gates == gating::per_head ? static_cast<std::size_t>(h)
                                     : place(b, t, h, gate_width(), gates == gating::per_row ? d : 0);
  }
  std::size_t state_place(extent b, extent h, extent d, extent e) const {
    return static_cast<std::size_t>(((b * size.heads + h) * size.dim + d) * size.value_dim + e);
  }

  /// Tokens are drawn with beta 0, with beta 2 and a key of length 1, with a key of 0, and with any key that beta k^T k
  /// keeps within 2; gates zero, slow, medium and strong, another for each head, now and then one that forgets all.
  experiment(rule_name r, gating g, extents s, documents parts, std::uint64_t seed, bool resets = true)
      : rule(r), gates(g), size(s), packed(std::move(parts)) {
    std::mt19937_64 random(seed);
    auto const number = [&] { return (static_cast<double>(random() % 33) - 16) / 16; };
    auto const draw = [&](extent width) {
      std::vector<double> drawn(static_cast<std::size_t>(s.batch * s.tokens * s.heads * width));
      for (double& each : drawn) each = number();
      return drawn;
    };
    in = {draw(s.dim), draw(s.dim), draw(s.value_dim), {}, {}, {}, {}, {}, draw(s.value_dim), {}};
    in.initial.resize(static_cast<std::size_t>(s.batch * s.heads * s.dim * s.value_dim));
    in.final.resize(in.initial.size());
    for (auto* state : {&in.initial, &in.final}) {
      for (double& each : *state) each = number();
    }
    auto const in_float = [](double x) { return static_cast<double>(static_cast<float>(x)); };
    std::size_t const all = in.k.size() / static_cast<std::size_t>(s.dim), width = static_cast<std::size_t>(s.dim);
    if (r == rule_name::delta) in.beta.resize(all);
    if (r == rule_name::dplr) in.a.resize(in.k.size()), in.b.resize(in.k.size());
    for (std::size_t i = 0; i < all; ++i) {
      double* const key = &in.k[i * width];
      double square = 0;
      for (std::size_t d = 0; d < width; ++d) square += key[d] * key[d];
      if (r == rule_name::dplr) {
        double const rate = static_cast<double>(random() % 5) / 4;
        for (std::size_t d = 0; d < width; ++d) {
          double const direction = square == 0 ? 0 : key[d] / std::sqrt(square);
          in.a[i * width + d] = in_float(-direction), in.b[i * width + d] = in_float(rate * direction);
        }
        continue;
      }
      switch (random() % 5) {
        case 0: in.beta[i] = 0; break;
        case 1:
          std::fill(key, key + width, 0.0);
          key[random() % width] = random() % 2 == 0 ? 1 : -1, in.beta[i] = 2;
          break;
        case 2: std::fill(key, key + width, 0.0), in.beta[i] = 0.5; break;
        default: in.beta[i] = in_float(std::min(2.0, square == 0 ? 2.0 : 1.999 / square) * (1 + number()) / 2);
      }
    }
    double const strengths[] = {0, 1e-3, 0.25, 5};
    std::size_t const first = random(), heads = static_cast<std::size_t>(s.heads);
    if (g == gating::per_head) in.gates.resize(heads);
    if (g == gating::per_token || g == gating::per_row) in.gates.resize(all * static_cast<std::size_t>(gate_width()));
    for (std::size_t i = 0; i < in.gates.size(); ++i) {
      std::size_t const head = g == gating::per_head ? i : i / static_cast<std::size_t>(gate_width()) % heads;
      in.gates[i] = -in_float(strengths[(first + head) % 4] * static_cast<double>(random() % 17) / 16);
      if (resets && g != gating::per_head && random() % 23 == 0) in.gates[i] = -INFINITY;
    }
    made = define(in);
  }

  double decay(const numbers& x, extent b, extent t, extent h, extent d) const {
    return gates == gating::none ? 1.0 : std::exp(x.gates[gate_place(b, t, h, d)]);
  }

  /// The matrix of a token: (I - beta k k^T) Diag(exp g), or Diag(exp g) + b a^T.
  square transition_of(const numbers& x, extent b, extent t, extent h) const {
    square m(size.dim);
    for (extent i = 0; i < size.dim; ++i) {
      for (extent j = 0; j < size.dim; ++j) {
        std::size_t const at_i = place(b, t, h, size.dim, i), at_j = place(b, t, h, size.dim, j);
        m(i, j) = rule == rule_name::delta
                      ? ((i == j) - x.beta[place(b, t, h, 1, 0)] * x.k[at_i] * x.k[at_j]) * decay(x, b, t, h, j)
                      : (i == j) * decay(x, b, t, h, j) + x.b[at_i] * x.a[at_j];
      }
    }
    return m;
  }
  double written(const numbers& x, extent b, extent t, extent h) const {
    return rule == rule_name::delta ? x.beta[place(b, t, h, 1, 0)] : 1;
  }

  /// S_t = M_t S_(t-1) + beta_t k_t v_t^T, out_t = scale q_t S_t, and its gradients, by hand.
  numbers define(const numbers& x) const {
    extent const K = size.dim, V = size.value_dim, all = size.tokens;
    numbers y = x;
    for (auto* each : {&y.q, &y.k, &y.v, &y.beta, &y.a, &y.b, &y.gates, &y.initial, &y.out, &y.final}) {
      std::fill(each->begin(), each->end(), 0.0);
    }
    std::vector<bool> begins(static_cast<std::size_t>(all) + 1);
    for (int document = 0; document < packed.count(); ++document) {
      if (packed.first(document) > 0) begins[static_cast<std::size_t>(packed.first(document))] = true;
    }
    auto const in_state = [&](extent d, extent e) { return static_cast<std::size_t>(d * V + e); };
    for (extent b = 0; b < size.batch; ++b) {
      for (extent h = 0; h < size.heads; ++h) {
        std::vector<double> s(static_cast<std::size_t>(K * V));
        for (std::size_t i = 0; i < s.size(); ++i) s[i] = x.initial[state_place(b, h, 0, 0) + i];
        std::vector<std::vector<double>> before, after;  // each token
        for (extent t = 0; t < all; ++t) {
          if (begins[static_cast<std::size_t>(t)]) std::fill(s.begin(), s.end(), 0.0);
          before.push_back(s);
          auto const m = transition_of(x, b, t, h);
          for (extent i = 0; i < K; ++i) {
            for (extent e = 0; e < V; ++e) {
              double sum = written(x, b, t, h) * x.k[place(b, t, h, K, i)] * x.v[place(b, t, h, V, e)];
              for (extent j = 0; j < K; ++j) sum += m(i, j) * before.back()[in_state(j, e)];
              s[in_state(i, e)] = sum;
              y.out[place(b, t, h, V, e)] += scale * x.q[place(b, t, h, K, i)] * sum;
            }
          }
          after.push_back(s);
        }
        for (std::size_t i = 0; i < s.size(); ++i) y.final[state_place(b, h, 0, 0) + i] = s[i];

        std::vector<double> ds(s.size());
        for (std::size_t i = 0; i < s.size(); ++i) ds[i] = x.final[state_place(b, h, 0, 0) + i];
        for (extent t = all; t-- > 0;) {
          auto const& from = before[static_cast<std::size_t>(t)];
          auto const m = transition_of(x, b, t, h);
          double const beta = written(x, b, t, h);
          square dm(K);
          for (extent i = 0; i < K; ++i) {
            for (extent e = 0; e < V; ++e) {
              double const dout = scale * x.out[place(b, t, h, V, e)];
              y.q[place(b, t, h, K, i)] += dout * after[static_cast<std::size_t>(t)][in_state(i, e)];
              ds[in_state(i, e)] += dout * x.q[place(b, t, h, K, i)];
              double const d = ds[in_state(i, e)], key = x.k[place(b, t, h, K, i)], value = x.v[place(b, t, h, V, e)];
              y.k[place(b, t, h, K, i)] += beta * d * value;
              y.v[place(b, t, h, V, e)] += beta * d * key;
              if (rule == rule_name::delta) y.beta[place(b, t, h, 1, 0)] += d * key * value;
              for (extent j = 0; j < K; ++j) dm(i, j) += d * from[in_state(j, e)];
            }
          }
          for (extent i = 0; i < K; ++i) {
            for (extent j = 0; j < K; ++j) {
              std::size_t const at_i = place(b, t, h, K, i), at_j = place(b, t, h, K, j);
              double const left = decay(x, b, t, h, j);
              double of_decay = (i == j) * dm(i, j);
              if (rule == rule_name::dplr) {
                y.b[at_i] += dm(i, j) * x.a[at_j], y.a[at_j] += dm(i, j) * x.b[at_i];
              } else {
                y.beta[place(b, t, h, 1, 0)] -= dm(i, j) * x.k[at_i] * x.k[at_j] * left;
                y.k[at_i] -= dm(i, j) * beta * x.k[at_j] * left;
                y.k[at_j] -= dm(i, j) * beta * x.k[at_i] * left;
                of_decay -= dm(i, j) * beta * x.k[at_i] * x.k[at_j];
              }
              if (gates != gating::none) y.gates[gate_place(b, t, h, j)] += of_decay * left;
            }
          }
          std::vector<double> entering(ds.size());
          for (extent j = 0; j < K; ++j) {
            for (extent e = 0; e < V; ++e) {
              for (extent i = 0; i < K; ++i) entering[in_state(j, e)] += m(i, j) * ds[in_state(i, e)];
            }
          }
          ds = entering;
          if (begins[static_cast<std::size_t>(t)]) std::fill(ds.begin(), ds.end(), 0.0);
        }
        for (std::size_t i = 0; i < s.size(); ++i) y.initial[state_place(b, h, 0, 0) + i] = ds[i];
      }
    }
    return y;
  }
};

/// The members of numbers that a rule has.
inline std::vector<std::vector<double> numbers::*> members(const experiment& e) {
  std::vector<std::vector<double> numbers::*> made{&numbers::q,   &numbers::k,       &numbers::v,
                                                   &numbers::out, &numbers::initial, &numbers::final};
  if (e.gates != gating::none) made.push_back(&numbers::gates);
  if (e.rule == rule_name::delta) made.push_back(&numbers::beta);
  if (e.rule == rule_name::dplr) made.push_back(&numbers::a), made.push_back(&numbers::b);
  return made;
}

/// How far numbers are off, over the largest that is wanted, or 1; infinity when one is none.
inline double off(const std::vector<double>& got, const std::vector<double>& wanted) {
  double most = got.size() == wanted.size() ? 0 : INFINITY, largest = 1;
  for (double const each : wanted) largest = std::fmax(largest, std::fabs(each));
  for (std::size_t i = 0; i < got.size() && i < wanted.size(); ++i) {
    double const apart = std::fabs(got[i] - wanted[i]);
    most = std::isfinite(apart) ? std::fmax(most, apart) : INFINITY;
  }
  return most / largest;
}
inline double off(const experiment& e, const numbers& got) {
  double most = 0;
  for (auto const member : members(e)) most = std::fmax(most, off(got.*member, e.made.*member));
  return most;
}

}  // namespace dense_recurrences
