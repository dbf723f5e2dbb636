#pragma once

#include <ringfold/recurrence/problem.hpp>

/// \file
/// Sequences seen from their end, so that recurrences run the other way.

namespace ringfold {

/// The same rows, the last one first.
template <class T, int Rank, class Space>
constexpr view<T, Rank, Space> flipped(view<T, Rank, Space> whole, int axis = row_axis) {
  if (whole.extents[axis] > 0) whole.data += (whole.extents[axis] - 1) * whole.strides[axis];
  whole.strides[axis] = -whole.strides[axis];
  return whole;
}

/// The layout of flipped rows along a sequence whose last token is its first.
inline layout mirrored(const layout& tokens) {
  std::vector<std::vector<segment>> owners(static_cast<std::size_t>(tokens.ranks()));
  for (int owner = 0; owner < tokens.ranks(); ++owner) {
    auto& mine = owners[static_cast<std::size_t>(owner)];
    for (const segment& each : tokens.segments(owner)) {
      if (each.count == 0) continue;
      mine.insert(mine.begin(), segment{tokens.tokens() - 1 - each.last(), each.step, each.count});
    }
  }
  return {tokens.tokens(), owners};
}

/// The last document first.
inline documents mirrored(const documents& packed) {
  std::vector<extent> lengths;
  for (int document = packed.count(); document-- > 0;) lengths.push_back(packed.length(document));
  return documents(lengths);
}

/// A recurrence from the last token to the first: a plan of it takes flipped() views of what has rows.
///
/// Its initial state enters the last token, its final state is that after the first one. Every rule, schedule and layout
/// goes either way, documents too, forward and backward. A bidirectional recurrence is a plan of either kind, or one of
/// both_ways(); what both make is the caller's to join.
/// \snippet recurrence/mirrored_test.cpp mirrored
template <class T>
recurrence_problem<T> mirrored(recurrence_problem<T> p) {
  p.tokens = mirrored(p.tokens);
  p.packed = mirrored(p.packed);
  return p;
}

}  // namespace ringfold
