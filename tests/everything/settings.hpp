#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/shifted.hpp>

#include "support/any_score.hpp"
#include "support/schedules.hpp"

/// \file
/// One attention of everything that can be asked for, drawn at random; and what it means, told without the library.

namespace everything {

using ringfold::band;
using ringfold::extent;
using ringfold::layout;

/// What is drawn for each case.
enum factor : std::size_t {
  ranks,
  schedule,
  number,
  arrangement,
  key_arrangement,
  structure,
  mask,
  sparse,
  ratio,
  batch,
  order,
  cap,
  linear,
  bias,
  dropout,
  sinks,
  lse_gradient,
  tokens,
  dims,
  factors
};
enum structures { whole, top_left, bottom_right, prefix, documents, document_pairs };

inline constexpr int rank_counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16};
inline constexpr extent token_counts[] = {0, 1, 5, 17, 26, 37};
inline constexpr extent ratios[][2] = {{4, 4}, {4, 2}, {3, 1}, {6, 3}, {16, 4}};
inline constexpr extent dim_pairs[][2] = {{5, 7}, {1, 1}, {16, 16}, {12, 8}};
inline constexpr int biases[] = {-1, 0, 8, 10,
                                 14};  // none, one number, by key, by head and key, by head, query and key
/// A number type and a kernel, each in a file of its own.
inline constexpr const char* numbers[] = {"f64 reference", "f32 flash", "bf16 flash"};

inline constexpr std::array<int, factors> levels = {static_cast<int>(std::size(rank_counts)),
                                                    static_cast<int>(std::size(schedules::names)),
                                                    static_cast<int>(std::size(numbers)),
                                                    6,
                                                    6,
                                                    6,
                                                    5,
                                                    2,
                                                    static_cast<int>(std::size(ratios)),
                                                    3,
                                                    static_cast<int>(std::size(sharded::memory_orders)),
                                                    2,
                                                    2,
                                                    static_cast<int>(std::size(biases)),
                                                    2,
                                                    2,
                                                    2,
                                                    static_cast<int>(std::size(token_counts)),
                                                    static_cast<int>(std::size(dim_pairs))};
inline constexpr const char* names[] = {"ranks",   "schedule", "number", "layout", "key layout", "structure", "mask",
                                        "sparse",  "heads",    "batch",  "order",  "softcap",    "alibi",     "bias",
                                        "dropout", "sinks",    "dlse",   "tokens", "dims"};

/// The case of a seed, and the lengths that it asks for.
struct settings {
  static constexpr auto& levels = everything::levels;
  std::array<int, factors> level{};
  std::uint64_t seed;
  extent queries = 0, keys = 0;
  std::vector<extent> query_documents, key_documents;

  explicit settings(std::uint64_t of) : seed(of) {
    std::mt19937_64 random(of * 0x9e3779b97f4a7c15u + 1);
    for (std::size_t f = 0; f < factors; ++f) level[f] = static_cast<int>(random() % static_cast<unsigned>(levels[f]));
    queries = keys = of % 128 == 0 ? 230 : token_counts[level[tokens]];  // more than a block of keys, now and then
    auto const other = token_counts[random() % std::size(token_counts)];
    auto const cut = [&](extent total) {  // some documents, and some padding
      std::vector<extent> lengths;
      while (total > 0 && lengths.size() < 5 && random() % 5 != 0) {
        lengths.push_back(static_cast<extent>(random() % static_cast<std::uint64_t>(total + 1)));
        total -= lengths.back();
      }
      return lengths;
    };
    switch (level[structure]) {
      case top_left:
      case bottom_right: keys = other; break;
      case prefix: keys += other; break;
      case documents: query_documents = key_documents = cut(queries); break;
      case document_pairs:
        keys = other;
        query_documents = cut(queries), key_documents = cut(keys);
        query_documents.resize(std::min(query_documents.size(), key_documents.size()));
        key_documents.resize(query_documents.size());
        level[linear] = 0;  // refused: no offset would be right for all documents
        break;
      default: break;
    }
  }

  int size() const { return rank_counts[level[ranks]]; }
  schedules::name which() const { return schedules::names[level[schedule]]; }
  extent heads() const { return ratios[level[ratio]][0]; }
  extent kv_heads() const { return ratios[level[ratio]][1]; }
  ringfold::shape shape() const {
    return {.batch = level[batch],
            .heads = heads(),
            .kv_heads = kv_heads(),
            .dim = dim_pairs[level[dims]][0],
            .value_dim = dim_pairs[level[dims]][1]};
  }
  any_score::choice score() const {
    return {level[cap] != 0 ? 1.5 : 0, level[linear] != 0, biases[level[bias]], level[dropout] != 0 ? 0.25 : 0, seed};
  }
  /// Where query i stands for the mask, in a whole sequence.
  extent offset() const { return level[structure] == bottom_right || level[structure] == prefix ? keys - queries : 0; }
  bool packed() const { return level[structure] == documents || level[structure] == document_pairs; }

