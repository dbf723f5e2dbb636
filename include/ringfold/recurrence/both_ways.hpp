#pragma once

#include <ringfold/recurrence/mirrored.hpp>

/// \file
/// Recurrences in both directions at once.

namespace ringfold {

/// A sequence, and behind it the same from its end: every owner holds its rows ahead, then those rows last first.
inline layout both_ways(const layout& tokens) { return appended(tokens, mirrored(tokens)); }

/// All documents, and behind them the same, the last one first.
inline documents both_ways(const documents& packed) {
  std::vector<extent> lengths;
  auto const append = [&](const documents& of) {
    for (int document = 0; document < of.count(); ++document) lengths.push_back(of.length(document));
  };
  append(packed), append(mirrored(packed));
  return documents(lengths);
}

/// A recurrence from the first token to the last and another from the last to the first, in one plan and one exchange.
///
/// The directions are two documents of one sequence, so nothing goes from one to the other, and every rule, schedule and
/// layout does both, forward and backward. Tensors of tokens have twice the rows, those of each direction in ahead_half()
/// and back_half(), where both read as the sequence does; what is given once for all tokens is the same both ways. An
/// initial state enters the first token ahead, the final state is that after the first token back.
/// **Steps** a gather takes those of one way; a chain takes the ways one after the other; others those of twice the slots.
/// **Bytes** a chain's are those of both ways; where elements are gathered and each rank has one segment, at most
/// ranks - 1 elements of each way. **Memory** that of twice the slots. **Order** the schedule's over twice the slots:
/// where it keeps the order, the bits of each way alone. **Overlap** as one way.
/// Source: bidirectional linear recurrences (BLUR, 2025).
/// \snippet recurrence/both_ways_test.cpp both_ways
template <class T>
recurrence_problem<T> both_ways(recurrence_problem<T> p) {
  p.tokens = both_ways(p.tokens);
  p.packed = both_ways(p.packed);
  return p;
}

/// Of rows of both_ways(), those from the first token to the last.
template <class T, int Rank, class Space>
constexpr view<T, Rank, Space> ahead_half(const view<T, Rank, Space>& whole, int axis = row_axis) {
  return slice(whole, axis, extent{0}, whole.extents[axis] / 2);
}

/// Those from the last token to the first, in the order of the sequence.
template <class T, int Rank, class Space>
constexpr view<T, Rank, Space> back_half(const view<T, Rank, Space>& whole, int axis = row_axis) {
  extent const rows = whole.extents[axis] / 2;
  return flipped(slice(whole, axis, rows, rows), axis);
}

}  // namespace ringfold
