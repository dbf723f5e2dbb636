#pragma once

#include <ringfold/recurrence/both_ways.hpp>

#include "../../../examples/support/any_schedule.hpp"
#include "../../../examples/support/rules/sizes.hpp"
#include "settings.hpp"
#include "support/chain_bytes.hpp"
#include "support/rules_over_ranks.hpp"

/// \file
/// Runs one case on thread ranks, forward and backward, and holds every number against the definition.

namespace recurrences {

inline constexpr int ranks_per_node = 3;

/// What is wrong, if anything.
template <class Spec>
std::string run(Spec spec, const settings& s) {
  using T = double;
  if constexpr (requires { spec.chunk; }) spec.chunk = chunks[s.level[chunk]];
  documents const packed = s.goes() == way::both ? both_ways(s.packed()) : s.packed();
  rules::experiment<Spec> const e(spec, packed, 1 + s.level[batch], 1 + s.level[heads], s.seed,
                                  {s.level[initial] != 0, s.level[final] != 0});
  rules::manner const how{.order = sharded::memory_orders[s.level[order]], .backwards = s.goes() == way::back};

  auto const by = ringfold::examples::all_schedules(2, ranks_per_node)[static_cast<std::size_t>(s.level[schedule])];
  auto const shared = s.shared_out(how.backwards ? mirrored(s.packed()) : s.packed());
  auto const tokens = s.goes() == way::both ? both_ways(shared) : shared;
  auto const did = rules::run_over_ranks<T>(e, tokens, by, how);
  auto const off = rules::apart(did.made, e.made);
  // Sums of a few hundred terms, of states that no rule lets grow by more than a few times.
  constexpr double allowed = 1e-13;
  if (!(off.out <= allowed)) return fmt::format("{}: results are off by {}", by.name, off.out);
  if (!(off.gradients <= allowed)) return fmt::format("{}: gradients are off by {}", by.name, off.gradients);

  // A chain sends what layout and documents ask for; for others, what they publish: one slot a rank, one document.
  int const size = s.size();
  auto const sizes = rules::sizes_of<T>(e);
  bool const chain = std::holds_alternative<ringfold::schedule::chain>(by.which);
  // From the last rank on, nodes are others where the last one is not full.
  if (by.name == std::string("two_level") && size % ranks_per_node != 0) return {};
  if (!chain && (s.level[arrangement] != 0 || packed.count() > 1 || e.tokens < size)) return {};
  auto const read = how.backwards ? mirrored(tokens) : tokens;
  auto const ahead = chain_bytes(read, e.packed, sizes.state, false),
             back = chain_bytes(read, e.packed, sizes.state, true);
  for (int rank = 0; rank < size; ++rank) {
    auto const at = static_cast<std::size_t>(rank);
    int const slot = how.backwards ? size - 1 - rank : rank;
    extent const wanted = chain ? ahead[at] : by.bytes(size, slot, sizes),
                 wanted_back = chain ? back[at] : by.bytes(size, size - 1 - slot, sizes);
    if (did.forward[at].total_bytes() != wanted || did.backward[at].total_bytes() != wanted_back) {
      return fmt::format("{}: rank {} sent {} bytes and {} backward; {} and {} were expected", by.name, rank,
                         did.forward[at].total_bytes(), did.backward[at].total_bytes(), wanted, wanted_back);
    }
  }
  return {};
}

}  // namespace recurrences
