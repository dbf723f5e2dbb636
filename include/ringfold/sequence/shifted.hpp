#pragma once

#include <ringfold/sequence/pairs.hpp>

/// \file
/// Masks of queries that do not begin where the keys begin: cross-attention, and queries behind a prefix of keys.

namespace ringfold {

/// A mask that takes query i for query i + offset; positions before the first key and behind the last are asked too.
template <mask Inner>
class shifted_mask {
 public:
  /// \throws usage_error when the offset is further than any position.
  constexpr shifted_mask(Inner inner, extent offset) : inner_(inner), offset_(offset) { detail::check_offset(offset); }

  constexpr bool allows(extent query, extent key) const { return inner_.allows(query + offset_, key); }
  constexpr coverage classify(hull queries, hull keys) const {
    return inner_.classify({queries.low + offset_, queries.high + offset_}, keys);
  }
  constexpr bool meets(segment queries, segment keys) const {
    queries.first += offset_;
    return inner_.meets(queries, keys);
  }

  /// How many pairs are visible.
  extent pairs(span<const segment> queries, span<const segment> keys) const {
    std::vector<segment> moved(queries.begin(), queries.end());
    for (segment& each : moved) each.first += offset_;
    return visible_pairs(inner_, span<const segment>(moved), keys);
  }

  constexpr shifted_mask shifted(extent offset) const {
    detail::check_offset(offset);
    return {inner_, offset_ + offset};
  }

 private:
  Inner inner_;
  extent offset_;
};

/// The mask in which query i sees what query i + offset sees in another. A mask may absorb the shift, as bands do, by a
/// member shifted(offset).
template <mask M>
constexpr auto shifted(M of, extent offset) {
  if constexpr (requires {
                  { of.shifted(offset) } -> mask;
                }) {
    return of.shifted(offset);
  } else {
    return shifted_mask<M>(of, offset);
  }
}

/// A mask for queries that end where the keys end: the last query stands at the last key. It serves queries that are
/// the last tokens of the keys, as in a prefill in chunks over a cache. Where there are more queries than keys, the
/// first ones stand before all keys. Any mask as it is, is aligned top-left: query 0 stands at key 0.
/// \throws shape_error when a number of tokens is negative.
/// \snippet attention/cross_test.cpp prefix
template <mask M>
constexpr auto bottom_right(M of, extent query_tokens, extent key_tokens) {
  if (query_tokens < 0 || key_tokens < 0) {
    throw shape_error(say("bottom_right: %lld queries, %lld keys; none may be negative",
                          static_cast<long long>(query_tokens), static_cast<long long>(key_tokens)));
  }
  return shifted(of, key_tokens - query_tokens);
}

}  // namespace ringfold
