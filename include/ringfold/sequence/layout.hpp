#pragma once

#include <initializer_list>
#include <vector>

#include <ringfold/core/communicator.hpp>
#include <ringfold/core/shared.hpp>

/// \file
/// Which rank holds which tokens. Every rank knows the whole map, so no position ever travels.

namespace ringfold {

/// `count` token positions: first, first + step, first + 2 * step, ...
struct segment {
  extent first = 0;
  extent step = 1;
  extent count = 0;
  constexpr extent last() const { return first + (count - 1) * step; }
  friend constexpr bool operator==(const segment&, const segment&) = default;
};

/// An immutable map from owner to the token positions of its rows, in the order in which it stores them.
///
/// Owners are ranks in the numbering of all ranks. Any lengths are right, none included; more ranks than tokens too.
class layout {
 public:
  /// No ranks, no tokens.
  layout() = default;

  /// Takes one list of segments per owner. \throws shape_error when they do not tile 0 .. tokens-1 exactly.
  layout(extent tokens, const std::vector<std::vector<segment>>& owners) : layout(unchecked{}, tokens, owners) {
    if (tokens < 0)
      throw shape_error(say("layout: %lld tokens; at least 0 are needed", static_cast<long long>(tokens)));
    std::vector<bool> held(static_cast<std::size_t>(tokens), false);
    for (int owner = 0; owner < ranks(); ++owner) {
      for_each_position(owner, [&](extent row, extent position) {
        bool const outside = position < 0 || position >= tokens;
        if (outside || held[static_cast<std::size_t>(position)]) {
          throw shape_error(
              say("layout: row %lld of rank %d is token %lld, which is %s; every token of 0..%lld must "
                  "be held once",
                  static_cast<long long>(row), owner, static_cast<long long>(position),
                  outside ? "not in the sequence" : "held twice", static_cast<long long>(tokens - 1)));
        }
        held[static_cast<std::size_t>(position)] = true;
      });
    }
    extent rows_held = 0;
    for (int owner = 0; owner < ranks(); ++owner) rows_held += rows(owner);
    if (rows_held != tokens) {
      throw shape_error(say("layout: the ranks hold %lld rows, but the sequence has %lld tokens",
                            static_cast<long long>(rows_held), static_cast<long long>(tokens)));
    }
  }

  int ranks() const { return held_ ? static_cast<int>(held_->rows.size()) : 0; }
  /// The length of the sequence.
  extent tokens() const { return tokens_; }
  extent rows(int owner) const { return held_->rows[static_cast<std::size_t>(owner)]; }

  /// The longest shard.
  extent most_rows() const { return held_ ? held_->most_rows : 0; }

  span<const segment> segments(int owner) const {
    auto const index = static_cast<std::size_t>(owner);
    auto const& begin = held_->begin;
    return {held_->segments.data() + begin[index], begin[index + 1] - begin[index]};
  }

  /// Calls f(row, position) for every row of an owner.
  template <class F>
  void for_each_position(int owner, F f) const {
    extent row = 0;
    for (const segment& each : segments(owner)) {
      for (extent i = 0; i < each.count; ++i) f(row++, each.first + i * each.step);
    }
  }

  /// The layout after the ranks along one axis have put their shards together: each of them then holds them all,
  /// one shard after the other. Owners keep their numbers.
  layout merged(axis along) const {
    return merged(along, [](int, int) { return true; });
  }
  /// As above, without the shards of owners for which joins(holder, owner) is false.
  template <class Joins>
  layout merged(axis along, Joins joins) const {
    std::vector<std::vector<segment>> owners(static_cast<std::size_t>(ranks()));
    for (int owner = 0; owner < ranks(); ++owner) {
      int const first = owner - owner / along.stride % along.count * along.stride;
      auto& whole = owners[static_cast<std::size_t>(owner)];
      for (int member = 0; member < along.count; ++member) {
        if (!joins(owner, first + member * along.stride)) continue;
        auto const part = segments(first + member * along.stride);
        whole.insert(whole.end(), part.begin(), part.end());
      }
    }
    return layout(unchecked{}, tokens_, owners);
  }

  /// The layout of some rows: of each owner the ascending ranges that `of(owner)` gives, as they are in this layout.
  /// The other tokens of the sequence are then held by nobody.
  template <class F>
  layout selected(F of) const {
    std::vector<std::vector<segment>> owners(static_cast<std::size_t>(ranks()));
    for (int owner = 0; owner < ranks(); ++owner) {
      span<const range> const rows = of(owner);
      std::size_t next = 0;
      extent row = 0;
      for (const segment& each : segments(owner)) {
        range const here{row, each.count};
        row += each.count;
        while (next < rows.size() && rows[next].first < row) {
          range const part = rows[next].within(here);
          owners[static_cast<std::size_t>(owner)].push_back(
              {each.first + (part.first - here.first) * each.step, each.step, part.count});
          if (rows[next].first + rows[next].count > row) break;  // it goes on in the next segment
          ++next;
        }
      }
    }
    return layout(unchecked{}, tokens_, owners);
  }

 private:
  struct unchecked {};
  layout(unchecked, extent tokens, const std::vector<std::vector<segment>>& owners)
      : tokens_(tokens), held_(tables(owners)) {}

  struct tables {
    explicit tables(const std::vector<std::vector<segment>>& owners) {
      begin.reserve(owners.size() + 1);
      for (const auto& owner : owners) {
        begin.push_back(segments.size());
        extent count = 0;
        for (const segment& each : owner) {
          if (each.count <= 0) continue;
          segments.push_back(each);
          count += each.count;
        }
        rows.push_back(count);
        most_rows = count > most_rows ? count : most_rows;
      }
      begin.push_back(segments.size());
    }

