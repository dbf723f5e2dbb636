#include "schedules.hpp"

#include <algorithm>

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
int ranks_of(const traffic& t) { return static_cast<int>(t.keys.size()); }

using positions = std::vector<std::vector<ringfold::examples::number>>;
template <class Place>
positions positions_of(const ringfold::layout& tokens, Place place) {
  positions made(static_cast<std::size_t>(tokens.ranks()));
  for (int rank = 0; rank < tokens.ranks(); ++rank) {
    tokens.for_each_position(rank, [&](extent, extent p) { made[static_cast<std::size_t>(rank)].push_back(place(p)); });
  }
  return made;
}
}  // namespace

const schedule schedules[schedule_count] = {
    {"ring", prepare_ring, [](const traffic& t, int rank) { return ring_traffic(t, rank); },
     [](const traffic& t, int rank) { return ring_backward_traffic(t, rank); }, true, false, one},
    {"gather", prepare_gather, [](const traffic& t, int rank) { return gather_traffic(t, rank, 1); },
     [](const traffic& t, int rank) { return gather_backward_traffic(t, rank, 1); }, true, false, one},
    {"ulysses", prepare_ulysses, [](const traffic& t, int rank) { return usp_traffic(t, rank, ranks_of(t)); },
     [](const traffic& t, int rank) { return usp_backward_traffic(t, rank, ranks_of(t)); }, true, false, all},
    {"usp", prepare_usp, [](const traffic& t, int rank) { return usp_traffic(t, rank, columns_of(ranks_of(t))); },
     [](const traffic& t, int rank) { return usp_backward_traffic(t, rank, columns_of(ranks_of(t))); }, true, true,
     columns_of},
    {"double_ring", prepare_double_ring,
     [](const traffic& t, int rank) { return double_ring_traffic(t, rank, columns_of(ranks_of(t))); },
     [](const traffic& t, int rank) { return double_ring_backward_traffic(t, rank, columns_of(ranks_of(t))); }, true,
     true, one},
    {"direct", prepare_direct, [](const traffic& t, int rank) { return direct_traffic(t, rank); },
     [](const traffic& t, int rank) { return direct_backward_traffic(t, rank); }, false, false, one},
    {"query_ring", prepare_query_ring, [](const traffic& t, int rank) { return query_ring_traffic(t, rank); },
     [](const traffic& t, int rank) { return query_ring_backward_traffic(t, rank); }, false, false, one},
    {"split_kv", prepare_split_kv, [](const traffic& t, int rank) { return split_kv_traffic(t, rank, false); },
     [](const traffic& t, int rank) { return split_kv_backward_traffic(t, rank, false); }, false, false, one},
};

std::string refusal(const schedule& s, int ranks, extent heads, bool canonical) {
  if (canonical && !s.canonical) return "it does not keep to one order; allowed: --order fast";
  int const needed = s.heads_needed(ranks);
  if (needed <= heads) return {};
  return fmt::format("{} {} share {} query heads; allowed: at most {}", needed,
                     s.grid ? fmt::format("columns of {} ranks", ranks) : "ranks", heads, heads);
}

traffic traffic_of(const experiment& e) {
  // Documents move so far apart that no band reaches from one to another, and padding out of every reach.
  extent const apart = e.ends.empty() ? 0 : 4 * e.keys.tokens() + 4, most = 2 * e.keys.tokens() + 2;
  auto const place = [&](extent padding) {
    return [&e, apart, padding](extent p) {
      auto const own = std::upper_bound(e.ends.begin(), e.ends.end(), p);
      return own == e.ends.end() && !e.ends.empty() ? padding - p : p + apart * (own - e.ends.begin());
    };
  };
  auto const reach = [&](extent width) { return apart == 0 ? width : std::min(width, most); };
  return {positions_of(e.tokens, place(-apart)),
          positions_of(e.keys, place(-4 * apart)),
          reach(e.mask.band.left()),
          reach(e.mask.band.right()),
          e.shape.batch,
          e.shape.heads,
          e.shape.kv_heads,
          e.shape.dim,
          e.shape.value_dim,
          e.type.bytes(),
          e.sum_type().bytes(),
          e.gradient_type().bytes()};
}

}  // namespace compare_schedules
