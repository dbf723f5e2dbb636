#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "experiment.hpp"

/// \file
/// One row of attention by its definition: what a query sees, what its scores become, how it weighs them.

namespace compare_schedules {

/// What the definition is computed in: double, and more where double itself is held against it.
template <class T>
using number_for = std::conditional_t<std::is_same_v<T, double>, long double, double>;

/// The keys that a query sees: first .. end - 1.
struct seen {
  extent first, end;
};
inline seen keys_of(const experiment& e, extent query) {
  extent first = std::max<extent>(0, query - e.mask.band.left());
  extent end = std::min(e.keys.tokens(), query + e.mask.band.right() + 1);
  if (!e.ends.empty()) {
    auto const own = std::upper_bound(e.ends.begin(), e.ends.end(), query);
    if (own == e.ends.end()) return {0, 0};  // padding
    first = std::max(first, own == e.ends.begin() ? 0 : *(own - 1));
    end = std::min(end, *own);
  }
  return {first, std::max(first, end)};
}

/// One key head's keys [dim][token] and values [token][dim].
struct panel {
  std::vector<double> k, v;
};

template <class T>
panel panel_of(const experiment& e, extent batch, extent head) {
  extent const n = e.keys.tokens(), dim = e.shape.dim, value_dim = e.shape.value_dim;
  auto const k = e.k.as<T>(), v = e.v.as<T>();
  panel made{std::vector<double>(static_cast<std::size_t>(n * dim)),
             std::vector<double>(static_cast<std::size_t>(n * value_dim))};
  for (extent j = 0; j < n; ++j) {
    for (extent d = 0; d < dim; ++d)
      made.k[static_cast<std::size_t>(d * n + j)] = static_cast<double>(k(batch, j, head, d));
    for (extent d = 0; d < value_dim; ++d) {
      made.v[static_cast<std::size_t>(j * value_dim + d)] = static_cast<double>(v(batch, j, head, d));
    }
  }
  return made;
}

/// The published slope of a head: a power of two, or one between those of twice as many heads.
inline double alibi_slope(extent heads, extent head) {
  double const whole = std::exp2(std::floor(std::log2(static_cast<double>(heads)))), h = static_cast<double>(head);
  return h < whole ? std::exp2(-8 * (h + 1) / whole) : std::exp2(-4 * (2 * (h - whole) + 1) / whole);
}

/// One query of one head: its weights, what its scores' slopes are, and what dropout leaves.
template <class Number>
struct row {
  std::vector<Number> weights, slopes, keeps;
  Number sink = 0;           ///< the weight of the sink
  double largest_score = 0;  ///< of all rows so far, in size

  explicit row(extent keys) : weights(static_cast<std::size_t>(keys)), slopes(weights.size()), keeps(weights.size()) {}

  template <class T>
  seen attend(const experiment& e, const panel& p, const T* q, extent batch, extent head, extent query) {
    auto const [first, end] = keys_of(e, query);
    extent const n = e.keys.tokens();
    auto const at = [](auto& all, extent i) -> auto& { return all[static_cast<std::size_t>(i)]; };
    Number const scale = 1 / std::sqrt(static_cast<Number>(e.shape.dim));
    std::fill(weights.begin() + first, weights.begin() + end, Number(0));
    for (extent d = 0; d < e.shape.dim; ++d) {
      Number const factor = static_cast<Number>(q[d]) * scale;
      const double* const k = p.k.data() + d * n;
      Number* const scores = weights.data();
      for (extent j = first; j < end; ++j) scores[j] += factor * k[j];
    }
    for (extent j = first; j < end; ++j) {
      largest_score = std::max(largest_score, static_cast<double>(std::fabs(at(weights, j))));
    }
    ringfold::dropout_part const drop(e.dropout, e.dropout_seed);
    double const fall = e.alibi ? alibi_slope(e.shape.heads, head) : 0;
    for (extent j = first; j < end; ++j) {
      Number& score = at(weights, j);
      at(slopes, j) = 1, at(keeps, j) = 1;
      if (e.softcap > 0) {
        Number const bent = std::tanh(score / static_cast<Number>(e.softcap));
        score = static_cast<Number>(e.softcap) * bent;
        at(slopes, j) = 1 - bent * bent;
      }
      if (e.alibi) score -= static_cast<Number>(fall) * static_cast<Number>(std::abs(query + e.offset() - j));
      if (e.dropout > 0) at(keeps, j) = drop.keep<double>({batch, head, query, j});
    }
    bool const sinks = !e.sinks.empty();
    Number const none = -std::numeric_limits<Number>::infinity();
    Number top = sinks ? static_cast<Number>(at(e.sinks, head)) : none;
    for (extent j = first; j < end; ++j) {
      top = std::max(top, at(weights, j));
      largest_score = std::max(largest_score, static_cast<double>(std::fabs(at(weights, j))));
    }
    sink = sinks ? std::exp(static_cast<Number>(at(e.sinks, head)) - top) : Number(0);
    Number sum = sink;
    for (extent j = first; j < end; ++j) sum += at(weights, j) = std::exp(at(weights, j) - top);
    for (extent j = first; j < end; ++j) at(weights, j) /= sum;
    if (sinks) sink /= sum;
    return {first, end};
  }

  /// Adds up the values by weights, and the sizes of the terms.
  void weigh(const experiment& e, const panel& p, seen keys, Number* o, double* terms) const {
    std::fill(o, o + e.shape.value_dim, Number(0));
    std::fill(terms, terms + e.shape.value_dim, 0.0);
    for (extent j = keys.first; j < keys.end; ++j) {
      Number const weight = weights[static_cast<std::size_t>(j)] * keeps[static_cast<std::size_t>(j)];
      const double* const v = p.v.data() + j * e.shape.value_dim;
      for (extent d = 0; d < e.shape.value_dim; ++d) o[d] += weight * v[d];
      double const size = static_cast<double>(weight);
      for (extent d = 0; d < e.shape.value_dim; ++d) terms[d] += size * std::fabs(v[d]);
    }
  }
};

}  // namespace compare_schedules
