#pragma once

#include <concepts>

#include <ringfold/sequence/layout.hpp>

/// \file
/// Which query sees which key, by global position.

namespace ringfold {

/// What a mask leaves of a rectangle of queries and keys.
enum class coverage : unsigned char { skip, partial, full };

/// The smallest and the largest position of some rows.
struct hull {
  extent low, high;
};

/// Whether queries stand in their documents as they do in the sequence, but for one offset; true without documents.
struct document_places {
  bool given = false, alike = true;
  extent offset = 0;
};

/// A mask answers for one pair, for a rectangle (skip and full only when sure), and whether two
/// segments hold any visible pair (exactly: both ends of a wire decide by it what travels).
///
/// Where the queries that see a key are neighbours, `hull seen_by(key)` spares kernels asking pair by pair. A mask that
/// does not fit every sequence says so by `check(queries, keys)`, which is asked with their layouts and throws.
template <class M>
concept mask = std::copy_constructible<M> && requires(const M& m, extent position, hull rows, segment part) {
  { m.allows(position, position) } -> std::same_as<bool>;
  { m.classify(rows, rows) } -> std::same_as<coverage>;
  { m.meets(part, part) } -> std::same_as<bool>;
};

namespace detail {
/// Further than any position.
inline constexpr extent beyond = extent{1} << 60;

constexpr void check_offset(extent offset) {
  if (offset > beyond || offset < -beyond) {
    throw usage_error(say("shifted: an offset of %lld; at most 2^60 either way", static_cast<long long>(offset)));
  }
}

/// The same positions, from the smallest on.
constexpr segment ascending(segment s) {
  if (s.count == 1 || s.step == 0) return {s.first, 1, 1};
  return s.step > 0 ? s : segment{s.last(), -s.step, s.count};
}
}  // namespace detail

/// Query i sees the keys i - left .. i + right.
class band {
 public:
  static constexpr extent unbounded = detail::beyond;  ///< further than any position

  constexpr band() = default;
  /// \throws usage_error when a width is negative.
  constexpr band(extent left, extent right)
      : left_(left < unbounded ? left : unbounded), right_(right < unbounded ? right : unbounded) {
    if (left < 0 || right < 0) {
      throw usage_error(say("window: widths %lld, %lld; none may be negative", static_cast<long long>(left),
                            static_cast<long long>(right)));
    }
  }

  /// The widths; one may be negative once the band was shifted.
  constexpr extent left() const { return left_; }
  constexpr extent right() const { return right_; }

  /// Query i sees what query i + offset saw. \throws usage_error when the offset is further than any position.
  constexpr band shifted(extent offset) const {
    detail::check_offset(offset);
    auto const moved = [](extent width, extent by) {
      if (width == unbounded) return width;
      extent const sum = width + by;
      return sum > unbounded ? unbounded : sum < -unbounded ? -unbounded : sum;
    };
    band made;
    made.left_ = moved(left_, -offset), made.right_ = moved(right_, offset);
    return made;
  }

  /// The queries that see a key: all positions between these two.
  constexpr hull seen_by(extent key) const { return {key - right_, key + left_}; }

  RINGFOLD_HD constexpr bool allows(extent query, extent key) const {
    return key - query >= -left_ && key - query <= right_;
  }

  constexpr coverage classify(hull queries, hull keys) const {
    extent const nearest = keys.low - queries.high, furthest = keys.high - queries.low;
    if (furthest < -left_ || nearest > right_ || right_ < -left_) return coverage::skip;
    return nearest >= -left_ && furthest <= right_ ? coverage::full : coverage::partial;
  }

