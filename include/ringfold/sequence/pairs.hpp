#pragma once

#include <ringfold/sequence/mask.hpp>

/// \file
/// How many (query, key) pairs a mask shows: the work of an attention.

namespace ringfold {

namespace detail {

/// The sum over i in 0 .. count-1 of (slope * i + start) / divisor, rounded down; nothing is negative. In steps like
/// Euclid's, so logarithmic in them. Source: the AtCoder Library's floor_sum.
constexpr extent floor_sum(extent count, extent divisor, extent slope, extent start) {
  extent sum = 0;
  while (count > 0) {
    sum += (count - 1) * count / 2 * (slope / divisor) + count * (start / divisor);
    slope %= divisor, start %= divisor;
    extent const top = slope * count + start;
    count = top / divisor, start = top % divisor;
    extent const swapped = slope;
    slope = divisor, divisor = swapped;
  }
  return sum;
}

/// How many pairs of two ascending segments have key - query <= bound.
constexpr extent pairs_up_to(const segment& queries, const segment& keys, extent bound) {
  auto const clamped = [](extent value, extent most) { return value < 0 ? 0 : value < most ? value : most; };
  auto const ceiling = [](extent a, extent b) { return a / b + (a % b != 0 && a > 0); };
  // Query i sees the keys 0 .. (start + step * i) / (step of keys), as far as there are any.
  extent const start = queries.first + bound - keys.first;
  extent const some = clamped(ceiling(-start, queries.step), queries.count);  // the first query that sees any
  extent const all = clamped(ceiling(keys.step * (keys.count - 1) - start, queries.step), queries.count);
  return floor_sum(all - some, keys.step, queries.step, start + queries.step * some) + (all - some) +
         (queries.count - all) * keys.count;
}

/// The same positions in fewer segments: many stripes at equal distances are one wide segment for each of their tokens.
inline std::vector<segment> across_stripes(span<const segment> parts) {
  std::vector<segment> made(parts.begin(), parts.end());
  auto const stripes = static_cast<extent>(parts.size());
  if (stripes < 3 || stripes <= parts[0].count) return made;
  extent const step = parts[1].first - parts[0].first;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    bool const last = i + 1 == parts.size();
    bool const alike =
        parts[i].step == 1 && parts[i].count <= parts[0].count && (last || parts[i].count == parts[0].count);
    if (!alike || parts[i].first != parts[0].first + static_cast<extent>(i) * step) return made;
  }
  made.clear();
  for (extent i = 0; i < parts[0].count; ++i) {
    made.push_back({parts[0].first + i, step, i < parts.back().count ? stripes : stripes - 1});
  }
  return made;
}

}  // namespace detail

/// How many pairs of some rows a band shows: a closed form for each pair of segments. Right up to 2^31 rows each.
inline extent visible_pairs(const band& m, span<const segment> queries, span<const segment> keys) {
  if (m.right() < -m.left()) return 0;
  auto const of_queries = detail::across_stripes(queries), of_keys = detail::across_stripes(keys);
  extent sum = 0;
  for (segment q : of_queries) {
    q = detail::ascending(q);
    for (segment k : of_keys) {
      k = detail::ascending(k);
      if (q.count > 0 && k.count > 0)
        sum += detail::pairs_up_to(q, k, m.right()) - detail::pairs_up_to(q, k, -m.left() - 1);
    }
  }
  return sum;
}

/// As for a band, of any mask: one that knows better has a member pairs(queries, keys); of others all pairs are asked.
template <mask M>
extent visible_pairs(const M& m, span<const segment> queries, span<const segment> keys) {
  if constexpr (requires {
                  { m.pairs(queries, keys) } -> std::same_as<extent>;
                }) {
    return m.pairs(queries, keys);
  } else {
    extent sum = 0;
    for (const segment& q : queries) {
      for (const segment& k : keys) {
        for (extent i = 0; i < q.count; ++i) {
          for (extent j = 0; j < k.count; ++j) sum += m.allows(q.first + i * q.step, k.first + j * k.step);
        }
      }
    }
    return sum;
  }
}

}  // namespace ringfold
