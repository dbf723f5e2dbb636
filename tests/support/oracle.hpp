#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

/// \file
/// Attention by its definition, in double, over whole sequences: what every kernel and schedule is held against.
/// It shares no code with the library.

namespace oracle {

using index = std::int64_t;

struct sizes {
  index batch = 1, queries = 0, keys = 0, heads = 1, kv_heads = 1, dim = 1, value_dim = 1;
  double scale = 0;             ///< 0 means 1 / sqrt(dim)
  std::vector<double> sinks{};  ///< a score of each head without a key; or none
};

/// What a score becomes, and its slope there.
struct changed {
  double score, slope;
};
/// Leaves the scores of all pairs (batch, head, query, key) as they are, and keeps all weights.
struct plain_score {
  changed operator()(double score, index, index, index, index) const { return {score, 1}; }
};
struct keep_all {
  double operator()(index, index, index, index) const { return 1; }
};

/// o is [batch, query, head, value_dim], lse (natural) is [batch, query, head].
struct result {
  std::vector<double> o, lse;
  std::vector<double> o_terms{};  ///< the sizes of the terms of o, added up
  /// The sizes of the terms of the scores by the weight of each in lse, and of a sum of as many independent roundings
  /// as there are weights.
  std::vector<double> lse_terms{};
};

/// q [batch, query, head, dim], k [batch, key, kv head, dim], v [batch, key, kv head, value_dim], all dense and in the
/// order of the whole sequence; allows(query position, key position); score(value, batch, head, query, key) changes
/// scores; keep(batch, head, query, key) is what a weight is multiplied by for the values.
template <class Allows, class Score = plain_score, class Keep = keep_all>
result attention(const sizes& s, const std::vector<double>& q, const std::vector<double>& k,
                 const std::vector<double>& v, Allows allows, Score score_of = {}, Keep keep = {}) {
  double const scale = s.scale != 0 ? s.scale : 1 / std::sqrt(static_cast<double>(s.dim));
  double const infinity = std::numeric_limits<double>::infinity();
  auto const at = [](const std::vector<double>& all, index i) { return all[static_cast<std::size_t>(i)]; };
  result made;
  std::vector<double> scores(static_cast<std::size_t>(s.keys)), score_sizes = scores;
  for (index b = 0; b < s.batch; ++b) {
    for (index i = 0; i < s.queries; ++i) {
      for (index h = 0; h < s.heads; ++h) {
        index const kv = h / (s.heads / s.kv_heads);
        double largest = -infinity;
        for (index j = 0; j < s.keys; ++j) {
          double dot = 0, size = 0;
          for (index d = 0; d < s.dim; ++d) {
            double const term = at(q, ((b * s.queries + i) * s.heads + h) * s.dim + d) *
                                at(k, ((b * s.keys + j) * s.kv_heads + kv) * s.dim + d);
            dot += term, size += std::fabs(term);
          }
          score_sizes[static_cast<std::size_t>(j)] = size * scale;
          double& score = scores[static_cast<std::size_t>(j)];
          score = allows(i, j) ? score_of(dot * scale, b, h, i, j).score : -infinity;
          if (score > largest) largest = score;
        }
        if (!s.sinks.empty() && at(s.sinks, h) > largest) largest = at(s.sinks, h);
        double sum = s.sinks.empty() ? 0 : std::exp(at(s.sinks, h) - largest), size = 0, count = 0;
        std::vector<double> row(static_cast<std::size_t>(s.value_dim), 0.0), terms = row;
        for (index j = 0; j < s.keys && largest > -infinity; ++j) {
          if (at(scores, j) == -infinity) continue;
          double const weight = std::exp(at(scores, j) - largest), kept = weight * keep(b, h, i, j);
          sum += weight, count += 1, size += weight * at(score_sizes, j);
          for (index d = 0; d < s.value_dim; ++d) {
            double const term = kept * at(v, ((b * s.keys + j) * s.kv_heads + kv) * s.value_dim + d);
            row[static_cast<std::size_t>(d)] += term, terms[static_cast<std::size_t>(d)] += std::fabs(term);
          }
        }
        made.lse.push_back(sum > 0 ? largest + std::log(sum) : -infinity);
        made.lse_terms.push_back(sum > 0 ? size / sum + std::sqrt(count) : 0.0);
        for (double const each : row) made.o.push_back(sum > 0 ? each / sum : 0.0);
        for (double const each : terms) made.o_terms.push_back(sum > 0 ? each / sum : 0.0);
      }
    }
  }
  return made;
}

/// Gradients by the chain rule, term by term: dq, dk, dv of the shapes of q, k, v.
struct gradients {
  std::vector<double> dq, dk, dv;
  std::vector<double> dsinks{};   ///< where there are sinks
  std::vector<double> dscores{};  ///< [batch, head, query, key], of what the softmax is taken of
  /// The sizes of the terms of each, added up: most may cancel.
  std::vector<double> dq_terms{}, dk_terms{}, dv_terms{}, dsinks_terms{}, dscores_terms{};
  std::vector<double> dq_products{}, dk_products{};  ///< the same, but gradients of scores are terms as they are
};

/// The gradients of sum(o * dout) + sum(lse * dlse).
template <class Allows, class Score = plain_score, class Keep = keep_all>
gradients backward(const sizes& s, const std::vector<double>& q, const std::vector<double>& k,
                   const std::vector<double>& v, const std::vector<double>& dout, const std::vector<double>& dlse,
                   Allows allows, Score score_of = {}, Keep keep = {}) {
  double const scale = s.scale != 0 ? s.scale : 1 / std::sqrt(static_cast<double>(s.dim));
  double const infinity = std::numeric_limits<double>::infinity();
  auto const at = [](auto& all, index i) -> auto& { return all[static_cast<std::size_t>(i)]; };
  result const forward = attention(s, q, k, v, allows, score_of, keep);
  gradients made{std::vector<double>(q.size()), std::vector<double>(k.size()), std::vector<double>(v.size()),
                 std::vector<double>(s.sinks.size())};
  made.dscores.resize(static_cast<std::size_t>(s.batch * s.heads * s.queries * s.keys));
  made.dq_terms = made.dq, made.dk_terms = made.dk, made.dv_terms = made.dv, made.dsinks_terms = made.dsinks;
  made.dscores_terms = made.dscores, made.dq_products = made.dq, made.dk_products = made.dk;
  for (index b = 0; b < s.batch; ++b) {
    for (index i = 0; i < s.queries; ++i) {
      for (index h = 0; h < s.heads; ++h) {
        index const row = (b * s.queries + i) * s.heads + h;
        if (!s.sinks.empty()) {
          double const sink = at(s.sinks, h), weight = sink == -infinity ? 0 : std::exp(sink - at(forward.lse, row));
          double of_row = at(dlse, row), size = std::fabs(of_row);
          for (index d = 0; d < s.value_dim; ++d) {
            double const of_out = at(dout, row * s.value_dim + d);
            of_row -= of_out * at(forward.o, row * s.value_dim + d);
            size += std::fabs(of_out) * at(forward.o_terms, row * s.value_dim + d);
          }
          at(made.dsinks, h) += weight * of_row, at(made.dsinks_terms, h) += weight * size;
        }
        for (index j = 0; j < s.keys; ++j) {
          if (!allows(i, j)) continue;
          index const key = (b * s.keys + j) * s.kv_heads + h / (s.heads / s.kv_heads);
          double score = 0, gain = 0, size = std::fabs(at(dlse, row));
          for (index d = 0; d < s.dim; ++d) score += at(q, row * s.dim + d) * at(k, key * s.dim + d);
          changed const to = score_of(score * scale, b, h, i, j);
          if (to.score == -infinity) continue;
          double const weight = std::exp(to.score - at(forward.lse, row)), kept = keep(b, h, i, j);
          for (index d = 0; d < s.value_dim; ++d) {
            double const of_out = at(dout, row * s.value_dim + d);
            gain += of_out * (kept * at(v, key * s.value_dim + d) - at(forward.o, row * s.value_dim + d));
            size += std::fabs(of_out) *
                    (kept * std::fabs(at(v, key * s.value_dim + d)) + at(forward.o_terms, row * s.value_dim + d));
            at(made.dv, key * s.value_dim + d) += weight * kept * of_out;
            at(made.dv_terms, key * s.value_dim + d) += std::fabs(weight * kept * of_out);
          }
          index const pair = ((b * s.heads + h) * s.queries + i) * s.keys + j;
          at(made.dscores, pair) = weight * (gain + at(dlse, row)), at(made.dscores_terms, pair) = weight * size;
          double const of_dot = to.slope * scale, of_score = at(made.dscores, pair) * of_dot;
          // A slope made from a tanh carries a roundoff of 1, however small it is; sizes are judged by tens of them.
          double const terms = weight * size * scale * (to.slope == 1 ? 1 : std::fabs(to.slope) + 0.1);
          for (index d = 0; d < s.dim; ++d) {
            at(made.dq, row * s.dim + d) += of_score * at(k, key * s.dim + d);
            at(made.dk, key * s.dim + d) += of_score * at(q, row * s.dim + d);
            at(made.dq_terms, row * s.dim + d) += terms * std::fabs(at(k, key * s.dim + d));
            at(made.dk_terms, key * s.dim + d) += terms * std::fabs(at(q, row * s.dim + d));
            at(made.dq_products, row * s.dim + d) += std::fabs(of_score * at(k, key * s.dim + d));
            at(made.dk_products, key * s.dim + d) += std::fabs(of_score * at(q, row * s.dim + d));
          }
        }
      }
    }
  }
  return made;
}

/// Uniform numbers in [-bound, bound], rounded to T, as doubles.
template <class T>
std::vector<double> uniform(index count, std::uint64_t seed, double bound = 1.7) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> numbers(static_cast<float>(-bound), static_cast<float>(bound));
  std::vector<double> made;
  for (index i = 0; i < count; ++i) made.push_back(static_cast<double>(static_cast<T>(numbers(random))));
  return made;
}

struct difference {
  double relative = 0;  ///< |a - b|_2 / |b|_2
  double largest = 0;   ///< max |a - b|; infinite where only one of them is finite
};

template <class A>
difference compare(const std::vector<A>& got, const std::vector<double>& wanted) {
  difference made;
  double square = 0, norm = 0;
  if (got.size() != wanted.size()) return {INFINITY, INFINITY};
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    double const a = static_cast<double>(got[i]), b = wanted[i];
    if (a == b) {
      norm += std::isfinite(b) ? b * b : 0;
      continue;
    }
    double const apart = std::isfinite(a) && std::isfinite(b) ? std::fabs(a - b) : INFINITY;
    made.largest = std::fmax(made.largest, apart);
    square += apart * apart;
    norm += std::isfinite(b) ? b * b : 0;
  }
  made.relative = square == 0 ? 0 : std::sqrt(square / (norm > 0 ? norm : 1));
  return made;
}

}  // namespace oracle
