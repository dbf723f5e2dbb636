#pragma once

#include <vector>

#include <ringfold/sequence/mask.hpp>

/// \file
/// Which rows of some keys the queries see: a window leaves a halo of them, a sparse mask here and there a run.

namespace ringfold {

/// Collects the rows of one owner's keys that anybody of any queries sees, exactly.
///
/// Queries and keys are halved until the mask is sure of a rectangle. Of bands and packed documents, which soon are, that
/// takes at most a few steps per row; a predicate_mask is sure of nothing, and is asked pair by pair until a row is seen.
/// \snippet sequence/seen_test.cpp seen_rows
class seen_rows {
 public:
  explicit seen_rows(extent rows) : seen_(static_cast<std::size_t>(rows)) {}

  /// Adds the rows of `keys`, all of the owner's segments, that a row of `queries` sees.
  template <mask M>
  void add(const M& m, span<const segment> queries, span<const segment> keys) {
    look(m, part(queries), part(keys), 0);
  }

  /// The rows seen so far, as ascending ranges as long as can be.
  std::vector<range> runs() const {
    std::vector<range> made;
    for (std::size_t row = 0; row < seen_.size(); ++row) {
      if (!seen_[row]) continue;
      if (row == 0 || !seen_[row - 1]) made.push_back({static_cast<extent>(row), 0});
      ++made.back().count;
    }
    return made;
  }

 private:
  /// Some segments, or a piece of one.
  struct part {
    span<const segment> segments;
    segment piece{};  // while it is of one segment

    explicit part(span<const segment> all) : segments(all) {
      if (all.size() == 1) piece = all[0];
    }
    bool is_one() const { return segments.size() == 1; }
    bool is_row() const { return is_one() && piece.count == 1; }
    extent rows() const {
      if (is_one()) return piece.count;
      extent sum = 0;
      for (const segment& each : segments) sum += each.count;
      return sum;
    }
    hull positions() const { return is_one() ? hull_of(piece) : hull_of(segments); }
    /// The first or the second half.
    part half(bool second) const {
      if (!is_one()) return part(ringfold::half(segments, second));
      part made = *this;
      extent const count = piece.count / 2;
      made.piece = second ? segment{piece.first + count * piece.step, piece.step, piece.count - count}
                          : segment{piece.first, piece.step, count};
      return made;
    }
  };

  template <class M>
  void look(const M& m, const part& queries, const part& keys, extent row) {
    extent const of_queries = queries.rows(), of_keys = keys.rows();
    if (of_queries == 0 || all_seen({row, of_keys})) return;
    coverage const left = m.classify(queries.positions(), keys.positions());
    bool const one = queries.is_one() && keys.is_one();
    if (left == coverage::skip || (one && !m.meets(queries.piece, keys.piece))) return;
    if (left == coverage::full || (one && keys.is_row())) {
      for (extent i = 0; i < of_keys; ++i) seen_[static_cast<std::size_t>(row + i)] = true;
    } else if (of_keys >= of_queries && !keys.is_row()) {
      part const first = keys.half(false);
      look(m, queries, first, row);
      look(m, queries, keys.half(true), row + first.rows());
    } else {
      look(m, queries.half(true), keys, row);  // later queries first: in a causal mask they see more
      look(m, queries.half(false), keys, row);
    }
  }

  bool all_seen(range rows) const {
    for (extent i = 0; i < rows.count; ++i) {
      if (!seen_[static_cast<std::size_t>(rows.first + i)]) return false;
    }
    return true;
  }

  std::vector<unsigned char> seen_;
};

}  // namespace ringfold
