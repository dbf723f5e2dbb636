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
/// **Overlap** none.
///
/// Backward likewise: **Steps** 4: queries and what is known of their results; keys and values; their gradients, where
/// those of a key head that several ranks read are added up at home in the order of ranks; gradients of queries.
/// Source: DeepSpeed-Ulysses (Jacobs et al., 2023); USP (Fang and Zhao, 2024).
/// \snippet attention/nesting_test.cpp ulysses
template <communicator C, class A>
class ulysses_attention {
  static_assert((require_same_stream<C, A>(), true));

 public:
  using stream = stream_t<C>;
  using space = space_t<C>;
  template <class P>
  using gradient_sum = gradient_sum_t<A, P>;
  static constexpr bool is_canonical = ringfold::is_canonical<A>;
  static constexpr bool closes_in_any_base = ringfold::closes_in_any_base<A>;

  ulysses_attention(C comm, A inner) : comm_(comm), inner_(inner) {}

  int ranks() const { return comm_.size() * inner_.ranks(); }
  int owner() const { return comm_.rank() * axis_of(comm_).stride + inner_.owner(); }
  int owner_of(int index) const {
    return index % comm_.size() * axis_of(comm_).stride + inner_.owner_of(index / comm_.size());
  }
  extent fewest_heads() const { return comm_.size() * inner_.fewest_heads(); }

  /// The problem of the inner attention: rows of the whole group, a share of the heads.
  /// \throws usage_error when there are more ranks than query heads.
  template <class P>
  P inner(P p) const {
    // On every rank alike, those with the smallest share of the heads included.
    if (fewest_heads() > p.head.query) {
      throw usage_error(say("ulysses: %lld ranks share %lld query heads; use at most %lld ranks here",
                            static_cast<long long>(fewest_heads()), static_cast<long long>(p.head.query),
                            static_cast<long long>(p.head.query)));
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
      sharing<P> share;
      view<element, 4, space> q, k, v;
      view<sum, 4, space> o;
      view<sum, 3, space> lse;
      state_of<A, P, stream> state;
    };
    sharing<P> share(*this, outer);
    P const& p = share.inner;
    extent const rows = p.queries.rows(p.owner), keys = p.keys.most_rows();
    auto const q = memory.template take_view<element>(p.batch, rows, p.head.query, p.dim);
    auto const k = memory.template take_view<element>(p.batch, keys, p.head.key, p.dim);
    auto const v = memory.template take_view<element>(p.batch, keys, p.head.key, p.value_dim);
    auto const o = memory.template take_view<sum>(p.batch, rows, p.head.query, p.value_dim);
    auto const lse = memory.template take_view<sum>(p.batch, rows, p.head.query);
    return open{share, q, k, v, o, lse, inner_.state(p, memory)};
  }

  template <class S, class Q>
  void prepare(S& s, Q q, stream on) const {
    to_heads(s.share, on, [&](auto add) { add(q, s.q, role::query); });
    inner_.prepare(s.state, read_only(s.q), on);
  }

  template <class S, class T>
  void accumulate(S& s, block<T, space> mine, stream on) const {
    inner_.accumulate(s.state, bring(s, mine, on), on);
  }

  template <class S, class Sum, class Base>
  void close(S& s, partial<Sum, space, Base> out, stream on) const {
    inner_.close(s.state, partial<Sum, space, Base>{s.o, s.lse}, on);
    to_rows(s.share, on, [&](auto add) {
      add(s.o, out.o, role::output);
      add(s.lse, out.lse, role::lse);
    });
  }

  template <class P>
  auto backward_state(const P& outer, arena<space>& memory) const {
    require_differentiable<A, P, stream>();
    using element = typename P::element;
    using sum = typename P::accumulate;
    using gradient = gradient_sum_t<A, P>;
    struct open {
      sharing<P> share;
      view<element, 4, space> q, dout, k, v;
      view<sum, 3, space> lse, delta;
      view<sum, 4, space> dq;
      view<gradient, 4, space> dk, dv;
      gradient* returned[2];  // [k, v] gradients of the own rows, from each other rank
      backward_state_of<A, P, stream> state;
    };
    sharing<P> share(*this, outer);
    P const& p = share.inner;
    extent const rows = p.queries.rows(p.owner), keys = p.keys.most_rows();
    auto const q = memory.template take_view<element>(p.batch, rows, p.head.query, p.dim);
    auto const dout = memory.template take_view<element>(p.batch, rows, p.head.query, p.value_dim);
    auto const k = memory.template take_view<element>(p.batch, keys, p.head.key, p.dim);
    auto const v = memory.template take_view<element>(p.batch, keys, p.head.key, p.value_dim);
    auto const lse = memory.template take_view<sum>(p.batch, rows, p.head.query);
    auto const delta = memory.template take_view<sum>(p.batch, rows, p.head.query);
    auto const dq = memory.template take_view<sum>(p.batch, rows, p.head.query, p.dim);
    auto const dk = memory.template take_view<gradient>(p.batch, keys, p.head.key, p.dim);
    auto const dv = memory.template take_view<gradient>(p.batch, keys, p.head.key, p.value_dim);
    extent heads = 0;
    for (int rank = 0; rank < comm_.size(); ++rank) {
      if (rank != comm_.rank()) heads += shares_of(outer.head, rank).key.count;
    }
    extent const others = checked_multiply(checked_multiply(p.batch, outer.keys.most_rows()), heads);
    gradient* const returned_k = memory.template take<gradient>(checked_multiply(others, p.dim));
    gradient* const returned_v = memory.template take<gradient>(checked_multiply(others, p.value_dim));
    return open{
        share, q, dout, k, v, lse, delta, dq, dk, dv, {returned_k, returned_v}, inner_.backward_state(p, memory)};
  }