    std::vector<segment> segments;
    std::vector<std::size_t> begin;
    std::vector<extent> rows;
    extent most_rows = 0;
  };

  extent tokens_ = 0;
  shared<tables> held_;  // problems are copied a lot
};

namespace detail {
inline void check_sequence(const char* what, extent tokens, int ranks) {
  if (tokens < 0 || ranks <= 0) {
    throw shape_error(say("%s: %lld tokens over %d ranks; at least 0 tokens and 1 rank are needed", what,
                          static_cast<long long>(tokens), ranks));
  }
}
/// The part-th of `parts` nearly equal pieces of 0 .. tokens-1; the first ones are longer by one.
constexpr segment share(extent tokens, extent parts, extent part) {
  extent const small = tokens / parts, larger = tokens % parts;
  return {part * small + (part < larger ? part : larger), 1, small + (part < larger ? 1 : 0)};
}
/// The same in whole units; only the last piece that is not empty may end within one.
inline segment share(extent tokens, extent parts, extent part, extent unit) {
  if (unit <= 0) throw shape_error(say("units of %lld tokens; at least 1 is needed", static_cast<long long>(unit)));
  segment const units = share(tokens / unit + (tokens % unit != 0), parts, part);
  extent const first = units.first * unit, left = tokens - first;
  return {first, 1, units.count * unit < left ? units.count * unit : left};
}
}  // namespace detail

/// Rank r holds the r-th of `ranks` nearly equal pieces, cut between units of so many tokens.
inline layout contiguous(extent tokens, int ranks, extent unit = 1) {
  detail::check_sequence("contiguous", tokens, ranks);
  std::vector<std::vector<segment>> owners;
  for (int rank = 0; rank < ranks; ++rank) owners.push_back({detail::share(tokens, ranks, rank, unit)});
  return layout(tokens, owners);
}

/// Rank r holds pieces r and 2 * ranks - 1 - r of 2 * ranks nearly equal ones, cut between units of so many tokens;
/// which balances a causal mask. Source: zhuzilin/ring-flash-attention issue 2; Megatron context parallelism.
inline layout zigzag(extent tokens, int ranks, extent unit = 1) {
  detail::check_sequence("zigzag", tokens, ranks);
  std::vector<std::vector<segment>> owners;
  for (int rank = 0; rank < ranks; ++rank) {
    extent const parts = 2 * extent{ranks};
    owners.push_back({detail::share(tokens, parts, rank, unit), detail::share(tokens, parts, parts - 1 - rank, unit)});
  }
  return layout(tokens, owners);
}

/// Stripes of `width` tokens are dealt to the ranks in turn. Source: Striped Attention (Brandon et al., 2023).
inline layout striped(extent tokens, int ranks, extent width = 1) {
  detail::check_sequence("striped", tokens, ranks);
  if (width <= 0) throw shape_error(say("striped: width %lld; at least 1 is needed", static_cast<long long>(width)));
  if (width > tokens) width = tokens > 0 ? tokens : 1;  // one stripe holds all; keeps the arithmetic below small
  std::vector<std::vector<segment>> owners(static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    auto& owner = owners[static_cast<std::size_t>(rank)];
    if (width == 1) {
      owner.push_back({rank, ranks, tokens > rank ? (tokens - rank - 1) / ranks + 1 : 0});
      continue;
    }
    for (extent first = rank * width; first < tokens; first += ranks * width) {
      owner.push_back({first, 1, first + width < tokens ? width : tokens - first});
    }
  }
  return layout(tokens, owners);
}

/// Rank r holds the next lengths[r] tokens. \throws shape_error when the lengths do not add up to `tokens`.
inline layout uneven(extent tokens, span<const extent> lengths) {
  detail::check_sequence("uneven", tokens, static_cast<int>(lengths.size()));
  std::vector<std::vector<segment>> owners;
  extent first = 0;
  for (extent const length : lengths) {
    if (length < 0)
      throw shape_error(say("uneven: a length of %lld; none may be negative", static_cast<long long>(length)));
    owners.push_back({segment{first, 1, length}});
    first = checked_add(first, length);
  }
  if (first != tokens) {
    throw shape_error(say("uneven: the lengths add up to %lld, but the sequence has %lld tokens",
                          static_cast<long long>(first), static_cast<long long>(tokens)));
  }
  return layout(tokens, owners);
}
inline layout uneven(extent tokens, std::initializer_list<extent> lengths) {
  return uneven(tokens, span<const extent>(lengths.begin(), lengths.size()));
}

/// Tokens behind a prefix: every rank holds its part of the prefix, then its part of the tokens, which follow the prefix
/// in the sequence. Source: chunked prefill over a cache of keys and values that is already sharded.
/// \throws shape_error when the layouts are for different numbers of ranks.
/// \snippet attention/cross_test.cpp prefix
inline layout appended(const layout& prefix, const layout& tokens) {
  if (prefix.ranks() != tokens.ranks()) {
    throw shape_error(
        say("appended: a prefix on %d ranks, tokens on %d; both need the same number", prefix.ranks(), tokens.ranks()));
  }
  std::vector<std::vector<segment>> owners;
  for (int rank = 0; rank < prefix.ranks(); ++rank) {
    auto const before = prefix.segments(rank);
    auto& owner = owners.emplace_back(before.begin(), before.end());
    for (segment part : tokens.segments(rank)) {
      part.first = checked_add(part.first, prefix.tokens());
      owner.push_back(part);
    }
  }
  return layout(checked_add(prefix.tokens(), tokens.tokens()), owners);
}

}  // namespace ringfold