  std::string text() const {
    std::string made = fmt::format("case {}:", seed);
    for (std::size_t f = 0; f < factors; ++f) made += fmt::format(" {}={}", names[f], level[f]);
    return made + fmt::format(" ({} ranks, {} queries, {} keys, documents [{}] [{}])", size(), queries, keys,
                              fmt::join(query_documents, ","), fmt::join(key_documents, ","));
  }
};

inline layout make_layout(int kind, extent count, int size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<extent> lengths(static_cast<std::size_t>(size), 0);
  switch (kind) {
    case 0: return ringfold::contiguous(count, size);
    case 1: return ringfold::zigzag(count, size);
    case 2: return ringfold::striped(count, size);
    case 3: return ringfold::striped(count, size, 3);
    case 4:
      for (extent i = 0; i < count; ++i) ++lengths[random() % lengths.size() / 2 * 2 % lengths.size()];
      return ringfold::uneven(count, lengths);
    default: lengths[random() % lengths.size()] = count; return ringfold::uneven(count, lengths);
  }
}

/// A band, or what is left of it when pairs are struck out at random.
struct sparse_band {
  band within;
  bool struck = false;
  extent moved = 0;

  static bool kept(extent query, extent key) { return (query * 7 + key * 3) % 5 <= 2; }
  bool allows(extent query, extent key) const {
    return within.allows(query, key) && (!struck || kept(query + moved, key));
  }
  ringfold::coverage classify(ringfold::hull queries, ringfold::hull keys) const {
    auto const made = within.classify(queries, keys);
    return struck && made == ringfold::coverage::full ? ringfold::coverage::partial : made;
  }
  bool meets(ringfold::segment queries, ringfold::segment keys) const {
    if (!struck) return within.meets(queries, keys);
    return ringfold::predicate_mask([this](extent query, extent key) { return allows(query, key); })
        .meets(queries, keys);
  }
  sparse_band shifted(extent by) const { return {within.shifted(by), struck, moved + by}; }
};

/// Every mask behind one type.
struct any_mask {
  sparse_band one;
  std::optional<ringfold::packed<sparse_band>> many;

  bool allows(extent query, extent key) const { return many ? many->allows(query, key) : one.allows(query, key); }
  ringfold::coverage classify(ringfold::hull q, ringfold::hull k) const {
    return many ? many->classify(q, k) : one.classify(q, k);
  }
  bool meets(ringfold::segment q, ringfold::segment k) const { return many ? many->meets(q, k) : one.meets(q, k); }
};

inline constexpr extent widths[][2] = {{-1, -1}, {-1, 0}, {3, 0}, {2, 4}, {0, 0}};  // -1: any number of keys

inline any_mask make_mask(const settings& s) {
  auto const [left, right] = widths[s.level[mask]];
  any_mask made{{band(left < 0 ? band::unbounded : left, right < 0 ? band::unbounded : right), s.level[sparse] != 0},
                std::nullopt};
  if (s.packed()) {
    made.many.emplace(ringfold::documents(s.query_documents), ringfold::documents(s.key_documents), made.one,
                      ringfold::packed<sparse_band>::aligned::at_start);
  } else {
    made.one = ringfold::shifted(made.one, s.offset());
  }
  return made;
}

/// What the mask means.
inline bool allowed(const settings& s, extent query, extent key) {
  if (s.packed()) {
    std::size_t document = 0;
    for (; document < s.query_documents.size(); ++document) {
      if (query < s.query_documents[document]) break;
      query -= s.query_documents[document], key -= s.key_documents[document];
    }
    if (document == s.query_documents.size() || key < 0 || key >= s.key_documents[document]) return false;
  } else {
    query += s.offset();
  }
  auto const [left, right] = widths[s.level[mask]];
  if ((left >= 0 && key < query - left) || (right >= 0 && key > query + right)) return false;
  return s.level[sparse] == 0 || sparse_band::kept(query, key);
}

inline bool refused(const settings& s) { return schedules::refused(s.which(), s.size(), s.heads()); }

/// Runs a case and says what is wrong; nothing when all is right.
std::string run_f64_reference(const settings& s);
std::string run_f32_flash(const settings& s);
std::string run_bf16_flash(const settings& s);

}  // namespace everything