  constexpr bool meets(segment queries, segment keys) const {
    if (queries.count <= 0 || keys.count <= 0) return false;
    queries = detail::ascending(queries), keys = detail::ascending(keys);
    if (queries.count == 1) queries.step = keys.step;
    if (keys.count == 1) keys.step = queries.step;
    if (queries.step == keys.step) {
      // key - query runs over first + step * m for every m between these two.
      extent const first = keys.first - queries.first, step = queries.step;
      extent const low = ceiling(-left_ - first, step), high = floor(right_ - first, step);
      return (low > 1 - queries.count ? low : 1 - queries.count) <= (high < keys.count - 1 ? high : keys.count - 1);
    }
    for (extent i = 0; i < queries.count; ++i) {
      if (meets({queries.first + i * queries.step, keys.step, 1}, keys)) return true;
    }
    return false;
  }

  /// Both masks at once.
  friend constexpr band operator&(band a, band b) {
    band made;
    made.left_ = a.left_ < b.left_ ? a.left_ : b.left_, made.right_ = a.right_ < b.right_ ? a.right_ : b.right_;
    return made;
  }
  friend constexpr bool operator==(const band&, const band&) = default;

 private:
  static constexpr extent floor(extent a, extent b) { return a / b - (a % b != 0 && a < 0); }
  static constexpr extent ceiling(extent a, extent b) { return a / b + (a % b != 0 && a > 0); }

  extent left_ = unbounded;
  extent right_ = unbounded;
};

/// Every query sees every key.
constexpr band full() { return {}; }
/// A query sees itself and the keys before it.
constexpr band causal() { return {band::unbounded, 0}; }
/// A query sees `left` keys before it, itself, and `right` keys after it.
constexpr band window(extent left, extent right = 0) { return {left, right}; }

/// A mask given by a function of (query position, key position) alone: right everywhere, skipped by pair only.
template <std::predicate<extent, extent> F>
class predicate_mask {
 public:
  constexpr explicit predicate_mask(F allowed) : allowed_(allowed) {}
  constexpr bool allows(extent query, extent key) const { return allowed_(query, key); }
  constexpr coverage classify(hull, hull) const { return coverage::partial; }
  constexpr bool meets(segment queries, segment keys) const {
    for (extent i = 0; i < queries.count; ++i) {
      for (extent j = 0; j < keys.count; ++j) {
        if (allowed_(queries.first + i * queries.step, keys.first + j * keys.step)) return true;
      }
    }
    return false;
  }

 private:
  F allowed_;
};

/// Both masks at once.
template <mask A, mask B>
constexpr auto operator&(A a, B b) {
  return predicate_mask([a, b](extent query, extent key) { return a.allows(query, key) && b.allows(query, key); });
}

/// The hull of a segment's positions, or of those of several; there is at least one.
constexpr hull hull_of(const segment& of) {
  return of.first <= of.last() ? hull{of.first, of.last()} : hull{of.last(), of.first};
}
constexpr hull hull_of(span<const segment> of) {
  hull all = hull_of(of[0]);
  for (const segment& each : of) {
    hull const more = hull_of(each);
    all = {all.low < more.low ? all.low : more.low, all.high > more.high ? all.high : more.high};
  }
  return all;
}

/// The first or the second half of some segments.
constexpr span<const segment> half(span<const segment> of, bool second) {
  std::size_t const middle = of.size() / 2;
  return {of.data() + (second ? middle : 0), second ? of.size() - middle : middle};
}

/// Whether any row of some segments sees any row of others.
template <mask M>
constexpr bool visible(const M& m, span<const segment> queries, span<const segment> keys) {
  if (queries.empty() || keys.empty()) return false;
  if (queries.size() == 1 && keys.size() == 1) return m.meets(queries[0], keys[0]);
  // Far apart, as most pairs of stripes or documents are: not looked at one by one.
  if (m.classify(hull_of(queries), hull_of(keys)) == coverage::skip) return false;
  if (queries.size() > keys.size()) {
    return visible(m, half(queries, false), keys) || visible(m, half(queries, true), keys);
  }
  return visible(m, queries, half(keys, false)) || visible(m, queries, half(keys, true));
}

}  // namespace ringfold
