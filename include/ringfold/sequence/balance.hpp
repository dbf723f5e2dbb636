#pragma once

#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/pairs.hpp>

/// \file
/// How evenly layouts share the work of a mask, and which of them does it best.

namespace ringfold {

/// What a layout makes of a mask's work, counted in visible (query, key) pairs.
struct work_balance {
  std::vector<extent> pairs;  ///< by the rank that holds the queries
  extent remote = 0;          ///< pairs of a rank and another one of whose keys it sees any: blocks that must travel
  /// The time of a ring of keys whose ranks wait for each other in every step: the largest work of each step, summed,
  /// over what it were if all ranks always had the same. 1 is ideal, and what a mask without pairs gets.
  double critical_path = 1;
};

/// Counts a mask's work under the layouts of queries and keys.
///
/// Costs P * P counts of pairs: of bands, and of documents with bands in them, a closed form for each pair of segments;
/// of other masks every pair is asked. Counts are right up to 2^31 tokens.
/// \throws shape_error when the layouts are for different numbers of ranks.
/// \snippet sequence/balance_test.cpp balance
template <mask M>
work_balance balance(const M& mask_of, const layout& queries, const layout& keys) {
  int const ranks = queries.ranks();
  if (ranks != keys.ranks()) {
    throw shape_error(
        say("balance: queries lie on %d ranks, keys on %d; both need the same number", ranks, keys.ranks()));
  }
  work_balance made;
  made.pairs.resize(static_cast<std::size_t>(ranks));
  extent slowest = 0, total = 0;
  for (int step = 0; step < ranks; ++step) {
    extent most = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      int const owner = (rank + ranks - step) % ranks;
      extent const work = visible_pairs(mask_of, queries.segments(rank), keys.segments(owner));
      made.pairs[static_cast<std::size_t>(rank)] += work;
      made.remote += step > 0 && work > 0;
      total += work;
      most = work > most ? work : most;
    }
    slowest += most;
  }
  if (total > 0) made.critical_path = static_cast<double>(slowest) * ranks / static_cast<double>(total);
  return made;
}

/// As above, of self-attention.
template <mask M>
work_balance balance(const M& mask_of, const layout& tokens) {
  return balance(mask_of, tokens, tokens);
}

/// Layouts of queries and of keys, and what they are called.
struct placement {
  const char* name = "";
  layout queries, keys;
};

/// The usual layouts of queries and keys, coarse ones first: contiguous, zigzag, zigzag by document where there are
/// any, stripes of 64 tokens, and of one.
inline std::vector<placement> placements(const documents& of_queries, extent queries, const documents& of_keys,
                                         extent keys, int ranks) {
  std::vector<placement> made = {{"contiguous", contiguous(queries, ranks), contiguous(keys, ranks)},
                                 {"zigzag", zigzag(queries, ranks), zigzag(keys, ranks)}};
  if (of_queries.count() > 0) {
    made.push_back({"zigzag by document", zigzag(of_queries, queries, ranks), zigzag(of_keys, keys, ranks)});
  }
  made.push_back({"striped(64)", striped(queries, ranks, 64), striped(keys, ranks, 64)});
  made.push_back({"striped(1)", striped(queries, ranks), striped(keys, ranks)});
  return made;
}
/// As above, of self-attention over packed documents; `documents{}` where there are none.
inline std::vector<placement> placements(const documents& parts, extent tokens, int ranks) {
  return placements(parts, tokens, parts, tokens, ranks);
}

/// Placements compared: the balance of each, and which of them is best.
struct comparison {
  std::vector<work_balance> balances;
  std::size_t best = 0;
};

/// Compares placements for a mask, e.g. those of placements(). Best is the one with the fewest blocks to send among those
/// whose critical path is longer than the shortest by a factor of at most 1 + slack; where some are equal, the first.
/// So a causal mask gets a zigzag, and a short window the contiguous layout, which needs its neighbour only.
/// \throws usage_error when there are no placements.
template <mask M>
comparison compare(const M& mask_of, span<const placement> among, double slack = 0.1) {
  if (among.empty()) throw usage_error(say("compare: no placements; at least one is needed"));
  comparison made;
  double shortest = 0;
  for (const placement& each : among) {
    made.balances.push_back(balance(mask_of, each.queries, each.keys));
    double const path = made.balances.back().critical_path;
    if (made.balances.size() == 1 || path < shortest) shortest = path;
  }
  bool found = false;
  for (std::size_t i = 0; i < among.size(); ++i) {
    const work_balance& each = made.balances[i];
    if (each.critical_path > shortest * (1 + slack)) continue;
    if (!found || each.remote < made.balances[made.best].remote) made.best = i, found = true;
  }
  return made;
}

}  // namespace ringfold
