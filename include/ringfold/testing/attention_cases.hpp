#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include <ringfold/sequence/problem.hpp>
#include <ringfold/testing/law.hpp>

/// \file
/// Small attentions over whole sequences, and what they give by definition in double.

namespace ringfold::testing {

/// One attention: dense [batch, token, head, dim] inputs rounded to the element type, and the exact result.
struct attention_case {
  layout tokens;
  shape of;
  band seen;
  std::vector<double> q, k, v;
  std::vector<double> o, lse;  ///< [batch, token, head, value_dim] and [batch, token, head]
};

namespace detail {

/// Uniform in [-1.5, 1.5] from a counter, so that every rank makes the same numbers.
inline double number(std::uint64_t seed, std::uint64_t counter) {
  std::uint64_t word = (seed + 1) * 0x9e3779b97f4a7c15u + counter * 0xbf58476d1ce4e5b9u;
  word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
  word = (word ^ word >> 27) * 0x94d049bb133111ebu;
  return static_cast<double>((word ^ word >> 31) >> 11) * 0x1p-53 * 3 - 1.5;
}

template <class T>
std::vector<double> numbers(extent count, std::uint64_t seed) {
  std::vector<double> made;
  for (extent i = 0; i < count; ++i) {
    auto const plain = static_cast<accumulate_t<T>>(number(seed, static_cast<std::uint64_t>(i)));
    made.push_back(static_cast<double>(static_cast<accumulate_t<T>>(static_cast<T>(plain))));
  }
  return made;
}

/// Softmax attention of one query row and head, term by term.
inline void define_row(attention_case& c, extent b, extent query, extent head, double scale) {
  extent const n = c.tokens.tokens(), kv = head / (c.of.heads / c.of.kv_heads);
  auto const at = [](const std::vector<double>& all, extent i) { return all[static_cast<std::size_t>(i)]; };
  std::vector<double> scores(static_cast<std::size_t>(n), -INFINITY);
  double largest = -INFINITY, sum = 0;
  for (extent key = 0; key < n; ++key) {
    if (!c.seen.allows(query, key)) continue;
    double score = 0;
    for (extent d = 0; d < c.of.dim; ++d) {
      score += at(c.q, ((b * n + query) * c.of.heads + head) * c.of.dim + d) *
               at(c.k, ((b * n + key) * c.of.kv_heads + kv) * c.of.dim + d);
    }
    scores[static_cast<std::size_t>(key)] = score *= scale;
    largest = score > largest ? score : largest;
  }
  std::vector<double> row(static_cast<std::size_t>(c.of.value_dim), 0.0);
  for (extent key = 0; key < n; ++key) {
    if (at(scores, key) == -INFINITY) continue;
    double const weight = std::exp(at(scores, key) - largest);
    sum += weight;
    for (extent d = 0; d < c.of.value_dim; ++d) {
      row[static_cast<std::size_t>(d)] += weight * at(c.v, ((b * n + key) * c.of.kv_heads + kv) * c.of.value_dim + d);
    }
  }
  c.lse.push_back(sum > 0 ? largest + std::log(sum) : -INFINITY);
  for (double const each : row) c.o.push_back(sum > 0 ? each / sum : 0.0);
}

}  // namespace detail

/// Makes a case for elements of T, the same on every rank that asks with the same arguments.
template <class T>
attention_case make_case(layout tokens, shape of, band seen, std::uint64_t seed) {
  if (of.kv_heads == 0) of.kv_heads = of.heads;
  if (of.value_dim == 0) of.value_dim = of.dim;
  attention_case c{static_cast<layout&&>(tokens), of, seen, {}, {}, {}, {}, {}};
  extent const n = c.tokens.tokens(), rows = of.batch * n;
  c.q = detail::numbers<T>(rows * of.heads * of.dim, 3 * seed);
  c.k = detail::numbers<T>(rows * of.kv_heads * of.dim, 3 * seed + 1);
  c.v = detail::numbers<T>(rows * of.kv_heads * of.value_dim, 3 * seed + 2);
  for (extent b = 0; b < of.batch; ++b) {
    for (extent query = 0; query < n; ++query) {
      for (extent head = 0; head < of.heads; ++head) {
        detail::define_row(c, b, query, head, 1 / std::sqrt(static_cast<double>(of.dim)));
      }
    }
  }
  return c;
}

/// An owner's rows of a dense [batch, token, width] tensor, as elements of T.
template <class T>
std::vector<T> rows_of(const std::vector<double>& all, const layout& tokens, int owner, extent batch, extent width) {
  std::vector<T> made(static_cast<std::size_t>(batch * tokens.rows(owner) * width));
  tokens.for_each_position(owner, [&](extent row, extent position) {
    for (extent b = 0; b < batch; ++b) {
      for (extent i = 0; i < width; ++i) {
        double const plain = all[static_cast<std::size_t>((b * tokens.tokens() + position) * width + i)];
        made[static_cast<std::size_t>((b * tokens.rows(owner) + row) * width + i)] =
            static_cast<T>(static_cast<accumulate_t<T>>(plain));
      }
    }
  });
  return made;
}

/// What a rank got must be the definition's rows, to within `bound` of the largest value.
template <class T>
void agree(const char* law, const std::vector<T>& got, const std::vector<double>& exact, double bound) {
  for (std::size_t i = 0; i < exact.size(); ++i) {
    double const g = static_cast<double>(static_cast<accumulate_t<T>>(got[i])), e = exact[i];
    bool const equal = g == e || (std::isfinite(e) && std::fabs(g - e) <= bound * (1 + std::fabs(e)));
    if (!equal) throw law_violation(say("%s: element %zu is %.9g, by definition %.9g", law, i, g, e));
  }
}

/// The masks and layouts that laws are run over, for a number of ranks.
inline std::vector<band> law_masks() { return {full(), causal(), window(3), window(2, 1)}; }
inline std::vector<layout> law_layouts(int ranks) {
  extent const n = 4 * extent{ranks} + 1;
  std::vector<extent> lengths(static_cast<std::size_t>(ranks), 0);
  lengths.front() = n - n / 3, lengths.back() += n / 3;
  return {contiguous(n, ranks), zigzag(n, ranks),   striped(n, ranks),
          striped(n, ranks, 2), uneven(n, lengths), contiguous(1, ranks)};
}

/// Three shapes with heads enough for every rank to get some.
inline std::vector<shape> law_shapes(int ranks) {
  extent const heads = 2 * extent{ranks};
  return {{.heads = heads, .dim = 8},
          {.batch = 2, .heads = heads, .kv_heads = 2, .dim = 3, .value_dim = 5},
          {.heads = heads + 1, .kv_heads = 1, .dim = 4}};
}

/// How far elements of T may be from the definition: their own rounding, and that of a sum of a few terms.
template <class T>
constexpr double law_bound = sizeof(T) == 8   ? 1e-13
                             : sizeof(T) == 4 ? 4e-6
                                              : 2e-2;

}  // namespace ringfold::testing
