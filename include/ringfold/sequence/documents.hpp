#pragma once

#include <initializer_list>
#include <vector>

#include <ringfold/sequence/pairs.hpp>

/// \file
/// Several documents packed into one sequence, one behind the other, none of which sees another.

namespace ringfold {

/// Where documents begin and end in a packed sequence. Lengths may be zero; tokens behind the last document are padding.
class documents {
 public:
  /// Takes their lengths. \throws shape_error when one is negative.
  explicit documents(span<const extent> lengths) {
    std::vector<extent> ends;
    ends.reserve(lengths.size());
    extent end = 0;
    for (extent const length : lengths) {
      if (length < 0) {
        throw shape_error(say("documents: a length of %lld; none may be negative", static_cast<long long>(length)));
      }
      ends.push_back(end = checked_add(end, length));
    }
    ends_ = shared(static_cast<std::vector<extent>&&>(ends));
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

  int count() const { return static_cast<int>(ends_->size()); }
  /// Tokens in documents; the rest of a sequence is padding.
  extent tokens() const { return ends_->empty() ? 0 : ends_->back(); }
  /// Whether this is one of them.
  bool has(int document) const { return document >= 0 && document < count(); }
  extent end(int document) const { return (*ends_)[static_cast<std::size_t>(document)]; }
  extent first(int document) const { return document == 0 ? 0 : end(document - 1); }
  extent length(int document) const { return end(document) - first(document); }

  /// \throws shape_error when they are longer than a sequence; `what` says whose that is.
  void check(const char* what, extent sequence) const {
    if (tokens() <= sequence) return;
    throw shape_error(say("%s: documents of %lld tokens in a sequence of %lld", what, static_cast<long long>(tokens()),
                          static_cast<long long>(sequence)));
  }

  /// The document of a token; count() for padding, -1 before all.
  int at(extent position) const {
    if (position < 0) return -1;
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

  /// The positions of an ascending segment that lie in a document; perhaps none.
  segment part_of(segment s, int document) const {
    extent const before = first(document) - s.first, until = end(document) - s.first;
    extent const low = before <= 0 ? 0 : (before + s.step - 1) / s.step;
    extent const stop = until <= 0 ? 0 : (until + s.step - 1) / s.step;
    extent const count = (stop < s.count ? stop : s.count) - low;
    return {s.first + low * s.step, s.step, count > 0 ? count : 0};
  }

 private:
  shared<std::vector<extent>> ends_;
};

/// A mask within each document: queries of a document see its keys alone, and the mask is asked by positions in the
/// document. Padding sees nothing and is seen by nobody. Made by operator&, top_left() or bottom_right().
template <mask Inner>
class packed {
 public:
  /// Which tokens of a document are one place for the mask: the first query and the first key, or the last ones.
  enum class aligned : unsigned char { at_start, at_end };

  /// \throws shape_error when there are more documents of queries than of keys, or fewer.
  packed(documents queries, documents keys, Inner within, aligned how)
      : queries_(static_cast<documents&&>(queries)), keys_(static_cast<documents&&>(keys)), within_(within), how_(how) {
    if (queries_.count() != keys_.count()) {
      throw shape_error(say("packed: %d documents of queries, %d of keys; both need the same number", queries_.count(),
                            keys_.count()));
    }
  }

  /// \throws shape_error when the documents are longer than their sequence.
  void check(const layout& queries, const layout& keys) const {
    queries_.check("queries", queries.tokens()), keys_.check("keys", keys.tokens());
  }

  bool allows(extent query, extent key) const {
    int const document = queries_.at(query);
    return queries_.has(document) && document == keys_.at(key) &&
           within_.allows(query + to_place(document), key - keys_.first(document));
  }

  /// The queries that see a key, as far as the inner mask tells; none where low is above high.
  hull seen_by(extent key) const
    requires requires(const Inner& inner, extent place) { inner.seen_by(place); }
  {
    int const document = keys_.at(key);
    if (!keys_.has(document)) return {1, 0};
    hull const within = within_.seen_by(key - keys_.first(document));
    extent const low = within.low - to_place(document), high = within.high - to_place(document);
    extent const first = queries_.first(document), last = queries_.end(document) - 1;
    return {low > first ? low : first, high < last ? high : last};
  }

  coverage classify(hull queries, hull keys) const {
    segment const rows{queries.low, 1, queries.high - queries.low + 1}, columns{keys.low, 1, keys.high - keys.low + 1};
    coverage made = coverage::skip;
    for_each_document(rows, columns, [&](segment q, segment k) {
      made = within_.classify({q.first, q.last()}, {k.first, k.last()});
      if (made == coverage::full && (q.count < rows.count || k.count < columns.count)) made = coverage::partial;
      return made == coverage::skip;
    });
    return made;
  }

  bool meets(segment queries, segment keys) const {
    bool met = false;
    for_each_document(queries, keys, [&](segment q, segment k) { return !(met = within_.meets(q, k)); });
    return met;
  }

  /// Where queries stand in their documents, against where they stand in the sequence.
  document_places places() const {
    document_places made;
    for (int document = 0; document < queries_.count(); ++document) {
      extent const offset = to_place(document) + keys_.first(document);
      if (queries_.length(document) == 0 || keys_.length(document) == 0) continue;
      made.alike = made.alike && (!made.given || offset == made.offset);
      made.given = true, made.offset = offset;
    }
    return made;
  }

  /// How many pairs are visible: each document is counted by itself.
  extent pairs(span<const segment> queries, span<const segment> keys) const {
    auto const rows = parts_by_document(queries_, queries, [&](int document) { return to_place(document); });
    auto const columns = parts_by_document(keys_, keys, [&](int document) { return -keys_.first(document); });
    extent sum = 0;
    for (std::size_t document = 0; document < rows.size(); ++document) {
      sum += visible_pairs(within_, span<const segment>(rows[document]), span<const segment>(columns[document]));
    }
    return sum;
  }

 private:
  /// From a query's position to its place for the inner mask.
  extent to_place(int document) const {
    return how_ == aligned::at_start ? -queries_.first(document) : keys_.length(document) - queries_.end(document);
  }

  /// Calls f(queries, keys) with the places of two segments in each document that both have a part of, until it is false.
  template <class F>
  void for_each_document(segment queries, segment keys, F f) const {
    if (queries.count <= 0 || keys.count <= 0) return;
    queries = detail::ascending(queries), keys = detail::ascending(keys);
    int const first = larger(queries_.at(queries.first), keys_.at(keys.first), 0);
    for (int document = first; document < keys_.count(); ++document) {
      segment q = queries_.part_of(queries, document), k = keys_.part_of(keys, document);
      if (queries_.first(document) > queries.last() || keys_.first(document) > keys.last()) return;
      q.first += to_place(document), k.first -= keys_.first(document);
      if (q.count > 0 && k.count > 0 && !f(q, k)) return;
    }
  }
  /// For each document the parts of segments in it, moved by as much as `move` says.
  template <class F>
  static std::vector<std::vector<segment>> parts_by_document(const documents& of, span<const segment> all, F move) {
    std::vector<std::vector<segment>> made(static_cast<std::size_t>(of.count()));
    for (segment each : all) {
      if (each.count <= 0) continue;
      each = detail::ascending(each);
      for (int document = larger(of.at(each.first), 0, 0); document <= of.at(each.last()) && of.has(document);
           ++document) {
        segment part = of.part_of(each, document);
        part.first += move(document);
        if (part.count > 0) made[static_cast<std::size_t>(document)].push_back(part);
      }
    }
    return made;
  }
  static int larger(int a, int b, int c) { return a > b ? (a > c ? a : c) : (b > c ? b : c); }

  documents queries_, keys_;
  Inner within_;
  aligned how_;
};

/// A mask within each document, for self-attention: `documents({300, 0, 212}) & causal()`.
template <mask Inner>
packed<Inner> operator&(const documents& parts, Inner within) {
  return {parts, parts, within, packed<Inner>::aligned::at_start};
}
template <mask Inner>
packed<Inner> operator&(Inner within, const documents& parts) {
  return parts & within;
}

/// A mask within each pair of documents, e.g. of a decoder's and an encoder's tokens. Query 0 of each stands at key 0.
/// Lengths of a pair may differ and be zero; keys without queries are seen by nobody, queries without keys see nothing.
/// \throws shape_error when there are more documents of queries than of keys, or fewer.
template <mask Inner>
packed<Inner> top_left(Inner within, const documents& queries, const documents& keys) {
  return {queries, keys, within, packed<Inner>::aligned::at_start};
}

/// As top_left(), but the last query of each document stands at its last key, as behind a prefix of keys.
template <mask Inner>
packed<Inner> bottom_right(Inner within, const documents& queries, const documents& keys) {
  return {queries, keys, within, packed<Inner>::aligned::at_end};
}

/// Each document, and the padding behind the last, cut and dealt as zigzag() does: balanced for a causal mask in each.
/// \throws shape_error when the documents are longer than the sequence.
inline layout zigzag(const documents& parts, extent tokens, int ranks) {
  detail::check_sequence("zigzag", tokens, ranks);
  parts.check("zigzag", tokens);
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
