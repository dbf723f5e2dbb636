#pragma once

#include <initializer_list>
#include <vector>

#include <ringfold/sequence/mask.hpp>

/// \file
/// Several documents packed into one sequence, one behind the other, none of which sees another.

namespace ringfold {

/// Where documents begin and end in a packed sequence. Lengths may be zero; tokens behind the last document are padding.
class documents {
 public:
  /// Takes their lengths. \throws shape_error when one is negative.
  explicit documents(span<const extent> lengths) : ends_{} {
    ends_.reserve(lengths.size());
    extent end = 0;
    for (extent const length : lengths) {
      if (length < 0) {
        throw shape_error(say("documents: a length of %lld; none may be negative", static_cast<long long>(length)));
      }
      ends_.push_back(end = checked_add(end, length));
    }
  }
  documents(std::initializer_list<extent> lengths) : documents(span<const extent>(lengths.begin(), lengths.size())) {}

  /// Takes cumulative lengths: 0, then the end of each document. \throws shape_error when they do not ascend from 0.
  static documents between(span<const extent> boundaries) {
    std::vector<extent> lengths;
    for (std::size_t i = 0; i < boundaries.size(); ++i) {
      extent const before = i == 0 ? 0 : boundaries[i - 1];
      if (boundaries[i] < before || (i == 0 && boundaries[i] != 0)) {
        throw shape_error(say("documents: boundary %lld is %lld behind %lld; they begin with 0 and never descend",
                              static_cast<long long>(i), static_cast<long long>(boundaries[i]),
                              static_cast<long long>(before)));
      }
      if (i > 0) lengths.push_back(boundaries[i] - before);
    }
    return documents(lengths);
  }

  int count() const { return static_cast<int>(ends_.size()); }
  /// Tokens in documents; the rest of a sequence is padding.
  extent tokens() const { return ends_.empty() ? 0 : ends_.back(); }
  extent end(int document) const { return ends_[static_cast<std::size_t>(document)]; }
  extent first(int document) const { return document == 0 ? 0 : end(document - 1); }

  /// The document of a token; count() for padding.
  int at(extent position) const {
    int low = 0, high = count();
    while (low < high) {
      int const middle = low + (high - low) / 2;
      if (end(middle) <= position) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

 private:
  std::vector<extent> ends_;
};

/// A mask within each document: `documents({300, 0, 212}) & causal()`. Padding sees nothing and is seen by nobody.
///
/// The inner mask is asked by positions in the sequence, which differ from those in a document by the same number.
template <mask Inner>
class packed {
 public:
  packed(documents parts, Inner within) : parts_(static_cast<documents&&>(parts)), within_(within) {}

  bool allows(extent query, extent key) const {
    int const of_query = parts_.at(query);
    return of_query < parts_.count() && of_query == parts_.at(key) && within_.allows(query, key);
  }

  coverage classify(hull queries, hull keys) const {
    int const first_query = parts_.at(queries.low), last_query = parts_.at(queries.high);
    int const first_key = parts_.at(keys.low), last_key = parts_.at(keys.high);
    bool const padding = first_query == parts_.count() || first_key == parts_.count();
    if (padding || last_query < first_key || last_key < first_query) return coverage::skip;
    coverage const inner = within_.classify(queries, keys);
    bool const one = first_query == last_query && first_key == last_key && first_query == first_key;
    return one || inner == coverage::skip ? inner : coverage::partial;
  }

  bool meets(segment queries, segment keys) const {
    if (queries.count <= 0 || keys.count <= 0) return false;
    hull const q = hull_of(queries), k = hull_of(keys);
    int const last = parts_.at(q.high < k.high ? q.high : k.high);
    for (int document = parts_.at(q.low > k.low ? q.low : k.low); document <= last && document < parts_.count();
         ++document) {
      if (within_.meets(part_in(queries, document), part_in(keys, document))) return true;
    }
    return false;
  }

 private:
  static hull hull_of(const segment& s) {
    return s.first <= s.last() ? hull{s.first, s.last()} : hull{s.last(), s.first};
  }

  /// The positions of a segment that lie in a document.
  segment part_in(segment s, int document) const {
    if (s.step < 0) s = {s.last(), -s.step, s.count};
    if (s.step == 0) s = {s.first, 1, 1};
    extent const before = parts_.first(document) - s.first, until = parts_.end(document) - s.first;
    extent const low = before <= 0 ? 0 : (before + s.step - 1) / s.step;
    extent const end = until <= 0 ? 0 : (until + s.step - 1) / s.step;
    extent const count = (end < s.count ? end : s.count) - low;
    return {s.first + low * s.step, s.step, count > 0 ? count : 0};
  }

  documents parts_;
  Inner within_;
};

/// A mask within each document.
template <mask Inner>
packed<Inner> operator&(documents parts, Inner within) {
  return {static_cast<documents&&>(parts), within};
}

/// Each document, and the padding behind the last, cut and dealt as zigzag() does: balanced for a causal mask in each.
/// \throws shape_error when the documents are longer than the sequence.
inline layout zigzag(const documents& parts, extent tokens, int ranks) {
  detail::check_sequence("zigzag", tokens, ranks);
  if (parts.tokens() > tokens) {
    throw shape_error(say("zigzag: documents of %lld tokens in a sequence of %lld",
                          static_cast<long long>(parts.tokens()), static_cast<long long>(tokens)));
  }
  extent const pieces = 2 * extent{ranks};
  std::vector<std::vector<segment>> owners(static_cast<std::size_t>(ranks));
  for (int document = 0; document <= parts.count(); ++document) {
    extent const first = document == 0 ? 0 : parts.end(document - 1);
    extent const length = (document < parts.count() ? parts.end(document) : tokens) - first;
    for (int rank = 0; rank < ranks; ++rank) {
      for (extent const piece : {extent{rank}, pieces - 1 - rank}) {
        segment part = detail::share(length, pieces, piece);
        part.first += first;
        owners[static_cast<std::size_t>(rank)].push_back(part);
      }
    }
  }
  return layout(tokens, owners);
}

}  // namespace ringfold
