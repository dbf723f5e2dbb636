#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <ringfold/sequence/documents.hpp>

#include "../../../examples/support/shards.hpp"

/// \file
/// One recurrence of everything that can be asked for, drawn at random.

namespace recurrences {

using ringfold::documents;
using ringfold::extent;
using ringfold::layout;

/// What is drawn for each case.
enum factor : std::size_t {
  ranks,
  schedule,
  rule,
  arrangement,
  structure,
  direction,
  initial,
  final,
  order,
  tokens,
  chunk,
  batch,
  heads,
  factors
};

inline constexpr int rank_counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16};
inline constexpr extent token_counts[] = {0, 1, 5, 17, 26, 41}, chunks[] = {1, 3, 8, 64};

enum class way { ahead, back, both };
inline constexpr way directions[] = {way::ahead, way::back, way::both};

/// Each in a file of its own.
struct settings;
using run_rule = std::string(const settings&);
run_rule run_linear, run_retention, run_mamba2, run_gla, run_delta_net, run_gated_delta_net, run_kimi, run_rwkv7,
    run_hgrn, run_lru, run_mamba1, run_mlstm, run_convolution;
inline constexpr run_rule* rules[] = {run_linear,          run_retention, run_mamba2,     run_gla,  run_delta_net,
                                      run_gated_delta_net, run_kimi,      run_rwkv7,      run_hgrn, run_lru,
                                      run_mamba1,          run_mlstm,     run_convolution};

struct settings {
  static constexpr std::array<int, factors> levels = {static_cast<int>(std::size(rank_counts)),
                                                      9,  // of all_schedules()
                                                      static_cast<int>(std::size(rules)),
                                                      8,
                                                      3,
                                                      static_cast<int>(std::size(directions)),
                                                      2,
                                                      2,
                                                      static_cast<int>(std::size(sharded::memory_orders)),
                                                      static_cast<int>(std::size(token_counts)),
                                                      static_cast<int>(std::size(chunks)),
                                                      2,
                                                      2};
  static constexpr const char* names[] = {"ranks", "schedule", "rule",   "layout", "documents", "direction", "initial",
                                          "final", "order",    "tokens", "chunk",  "batch",     "heads"};

  std::array<int, factors> level{};
  std::uint64_t seed;
  std::vector<extent> lengths{};  ///< of documents

  explicit settings(std::uint64_t of) : seed(of) {
    std::mt19937_64 random(of * 0x9e3779b97f4a7c15u + 1);
    for (std::size_t f = 0; f < factors; ++f) level[f] = static_cast<int>(random() % static_cast<unsigned>(levels[f]));
    extent left = token_counts[level[tokens]];
    if (level[structure] == 1) {  // a few, some empty
      for (int i = 0; i < 3; ++i)
        lengths.push_back(static_cast<extent>(random() % static_cast<std::uint64_t>(left + 1))), left -= lengths.back();
    } else if (level[structure] == 2) {  // short ones
      for (; left > 2; left -= lengths.back()) lengths.push_back(static_cast<extent>(random() % 4));
    }
    lengths.push_back(left);
  }

  int size() const { return rank_counts[level[ranks]]; }
  documents packed() const { return documents(lengths); }
  way goes() const { return directions[level[direction]]; }

  /// Who holds what of the sequence as it lies, whichever way it is read.
  layout shared_out(const documents& parts) const {
    extent const count = token_counts[level[tokens]];
    std::mt19937_64 random(seed);
    std::vector<extent> counts(static_cast<std::size_t>(size()), 0);
    switch (level[arrangement]) {
      case 0: return ringfold::contiguous(count, size());
      case 1: return ringfold::zigzag(count, size());
      case 2: return ringfold::striped(count, size());
      case 3: return ringfold::striped(count, size(), 3);
      case 4: return ringfold::zigzag(parts, count, size());
      case 5: return ringfold::contiguous(count, size(), 4);
      case 6:
        for (extent i = 0; i < count; ++i) ++counts[random() % counts.size() / 2 * 2 % counts.size()];
        break;
      default: counts[random() % counts.size()] = count;
    }
    return ringfold::uneven(count, counts);
  }

  std::string text() const {
    std::string made = fmt::format("case {}:", seed);
    for (std::size_t f = 0; f < factors; ++f) made += fmt::format(" {}={}", names[f], level[f]);
    return made + fmt::format(" ({} ranks, documents [{}])", size(), fmt::join(lengths, ","));
  }
};

}  // namespace recurrences