  template <class S, class Q, class T>
  void prepare_backward(S& s, Q q, cotangent<T, space> of_out, stream on) const {
    to_heads(s.share, on, [&](auto add) {
      add(q, s.q, role::query);
      add(of_out.dout, s.dout, role::gradient);
      add(of_out.lse, s.lse, role::lse);
      add(of_out.delta, s.delta, role::lse);
    });
    inner_.prepare_backward(s.state, read_only(s.q), cotangent<T, space>{s.dout, s.lse, s.delta}, on);
  }

  template <class S, class T, class Sum>
  void accumulate_backward(S& s, block<T, space> mine, block_gradient<Sum, space> to, stream on) const {
    block<T, space> const ours = bring(s, mine, on);
    block_gradient<Sum, space> part{absent(s.dk), absent(s.dv)};
    if (ours.present()) {
      part = {like(ours.k, s.dk.data), like(ours.v, s.dv.data)};
      on.elementwise(elementwise::set_zero{}, part.k);
      on.elementwise(elementwise::set_zero{}, part.v);
    }
    inner_.accumulate_backward(s.state, ours, part, on);
    if (s.share.needed[static_cast<std::size_t>(mine.owner)]) bring_home(s, mine, part, to, on);
  }

  template <class S, class Sum>
  void close_backward(S& s, view<Sum, 4, space> of_q, stream on) const {
    inner_.close_backward(s.state, s.dq, on);
    to_rows(s.share, on, [&](auto add) { add(s.dq, of_q, role::gradient); });
  }

 private:
  /// The problem on both sides of the exchange, and whose blocks anybody beyond it needs.
  template <class P>
  struct sharing {
    sharing(const ulysses_attention& ulysses, const P& p)
        : outer(p),
          inner(ulysses.inner(p)),
          query_rows(ulysses.rows_in_groups(p.queries)),
          key_rows(ulysses.rows_in_groups(p.keys)) {
      for (int owner = 0; owner < p.keys.ranks(); ++owner) {
        needed.push_back(ulysses.inner_.needs(inner, p.owner, owner));
      }
      auto const most_pieces = static_cast<std::size_t>(4 * ulysses.comm_.size());
      lists.sends.reserve(most_pieces), lists.receives.reserve(most_pieces);
    }
    sharing(const sharing& other)
        : outer(other.outer),
          inner(other.inner),
          query_rows(other.query_rows),
          key_rows(other.key_rows),
          needed(other.needed) {
      lists.sends.reserve(other.lists.sends.capacity()), lists.receives.reserve(other.lists.receives.capacity());
    }

    P outer, inner;
    std::vector<range> query_rows, key_rows;  // of each owner, among those of its group
    std::vector<unsigned char> needed;        // by owner of a block
    posting lists;
  };

  /// One exchange in which what each `add(from, to, role)` names becomes a share of the heads of all rows.
  template <class P, class F>
  void to_heads(sharing<P>& s, stream on, F f) const {
    cut const how{head_axis, query_heads(s), row_axis, rows(s.query_rows, s.outer.owner)};
    s.lists.clear();
    f([&](auto from, auto to, role what) { add_reshard(s.lists, comm_, from, to, how, what, on); });
    s.lists.run(comm_, on, pattern::all_to_all);
  }

  /// The way back: all heads of the own rows.
  template <class P, class F>
  void to_rows(sharing<P>& s, stream on, F f) const {
    cut const how{row_axis, rows(s.query_rows, s.outer.owner), head_axis, query_heads(s)};
    s.lists.clear();
    f([&](auto from, auto to, role what) { add_reshard(s.lists, comm_, from, to, how, what, on); });
    s.lists.run(comm_, on, pattern::all_to_all);
  }

