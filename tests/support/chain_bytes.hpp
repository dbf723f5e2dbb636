#pragma once

#include <vector>

#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/layout.hpp>

/// What a chain sends: a state wherever the next token of a document lies on another rank, by the sender; backward, by
/// the rank of that next token.
inline std::vector<ringfold::extent> chain_bytes(const ringfold::layout& tokens, const ringfold::documents& packed,
                                                 ringfold::extent state, bool backward) {
  std::vector<int> owner(static_cast<std::size_t>(tokens.tokens()));
  for (int rank = 0; rank < tokens.ranks(); ++rank) {
    tokens.for_each_position(
        rank, [&](ringfold::extent, ringfold::extent at) { owner[static_cast<std::size_t>(at)] = rank; });
  }
  std::vector<ringfold::extent> made(static_cast<std::size_t>(tokens.ranks()));
  for (int document = 0; document < packed.count(); ++document) {
    for (ringfold::extent t = packed.first(document); t + 1 < packed.end(document); ++t) {
      int const here = owner[static_cast<std::size_t>(t)], next = owner[static_cast<std::size_t>(t + 1)];
      if (here != next) made[static_cast<std::size_t>(backward ? next : here)] += state;
    }
  }
  return made;
}
