#include "schedules.hpp"

#include <fmt/format.h>

namespace compare_schedules {

using ringfold::examples::traffic;

int columns_of(int ranks) {
  int best = 1;
  for (int d = 1; d * d <= ranks; ++d) best = ranks % d == 0 ? d : best;
  return best;
}

namespace {
int one(int) { return 1; }
int all(int ranks) { return ranks; }
}  // namespace

const schedule schedules[schedule_count] = {
    {"ring", prepare_ring, [](const traffic& t, int rank) { return ring_traffic(t, rank); }, false, one},
    {"gather", prepare_gather, [](const traffic& t, int rank) { return gather_traffic(t, rank, 1); }, false, one},
    {"ulysses", prepare_ulysses,
     [](const traffic& t, int rank) { return usp_traffic(t, rank, static_cast<int>(t.keys.size())); }, false, all},
    {"usp", prepare_usp,
     [](const traffic& t, int rank) { return usp_traffic(t, rank, columns_of(static_cast<int>(t.keys.size()))); }, true,
     columns_of},
    {"double_ring", prepare_double_ring,
     [](const traffic& t, int rank) {
       return double_ring_traffic(t, rank, columns_of(static_cast<int>(t.keys.size())));
     },
     true, one},
};

std::string refusal(const schedule& s, int ranks, extent heads) {
  int const needed = s.heads_needed(ranks);
  if (needed <= heads) return {};
  return fmt::format("{} {} share {} query heads; allowed: at most {}", needed,
                     s.grid ? fmt::format("columns of {} ranks", ranks) : "ranks", heads, heads);
}

traffic traffic_of(const experiment& e) {
  std::vector<std::vector<ringfold::examples::number>> positions(static_cast<std::size_t>(e.ranks()));
  for (int rank = 0; rank < e.ranks(); ++rank) {
    e.tokens.for_each_position(rank, [&](extent, extent p) { positions[static_cast<std::size_t>(rank)].push_back(p); });
  }
  return {positions,        positions,   e.mask.left(),     e.mask.right(), e.shape.batch,       e.shape.heads,
          e.shape.kv_heads, e.shape.dim, e.shape.value_dim, e.type.bytes(), e.sum_type().bytes()};
}

}  // namespace compare_schedules
