#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

/// \file
/// What each schedule must send, worked out from token positions alone: who holds which token, who sees which key.
/// It shares no code with the library, so that counted bytes can be held against it.

namespace ringfold::examples {

using number = std::int64_t;

/// An attention as its positions see it: query i sees the keys i - left .. i + right.
struct traffic {
  std::vector<std::vector<number>> queries, keys;  ///< positions by rank
  number left, right;
  number batch = 1, heads = 1, kv_heads = 1, dim = 1, value_dim = 1;
  number element_bytes = 4, sum_bytes = 4;
  number gradient_bytes = sum_bytes;  ///< of keys and values
};

/// What one rank sends in one forward call.
struct sent {
  number bytes = 0;
  number steps = 0;
  void add(number more) { bytes += more; }
};

namespace detail {

inline bool sees(const std::vector<number>& queries, std::vector<number> keys, number left, number right) {
  std::sort(keys.begin(), keys.end());
  for (number const query : queries) {
    auto const first = std::lower_bound(keys.begin(), keys.end(), query - left);
    if (first != keys.end() && *first <= query + right) return true;
  }
  return false;
}

/// How many keys anybody of the queries sees.
inline number seen(std::vector<number> queries, const std::vector<number>& keys, number left, number right) {
  std::sort(queries.begin(), queries.end());
  return std::count_if(keys.begin(), keys.end(), [&](number key) {
    auto const first = std::lower_bound(queries.begin(), queries.end(), key - right);
    return first != queries.end() && *first <= key + left;
  });
}

/// Rows of ranks put together, e.g. of a row of a grid.
inline std::vector<number> joined(const std::vector<std::vector<number>>& all, const std::vector<int>& ranks) {
  std::vector<number> rows;
  for (int const rank : ranks) {
    auto const& part = all[static_cast<std::size_t>(rank)];
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

/// The first and one-past-last of `total` things that the part-th of `parts` gets; the first parts get one more.
struct share {
  number first, end;
};
inline share share_of(number total, number parts, number part) {
  number const each = total / parts, more = total % parts;
  number const first = part * each + std::min(part, more);
  return {first, first + each + (part < more ? 1 : 0)};
}

/// A grid of ranks row by row, and how a row's ranks share the heads.
struct usp_grid {
  std::vector<std::vector<int>> rows;
  int row, column, across;
  number heads, group;

  usp_grid(const traffic& t, int me, int wide)
      : rows(t.keys.size() / static_cast<std::size_t>(wide)),
        row(me / wide),
        column(me % wide),
        across(wide),
        heads(t.heads),
        group(t.heads / t.kv_heads) {
    for (int rank = 0; rank < static_cast<int>(t.keys.size()); ++rank) {
      rows[static_cast<std::size_t>(rank / wide)].push_back(rank);
    }
  }
  number query_heads(int j) const { return share_of(heads, across, j).end - share_of(heads, across, j).first; }
  number key_heads(int j) const {
    share const q = share_of(heads, across, j);
    return (q.end - 1) / group - q.first / group + 1;
  }
};

/// How many rows a rank holds.
inline number count(const std::vector<std::vector<number>>& all, int rank) {
  return static_cast<number>(all[static_cast<std::size_t>(rank)].size());
}

}  // namespace detail

/// A ring over groups of ranks that act as one: members[g] are the ranks whose rows group g holds, holders[g] those
/// for whose queries it fetches. Adds what group `me` forwards of keys with `heads` heads.
inline void add_ring(sent& to, const traffic& t, const std::vector<std::vector<int>>& holders,
                     const std::vector<std::vector<int>>& members, int me, number heads) {
  int const size = static_cast<int>(members.size());
  for (int step = 0; step + 1 < size; ++step) {
    int const origin = (me + size - step) % size, coming = (me + size - step - 1) % size;
    auto const keys = detail::joined(t.keys, members[static_cast<std::size_t>(origin)]);
    auto const next_keys = detail::joined(t.keys, members[static_cast<std::size_t>(coming)]);
    auto const wanted = [&](int first, int stop, const std::vector<number>& block) {
      for (int g = first; g != stop; g = (g + 1) % size) {
        if (detail::sees(detail::joined(t.queries, holders[static_cast<std::size_t>(g)]), block, t.left, t.right)) {
          return true;
        }
      }
      return false;
    };
    bool const sends = wanted((me + 1) % size, origin, keys), receives = wanted(me, coming, next_keys);
    if (sends) to.add(static_cast<number>(keys.size()) * t.batch * heads * (t.dim + t.value_dim) * t.element_bytes);
    to.steps += sends || receives;
  }
}

/// Ring attention: ring(ranks, kernel).
inline sent ring_traffic(const traffic& t, int me) {
  if (t.batch == 0) return {};
  std::vector<std::vector<int>> each;
  for (int rank = 0; rank < static_cast<int>(t.keys.size()); ++rank) each.push_back({rank});
  sent made;
  add_ring(made, t, each, each, me, t.kv_heads);
  return made;
}

/// gather(ranks, kernel, heads_at_once).
inline sent gather_traffic(const traffic& t, int me, number heads_at_once) {
  if (t.batch == 0) return {};
  sent made;
  bool any = false;
  for (int other = 0; other < static_cast<int>(t.keys.size()); ++other) {
    auto const rank = static_cast<std::size_t>(me), peer = static_cast<std::size_t>(other);
    if (other == me) continue;
    bool const sends = detail::sees(t.queries[peer], t.keys[rank], t.left, t.right);
    bool const receives = detail::sees(t.queries[rank], t.keys[peer], t.left, t.right);
    if (sends) {
      made.add(static_cast<number>(t.keys[rank].size()) * t.batch * t.kv_heads * (t.dim + t.value_dim) *
               t.element_bytes);
    }
    any = any || sends || receives;
  }
  if (any) made.steps = (t.kv_heads + heads_at_once - 1) / heads_at_once;
  return made;
}

namespace detail {
/// The rows that one rank gets of another's keys when it fetches what it needs and no more.
inline number fetched(const traffic& t, int me, int other) {
  return me == other
             ? 0
             : seen(t.queries[static_cast<std::size_t>(me)], t.keys[static_cast<std::size_t>(other)], t.left, t.right);
}
inline sent direct_traffic(const traffic& t, int me, bool backward) {
  number lent = 0, got = 0;
  for (int other = 0; other < static_cast<int>(t.keys.size()); ++other) {
    lent += fetched(t, other, me), got += fetched(t, me, other);
  }
  number const row = t.batch * t.kv_heads * (t.dim + t.value_dim);
  sent made;
  made.add(row * (lent * t.element_bytes + (backward ? got * t.gradient_bytes : 0)));
  if (t.batch > 0 && lent + got > 0) made.steps = backward ? 2 : 1;
  return made;
}
}  // namespace detail

/// direct(ranks, kernel): the rows that anybody sees, each to whoever sees it.
inline sent direct_traffic(const traffic& t, int me) { return detail::direct_traffic(t, me, false); }

/// Backward of direct_traffic(): the rows once more, and a gradient for every row that came.
inline sent direct_backward_traffic(const traffic& t, int me) { return detail::direct_traffic(t, me, true); }

/// ulysses(rows of `across` neighbours, ring(columns, kernel)); across = all ranks is plain Ulysses.
inline sent usp_traffic(const traffic& t, int me, int across) {
  if (t.batch == 0) return {};
  using detail::count;
  detail::usp_grid const grid(t, me, across);
  auto const& rows = grid.rows;
  int const row = grid.row, column = grid.column;

  sent made;
  auto const& mine = rows[static_cast<std::size_t>(row)];
  auto const block = detail::joined(t.keys, mine);
  bool needed = false;  // by any rank of my column, for whose heads my row fetches its keys
  for (const auto& other : rows)
    needed = needed || detail::sees(detail::joined(t.queries, other), block, t.left, t.right);
  bool queries = false, keys = false;
  for (int j = 0; j < across; ++j) {
    if (j == column) continue;
    int const peer = row * across + j;
    made.add(count(t.queries, me) * t.batch * grid.query_heads(j) * t.dim * t.element_bytes);
    if (needed) made.add(count(t.keys, me) * t.batch * grid.key_heads(j) * (t.dim + t.value_dim) * t.element_bytes);
    made.add(count(t.queries, peer) * t.batch * grid.query_heads(column) * (t.value_dim + 1) * t.sum_bytes);
    queries = queries || count(t.queries, me) + count(t.queries, peer) > 0;
    keys = keys || (needed && count(t.keys, me) + count(t.keys, peer) > 0);
  }
  made.steps += 2 * queries + keys;  // queries there, outputs back; keys and values
  add_ring(made, t, rows, rows, row, grid.key_heads(column));
  return made;
}

/// ring(nodes, ring(rows of `local` neighbours, kernel)).
inline sent double_ring_traffic(const traffic& t, int me, int local) {
  if (t.batch == 0) return {};
  int const size = static_cast<int>(t.keys.size()), nodes = size / local, node = me / local, place = me % local;
  sent made;
  // Between nodes: my block goes on as long as anybody on a node further on needs it.
  std::vector<std::vector<int>> holders, members;
  for (int n = 0; n < nodes; ++n) {
    members.push_back({n * local + place});
    holders.emplace_back();
    for (int j = 0; j < local; ++j) holders.back().push_back(n * local + j);
  }
  add_ring(made, t, holders, members, node, t.kv_heads);
  // Within my node, once for every node whose blocks come by.
  for (int n = 0; n < nodes; ++n) {
    std::vector<std::vector<int>> own, theirs;
    for (int j = 0; j < local; ++j) own.push_back({node * local + j}), theirs.push_back({n * local + j});
    add_ring(made, t, own, theirs, place, t.kv_heads);
  }
  return made;
}

namespace detail {

/// What group `me` of a ring sends back of gradients: on along the ring from the first other group that wants the
/// block to the last, and from there home.
inline void add_ring_back(sent& to, const traffic& t, const std::vector<std::vector<int>>& holders,
                          const std::vector<std::vector<int>>& members, int me, number heads) {
  int const size = static_cast<int>(members.size());
  std::vector<int> first(members.size(), 0), last(members.size(), 0);
  for (int origin = 0; origin < size; ++origin) {
    auto const keys = joined(t.keys, members[static_cast<std::size_t>(origin)]);
    for (int distance = 1; distance < size; ++distance) {
      auto const& reader = holders[static_cast<std::size_t>((origin + distance) % size)];
      if (!sees(joined(t.queries, reader), keys, t.left, t.right)) continue;
      if (first[static_cast<std::size_t>(origin)] == 0) first[static_cast<std::size_t>(origin)] = distance;
      last[static_cast<std::size_t>(origin)] = distance;
    }
  }
  auto const on_its_way = [&](int origin, int distance) {
    auto const at = static_cast<std::size_t>(origin);
    return distance >= 1 && distance >= first[at] && distance <= last[at];
  };
  for (int step = 2; step <= size; ++step) {
    int const origin = (me + size - step + 1) % size, coming = (me + size - step) % size;
    bool const sends = on_its_way(origin, step - 1);
    bool const receives = step < size && on_its_way(coming, step - 1) && last[static_cast<std::size_t>(coming)] >= step;
    bool const home = last[static_cast<std::size_t>(me)] == step - 1;
    if (sends) {
      auto const rows = static_cast<number>(joined(t.keys, members[static_cast<std::size_t>(origin)]).size());
      to.add(rows * t.batch * heads * (t.dim + t.value_dim) * t.gradient_bytes);
    }
    to.steps += sends || receives || home;
  }
}

}  // namespace detail

/// Backward of ring_traffic().
inline sent ring_backward_traffic(const traffic& t, int me) {
  if (t.batch == 0) return {};
  std::vector<std::vector<int>> each;
  for (int rank = 0; rank < static_cast<int>(t.keys.size()); ++rank) each.push_back({rank});
  sent made;
  add_ring(made, t, each, each, me, t.kv_heads);
  detail::add_ring_back(made, t, each, each, me, t.kv_heads);
  return made;
}

/// Backward of gather_traffic(): the blocks once more, and a gradient for every block that came.
inline sent gather_backward_traffic(const traffic& t, int me, number heads_at_once) {
  if (t.batch == 0) return {};
  sent made = gather_traffic(t, me, heads_at_once);
  made.steps *= 2;
  for (int other = 0; other < static_cast<int>(t.keys.size()); ++other) {
    auto const rank = static_cast<std::size_t>(me), peer = static_cast<std::size_t>(other);
    if (other == me || !detail::sees(t.queries[rank], t.keys[peer], t.left, t.right)) continue;
    made.add(static_cast<number>(t.keys[peer].size()) * t.batch * t.kv_heads * (t.dim + t.value_dim) *
             t.gradient_bytes);
  }
  return made;
}

/// Backward of usp_traffic().
inline sent usp_backward_traffic(const traffic& t, int me, int across) {
  if (t.batch == 0) return {};
  using detail::count;
  detail::usp_grid const grid(t, me, across);
  auto const& rows = grid.rows;
  int const row = grid.row, column = grid.column;

  sent made;
  auto const block = detail::joined(t.keys, rows[static_cast<std::size_t>(row)]);
  bool needed = false;
  for (const auto& other : rows) {
    needed = needed || detail::sees(detail::joined(t.queries, other), block, t.left, t.right);
  }
  bool queries = false, keys = false;
  for (int j = 0; j < across; ++j) {
    if (j == column) continue;
    int const peer = row * across + j;
    number const both = t.dim + t.value_dim;
    // q and dout, lse and delta there; dq back; k and v there, dk and dv back.
    made.add(count(t.queries, me) * t.batch * grid.query_heads(j) * (both * t.element_bytes + 2 * t.sum_bytes));
    made.add(count(t.queries, peer) * t.batch * grid.query_heads(column) * t.dim * t.sum_bytes);
    if (needed) made.add(count(t.keys, me) * t.batch * grid.key_heads(j) * both * t.element_bytes);
    if (needed) made.add(count(t.keys, peer) * t.batch * grid.key_heads(column) * both * t.gradient_bytes);
    queries = queries || count(t.queries, me) + count(t.queries, peer) > 0;
    keys = keys || (needed && count(t.keys, me) + count(t.keys, peer) > 0);
  }
  made.steps += 2 * queries + 2 * keys;
  add_ring(made, t, rows, rows, row, grid.key_heads(column));
  detail::add_ring_back(made, t, rows, rows, row, grid.key_heads(column));
  return made;
}

/// Backward of double_ring_traffic().
inline sent double_ring_backward_traffic(const traffic& t, int me, int local) {
  if (t.batch == 0) return {};
  int const size = static_cast<int>(t.keys.size()), nodes = size / local, node = me / local, place = me % local;
  sent made = double_ring_traffic(t, me, local);
  std::vector<std::vector<int>> holders, members;
  for (int n = 0; n < nodes; ++n) {
    members.push_back({n * local + place});
    holders.emplace_back();
    for (int j = 0; j < local; ++j) holders.back().push_back(n * local + j);
  }
  detail::add_ring_back(made, t, holders, members, node, t.kv_heads);
  for (int n = 0; n < nodes; ++n) {
    std::vector<std::vector<int>> own, theirs;
    for (int j = 0; j < local; ++j) own.push_back({node * local + j}), theirs.push_back({n * local + j});
    detail::add_ring_back(made, t, own, theirs, place, t.kv_heads);
  }
  return made;
}

namespace detail {

/// What a row of queries weighs on its way to keys, and what comes back of it.
struct query_weight {
  number there, back;
};
inline query_weight forward_weight(const traffic& t) {
  return {t.batch * t.heads * t.dim * t.element_bytes, t.batch * t.heads * (t.value_dim + 1) * t.sum_bytes};
}
inline query_weight backward_weight(const traffic& t) {
  return {t.batch * t.heads * ((t.dim + t.value_dim) * t.element_bytes + 2 * t.sum_bytes),
          t.batch * t.heads * t.dim * t.sum_bytes};
}

/// Whose queries see whose keys: [rank with the keys][rank with the queries].
inline std::vector<std::vector<bool>> audience(const traffic& t) {
  std::vector<std::vector<bool>> made;
  for (const auto& keys : t.keys) {
    made.emplace_back();
    for (const auto& queries : t.queries) made.back().push_back(sees(queries, keys, t.left, t.right));
  }
  return made;
}

/// Queries go from rank to the rank before it, as far as anybody's keys are seen; what comes of them straight back.
inline sent add_query_ring(const traffic& t, int me, query_weight row) {
  int const size = static_cast<int>(t.keys.size());
  auto const seen = audience(t);
  auto const wants = [&](int rank, int origin) {
    return seen[static_cast<std::size_t>(rank)][static_cast<std::size_t>(origin)];
  };
  auto const before = [size](int rank, int steps) { return (rank + size - steps) % size; };
  std::vector<int> reach(t.keys.size(), 0);  // the steps that a rank's queries make
  for (int origin = 0; origin < size; ++origin) {
    for (int step = 1; step < size; ++step) {
      if (wants(before(origin, step), origin)) reach[static_cast<std::size_t>(origin)] = step;
    }
  }
  sent made;
  for (int step = 1; step < size; ++step) {
    int const leaving = (me + step - 1) % size, coming = (me + step) % size, reader = before(me, step);
    bool const sends = reach[static_cast<std::size_t>(leaving)] >= step;
    bool const receives = reach[static_cast<std::size_t>(coming)] >= step;
    if (sends) made.add(count(t.queries, leaving) * row.there);
    if (wants(me, coming)) made.add(count(t.queries, coming) * row.back);
    made.steps += (sends || receives) + (wants(me, coming) || wants(reader, me));
  }
  return made;
}

inline sent add_split_kv(const traffic& t, int me, bool tree, query_weight row) {
  int const size = static_cast<int>(t.keys.size());
  auto holds = audience(t);  // who has something of whose: in a tree, also what it was handed
  auto const at = [&](int rank, int owner) {
    return holds[static_cast<std::size_t>(rank)][static_cast<std::size_t>(owner)];
  };
  sent made;
  bool meets = false;
  for (int other = 0; other < size; ++other) {
    if (other == me) continue;
    if (at(other, me)) made.add(count(t.queries, me) * row.there);
    if (at(me, other) && !tree) made.add(count(t.queries, other) * row.back);
    meets = meets || at(other, me) || at(me, other);
  }
  made.steps += tree ? meets : 2 * meets;
  for (int reach = 1; tree && reach < size; reach *= 2) {
    bool busy = false;
    for (int owner = 0; owner < size; ++owner) {
      for (int distance = reach; distance < size; distance += 2 * reach) {
        int const rank = (owner + distance) % size, to = (owner + distance - reach) % size;
        if (!at(rank, owner)) continue;
        holds[static_cast<std::size_t>(to)][static_cast<std::size_t>(owner)] = true;
        if (rank == me) made.add(count(t.queries, owner) * row.back);
        busy = busy || rank == me || to == me;
      }
    }
    made.steps += busy;
  }
  return made;
}

}  // namespace detail

/// query_ring(ranks, kernel), forward and backward.
inline sent query_ring_traffic(const traffic& t, int me) {
  if (t.batch == 0) return {};
  return detail::add_query_ring(t, me, detail::forward_weight(t));
}
inline sent query_ring_backward_traffic(const traffic& t, int me) {
  if (t.batch == 0) return {};
  return detail::add_query_ring(t, me, detail::backward_weight(t));
}

/// split_kv(ranks, kernel), forward and backward; what comes back does so at once or through a tree.
inline sent split_kv_traffic(const traffic& t, int me, bool tree) {
  if (t.batch == 0) return {};
  return detail::add_split_kv(t, me, tree, detail::forward_weight(t));
}
inline sent split_kv_backward_traffic(const traffic& t, int me, bool tree) {
  if (t.batch == 0) return {};
  return detail::add_split_kv(t, me, tree, detail::backward_weight(t));
}

}  // namespace ringfold::examples
