#pragma once

#include <ringfold/collective/reshard.hpp>
#include <ringfold/core/reject.hpp>
#include <ringfold/kernel/attention.hpp>

/// \file
/// Ulysses attention: an all-to-all turns a share of the tokens into a share of the heads, and back.

namespace ringfold {

/// An attention in which each rank works on all rows of its group and a share of the query heads.
///
/// Any number of heads; shares may differ by one. A key head goes at most once to each rank whose query heads read it,
/// and is never expanded. `ulysses(row, ring(column, kernel))` is USP (2D attention).
///
/// **Steps** 3: queries; keys and values; outputs. **Bytes** (P - 1) / P * rows * [heads * (dim + value_dim) +
/// kv heads * (dim + value_dim)] elements when P divides both head counts; lse and outputs in the accumulation type.
/// **Memory** the group's queries, keys, values and outputs for a share of the heads. **Order** the inner attention's.
/// **Overlap** none. Source: DeepSpeed-Ulysses (Jacobs et al., 2023); USP (Fang and Zhao, 2024).
/// \snippet attention/nesting_test.cpp ulysses
template <communicator C, class A>
class ulysses_attention {
  static_assert((require_same_stream<C, A>(), true));

 public:
  using stream = stream_t<C>;
  using space = space_t<C>;

  ulysses_attention(C comm, A inner) : comm_(comm), inner_(inner) {}

  int ranks() const { return comm_.size() * inner_.ranks(); }
  int owner() const { return comm_.rank() * axis_of(comm_).stride + inner_.owner(); }

  /// The problem of the inner attention: rows of the whole group, a share of the heads.
  /// \throws usage_error when there are more ranks than query heads.
  template <class P>
  P inner(P p) const {
    if (comm_.size() > p.head.query) {
      throw usage_error(say("ulysses: %d ranks share %lld query heads; use at most %lld ranks here", comm_.size(),
                            static_cast<long long>(p.head.query), static_cast<long long>(p.head.query)));
    }
    shares const mine = shares_of(p.head, comm_.rank());
    p.queries = p.queries.merged(axis_of(comm_));
    p.keys = p.keys.merged(axis_of(comm_));
    p.head = {p.head.first_query + mine.query.first, mine.query.count, mine.key.first, mine.key.count, p.head.group};
    return p;
  }

  template <class P>
  bool needs(const P& p, int query_owner, int key_owner) const {
    return inner_.needs(inner(p), query_owner, key_owner);
  }

  template <class P>
  auto state(const P& outer, arena<space>& memory) const {
    require_attention<A, P, stream>();
    using element = typename P::element;
    using sum = typename P::accumulate;
    struct open {
      P outer, inner;
      std::vector<unsigned char> needed;  // by owner of a block
      posting lists;
      view<element, 4, space> q, k, v;
      view<sum, 4, space> o;
      view<sum, 3, space> lse;
      state_of<A, P, stream> state;
    };
    P const p = inner(outer);
    extent const rows = p.queries.rows(p.owner), keys = p.keys.most_rows();
    std::vector<unsigned char> needed;
    for (int owner = 0; owner < p.keys.ranks(); ++owner) needed.push_back(inner_.needs(p, p.owner, owner));
    auto const q = memory.template take_view<element>(p.batch, rows, p.head.query, p.dim);
    auto const k = memory.template take_view<element>(p.batch, keys, p.head.key, p.dim);
    auto const v = memory.template take_view<element>(p.batch, keys, p.head.key, p.value_dim);
    auto const o = memory.template take_view<sum>(p.batch, rows, p.head.query, p.value_dim);
    auto const lse = memory.template take_view<sum>(p.batch, rows, p.head.query);
    open made{outer, p, needed, {}, q, k, v, o, lse, inner_.state(p, memory)};
    made.lists.sends.reserve(static_cast<std::size_t>(2 * comm_.size()));
    made.lists.receives.reserve(static_cast<std::size_t>(2 * comm_.size()));
    return made;
  }