  /// The group's rows of my key heads, as far as this block brings them; absent when nobody needs them.
  template <class S, class T>
  block<T, space> bring(S& s, const block<T, space>& mine, stream on) const {
    auto const share = key_heads(s.share, mine);
    range const heads = share(comm_.rank());
    extent const total = s.share.needed[static_cast<std::size_t>(mine.owner)] ? s.share.inner.keys.rows(mine.owner) : 0;
    auto const part = [&](const view<T, 4, space>& buffer) {
      return dense<space>(buffer.data, buffer.extents[0], total, heads.count, buffer.extents[3]);
    };
    block<T, space> ours{part(s.k), part(s.v), mine.owner, heads.first};
    if (total == 0) {
      ours.k = absent(ours.k), ours.v = absent(ours.v);
      return ours;
    }
    auto const local = [&](int rank) { return range{share(rank).first - mine.first_key, share(rank).count}; };
    cut const how{head_axis, local, row_axis, rows(s.share.key_rows, mine.owner)};
    s.share.lists.clear();
    add_reshard(s.share.lists, comm_, mine.k, part(s.k), how, role::key, on);
    add_reshard(s.share.lists, comm_, mine.v, part(s.v), how, role::value, on);
    s.share.lists.run(comm_, on, pattern::all_to_all);
    return ours;
  }

  /// Sends the gradients of the others' rows to them, and adds what each rank found of mine, in the order of ranks.
  template <class S, class T, class Sum>
  void bring_home(S& s, const block<T, space>& mine, const block_gradient<Sum, space>& ours,
                  const block_gradient<Sum, space>& to, stream on) const {
    auto const share = key_heads(s.share, mine);
    auto const rows_of = rows(s.share.key_rows, mine.owner);
    auto const into = [&](const view<Sum, 4, space>& whole, int rank) {
      return slice(whole, head_axis, range{share(rank).first - mine.first_key, share(rank).count});
    };
    // What the ranks return lies one behind the other, mine left out.
    auto const for_each_other = [&](auto f) {
      Sum *k = s.returned[0], *v = s.returned[1];
      for (int rank = 0; rank < comm_.size(); ++rank) {
        auto const to_k = into(to.k, rank), to_v = into(to.v, rank);
        if (rank == comm_.rank()) {
          f(rank, to_k, to_v, slice(ours.k, row_axis, rows_of(rank)), slice(ours.v, row_axis, rows_of(rank)));
          continue;
        }
        auto const from_k = like(to_k, k), from_v = like(to_v, v);
        f(rank, to_k, to_v, from_k, from_v);
        k += from_k.size(), v += from_v.size();
      }
    };
    posting& lists = s.share.lists;
    lists.clear();
    for_each_other([&](int rank, auto, auto, auto from_k, auto from_v) {
      if (rank == comm_.rank()) return;
      lists.send(piece_of(slice(ours.k, row_axis, rows_of(rank)), role::gradient, wire(comm_, rank)));
      lists.send(piece_of(slice(ours.v, row_axis, rows_of(rank)), role::gradient, wire(comm_, rank)));
      lists.receive(piece_of(from_k, role::gradient, wire(comm_, rank)));
      lists.receive(piece_of(from_v, role::gradient, wire(comm_, rank)));
    });
    lists.run(comm_, on, pattern::all_to_all);
    for_each_other([&](int, auto to_k, auto to_v, auto from_k, auto from_v) {
      on.elementwise(elementwise::add_to{}, to_k, from_k);
      on.elementwise(elementwise::add_to{}, to_v, from_v);
    });
  }

  template <class U, class T>
  static view<U, 4, space> like(const view<T, 4, space>& of, U* at) {
    return dense<space>(at, of.extents[0], of.extents[1], of.extents[2], of.extents[3]);
  }

  /// The key heads of a block that a rank's query heads read, in global numbers.
  template <class P, class T>
  auto key_heads(const sharing<P>& s, const block<T, space>& mine) const {
    return [this, all = s.outer.head, brought = range{mine.first_key, mine.k.extents[head_axis]}](int rank) {
      return shares_of(all, rank).key.within(brought);
    };
  }

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

  /// The rows of every owner's shard among those of the group that it is in.
  std::vector<range> rows_in_groups(const layout& tokens) const {
    axis const along = axis_of(comm_);
    std::vector<range> made;
    for (int owner = 0; owner < tokens.ranks(); ++owner) {
      range place{0, tokens.rows(owner)};
      for (int member = 0; member < member_of(along, owner); ++member) {
        place.first += tokens.rows(owner_at(along, owner, member));
      }
      made.push_back(place);
    }
    return made;
  }
  /// Those of a member's, while the caller holds the shard of `owner`.
  auto rows(const std::vector<range>& in_groups, int owner) const {
    return [along = axis_of(comm_), &in_groups, owner](int rank) {
      return in_groups[static_cast<std::size_t>(owner_at(along, owner, rank))];
    };
  }

  template <class T>
  static view<const T, 4, space> read_only(const view<T, 4, space>& v) {
    return v;
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
