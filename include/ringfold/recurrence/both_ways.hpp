#pragma once

#include <ringfold/recurrence/mirrored.hpp>

/// \file
/// Recurrences in both directions at once.

namespace ringfold {

/// A sequence, and behind it the same from its end: every owner holds its rows ahead, then those rows last first.
inline layout both_ways(const layout& tokens) {
  auto const back = mirrored(tokens);
  std::vector<std::vector<segment>> owners(static_cast<std::size_t>(tokens.ranks()));
  for (int owner = 0; owner < tokens.ranks(); ++owner) {
    auto& mine = owners[static_cast<std::size_t>(owner)];
    for (const segment& each : tokens.segments(owner)) mine.push_back(each);
    for (segment each : back.segments(owner)) {
      each.first += tokens.tokens();
      mine.push_back(each);
    }
  }
  return {2 * tokens.tokens(), owners};
}

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
/// **Steps** the schedule's, over twice the slots: a chain and a gather take no more than one way, log-step scans a round.
/// **Bytes** a chain's are those of both ways; where elements are gathered, at most ranks - 1 of each way. **Memory, Order, Overlap** as one way.
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