  template <class S, class Q>
  void prepare(S& s, Q q, stream on) const {
    reshard(comm_, q, s.q, cut{head_axis, query_heads(s), row_axis, rows(s.outer.queries, s.outer.owner)}, s.lists, on,
            role::query);
    inner_.prepare(s.state, q_of(s), on);
  }

  template <class S, class T>
  void accumulate(S& s, block<T, space> mine, stream on) const {
    // The heads that this block brings may be some of mine only.
    range const brought{mine.first_key, mine.k.extents[head_axis]};
    auto const share = [&](int rank) { return shares_of(s.outer.head, rank).key.within(brought); };
    range const heads = share(comm_.rank());
    extent const total = s.needed[static_cast<std::size_t>(mine.owner)] ? s.inner.keys.rows(mine.owner) : 0;
    auto const part = [&](view<T, 4, space> buffer) {
      return dense<space>(buffer.data, buffer.extents[0], total, heads.count, buffer.extents[3]);
    };
    block<T, space> ours{part(s.k), part(s.v), mine.owner, heads.first};
    if (total == 0) {
      ours.k = absent(ours.k), ours.v = absent(ours.v);
    } else {
      cut const how{head_axis,
                    [&](int rank) {
                      range const theirs = share(rank);
                      return range{theirs.first - mine.first_key, theirs.count};
                    },
                    row_axis, rows(s.outer.keys, mine.owner)};
      s.lists.clear();
      add_reshard(s.lists, comm_, mine.k, part(s.k), how, role::key, on);
      add_reshard(s.lists, comm_, mine.v, part(s.v), how, role::value, on);
      s.lists.run(comm_, on, pattern::all_to_all);
    }
    inner_.accumulate(s.state, ours, on);
  }

  template <class S, class Sum, class Base>
  void close(S& s, partial<Sum, space, Base> out, stream on) const {
    inner_.close(s.state, partial<Sum, space, Base>{s.o, s.lse}, on);
    cut const how{row_axis, rows(s.outer.queries, s.outer.owner), head_axis, query_heads(s)};
    s.lists.clear();
    add_reshard(s.lists, comm_, s.o, out.o, how, role::output, on);
    add_reshard(s.lists, comm_, s.lse, out.lse, how, role::lse, on);
    s.lists.run(comm_, on, pattern::all_to_all);
  }

 private:
  /// A rank's query heads, counted from the group's first, and the key heads that they read, in global numbers.
  struct shares {
    range query, key;
  };
  shares shares_of(const heads& all, int rank) const {
    segment const query = detail::share(all.query, comm_.size(), rank);
    extent const first = (all.first_query + query.first) / all.group;
    extent const last = (all.first_query + query.last()) / all.group;
    return {{query.first, query.count}, {first, last - first + 1}};
  }

  template <class S>
  auto query_heads(const S& s) const {
    return [this, all = s.outer.head](int rank) { return shares_of(all, rank).query; };
  }

  /// The rows of a member's shard among the group's rows, while the caller holds the shard of `owner`.
  auto rows(const layout& tokens, int owner) const {
    return [this, &tokens, owner](int rank) {
      range place;
      for (int member = 0; member <= rank; ++member) {
        place.first += place.count;
        place.count = tokens.rows(owner_at(axis_of(comm_), owner, member));
      }
      return place;
    };
  }

  template <class S>
  static auto q_of(const S& s) {
    using element = typename decltype(s.q)::element;
    return view<const element, 4, space>(s.q);
  }

  mutable C comm_;
  A inner_;
};

/// Ulysses attention over a communicator; the inner attention sees all rows of the group and a share of the heads.
template <communicator C, attention_type A>
ulysses_attention<C, A> ulysses(C comm, A inner) {
  return {comm, inner};
}
template <class C, class A>
  requires(!communicator<C>)
not_a_communicator<C> ulysses(C, A) {
  return {};
}
template <communicator C, class A>
  requires(!attention_type<A>)
not_an_attention<A> ulysses(C, A) {
  return {};
}

}  // namespace ringfold
