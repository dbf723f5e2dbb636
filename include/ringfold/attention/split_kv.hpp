#pragma once

#include <ringfold/attention/keys_at_home.hpp>
#include <ringfold/collective/all_gather.hpp>
#include <ringfold/collective/bring_home.hpp>
#include <ringfold/core/reject.hpp>

/// \file
/// Split-KV attention: few queries go to all keys at once, and partials come back. For decoding.

namespace ringfold {

/// An attention whose queries are gathered on all ranks of an axis, each of which attends with them to its own keys;
/// the closed partials go back to the owners of the queries, who merge them.
///
/// What moves does not grow with the number of keys, and any number of blocks may come between one gathering and one
/// way back. Ranks may hold no keys yet, or no queries; queries that a rank's keys never see are not sent there.
/// Queries that are the same on all ranks: give each rank a slice of their rows, and gather the outputs, as in the test.
///
/// **Steps** 2; with reduction::tree 1 and log2 P, rounded up, each with one peer to send to and one to hear from.
/// **Bytes** forward: (P - 1) * rows * heads * dim elements of queries and (P - 1) * rows * heads * (value_dim + 1)
/// accumulators of partials, either way, less what masks spare; under a mask, a tree may also pass on parts of others.
/// **Memory** the axis' queries, their partials, and the partials that arrive in one step (none where memory is lent).
/// **Order** the own keys', then by distance; with a tree, by its steps. **Overlap** none.
///
/// Backward, q, dout, lse and delta are gathered, and gradients of queries come back as partials do, to be added; those
/// of keys and values stay. **Steps** as forward. **Bytes** (P - 1) * rows * heads * (dim + value_dim) elements and
/// (P - 1) * rows * heads * (dim + 2) accumulators, less what masks spare. **Memory** and **Order** likewise.
/// Source: Helix (Bhatia et al., 2025), vLLM's decode context parallelism and Medha's KV parallelism (Agrawal et al.,
/// 2024): all-to-all; Tree Attention (Shyam et al., 2024): tree.
/// \snippet attention/split_kv_test.cpp split_kv
template <communicator C, class A>
class split_kv_attention : public keys_at_home<C, A> {
  using base = keys_at_home<C, A>;
  using base::comm_, base::inner_;

 public:
  using typename base::space, typename base::stream;

  split_kv_attention(C comm, A inner, reduction back) : base(comm, inner), back_(back) {}

  template <class P>
  auto state(const P& p, arena<space>& memory) const {
    require_attention<A, P, stream>();
    return gathered<P, detail::query_traffic<A, P, space>, state_of<A, P, stream>>(
        *this, p, memory, [this](const P& ours, arena<space>& from) { return inner_.state(ours, from); });
  }

  template <class S, class Q>
  void prepare(S& s, Q q, stream on) const {
    using traffic = typename S::traffic;
    gather(s, traffic::there(q), on);
    inner_.prepare(s.inner, traffic::queries(s.queries), on);
  }

  template <class S, class T>
  void accumulate(S& s, block<T, space> mine, stream on) const {
    inner_.accumulate(s.inner, mine, on);
  }

  template <class S, class Sum, class Base>
  void close(S& s, partial<Sum, space, Base> out, stream on) const {
    using traffic = typename S::traffic;
    typename traffic::partial_type const whole{out.o, out.lse};
    inner_.close(s.inner, traffic::result(s.held_results()), on);
    bring_back(s, traffic::back(whole), on);
    convert<Base>(on, whole);
  }

  template <class P>
  auto backward_state(const P& p, arena<space>& memory) const {
    require_differentiable<A, P, stream>();
    return gathered<P, detail::gradient_traffic<P, space>, backward_state_of<A, P, stream>>(
        *this, p, memory, [this](const P& ours, arena<space>& from) { return inner_.backward_state(ours, from); });
  }

  template <class S, class Q, class T>
  void prepare_backward(S& s, Q q, cotangent<T, space> of_out, stream on) const {
    using traffic = typename S::traffic;
    gather(s, traffic::there(q, of_out), on);
    inner_.prepare_backward(s.inner, traffic::queries(s.queries), traffic::results(s.queries), on);
  }

  template <class S, class T, class Sum>
  void accumulate_backward(S& s, block<T, space> mine, block_gradient<Sum, space> to, stream on) const {
    inner_.accumulate_backward(s.inner, mine, to, on);
  }

  template <class S, class Sum>
  void close_backward(S& s, view<Sum, 4, space> of_q, stream on) const {
    using traffic = typename S::traffic;
    inner_.close_backward(s.inner, traffic::result(s.held_results()), on);
    bring_back(s, traffic::back(of_q), on);
  }

 private:
  /// Which members hold whose queries: their owner, and those to whom keys may come that the queries need, in whatever
  /// blocks an outer parallelism brings.
  class placement {
   public:
    template <class P>
    placement(const A& inner, const P& p, axis along)
        : along_(along), held_(static_cast<std::size_t>(p.queries.ranks()) * static_cast<std::size_t>(along.count)) {
      for (int owner = 0; owner < p.queries.ranks(); ++owner) {
        held_[index(member_of(owner), owner)] = true;
        if (p.batch == 0 || p.queries.rows(owner) == 0) continue;
        for (int keys = 0; keys < p.keys.ranks(); ++keys) {
          unsigned char& held = held_[index(member_of(keys), owner)];
          if (!held) held = inner.needs(p, owner, keys);
        }
      }
    }
    bool operator()(int member, int owner) const { return held_[index(member, owner)] != 0; }
    int member_of(int owner) const { return owner / along_.stride % along_.count; }

   private:
    std::size_t index(int member, int owner) const {
      return static_cast<std::size_t>(owner) * static_cast<std::size_t>(along_.count) +
             static_cast<std::size_t>(member);
    }

    axis along_;
    std::vector<unsigned char> held_;
  };

  /// The inner state for all queries that are here, those queries, and what comes of them.
  template <class P, class Traffic, class Inner>
  struct gathered {
    using traffic = Traffic;
    using sent = decltype(Traffic::take_there(std::declval<P>(), 0, std::declval<arena<space>&>()));
    using returned = decltype(Traffic::take_back(std::declval<P>(), 0, std::declval<arena<space>&>()));

    template <class Open>
    gathered(const split_kv_attention& split, const P& p, arena<space>& memory, Open open_inner)
        : along(axis_of(split.comm_)),
          owner(p.owner),
          placed(split.inner_, p, along),
          places(static_cast<std::size_t>(split.comm_.size())),
          inner(opened(p, memory, open_inner)) {
      int const me = split.comm_.rank(), size = split.comm_.size();
      way = way_home(split.back_, me, size, [&](int rank, int origin) { return holds(rank, origin); });
      auto const put_behind = [&](extent& end, int member) {
        places[static_cast<std::size_t>(member)] = {end, p.queries.rows(owner_at(along, owner, member))};
        end += place(member).count;
      };
      for (int member = 0; member < size; ++member) {
        if (holds(me, member)) put_behind(held, member);
      }
      all = held;
      for (int member = 0; member < size; ++member) {
        if (!holds(me, member) && way.passes(member)) put_behind(all, member);
      }
      queries = Traffic::take_there(p, held, memory);
      results = Traffic::take_back(p, all, memory);
      if constexpr (!lends<C>) {
        room = memory.template take<unsigned char>(way.most_bytes([&](int member) { return part(member); }));
      }
      auto const most = static_cast<std::size_t>(sent::count * size) + way.most_pieces(returned::count);
      lists.sends.reserve(most), lists.receives.reserve(most);
    }

    /// Whether a member holds the queries of another.
    bool holds(int member, int origin) const { return placed(member, owner_at(along, owner, origin)); }
    /// The rows that a member's queries take among those here, or what came of them.
    const range& place(int member) const { return places[static_cast<std::size_t>(member)]; }
    returned part(int member) const { return slice_rows(results, place(member)); }
    returned held_results() const { return slice_rows(results, {0, held}); }

    axis along;
    int owner;
    placement placed;
    std::vector<range> places;  // by member
    Inner inner;
    way_home way;
    extent held = 0, all = 0;  // rows: of queries here; and with what is only passed on
    sent queries{};
    returned results{};
    void* room = nullptr;
    posting lists;

   private:
    template <class Open>
    Inner opened(P p, arena<space>& memory, Open open_inner) const {
      p.queries =
          p.queries.merged(along, [&](int holder, int shard) { return placed(placed.member_of(holder), shard); });
      return open_inner(p, memory);
    }
  };

  /// Sends my queries to whoever shall hold them, and gathers the others'.
  template <class S>
  void gather(S& s, const typename S::sent& mine, stream on) const {
    int const me = comm_.rank();
    s.lists.clear();
    for (int i = 0; i < S::sent::count; ++i) {
      auto const from = [&](int member) { return slice_rows(s.queries, s.place(member)).pieces[i]; };
      on.copy(from(me), mine.pieces[i]);
      add_all_gather(s.lists, comm_, mine.pieces[i], from, [&](int rank, int origin) { return s.holds(rank, origin); });
    }
    s.lists.run(comm_, on, pattern::all_gather);
  }

  /// Sends home what came of the others' queries, and folds what came of mine into `home`.
  template <class S>
  void bring_back(S& s, const typename S::returned& home, stream on) const {
    using traffic = typename S::traffic;
    int const me = comm_.rank();
    auto const part = [&](int member) { return member == me ? home : s.part(member); };
    if (s.all > s.held) traffic::clear(on, slice_rows(s.results, {s.held, s.all - s.held}));
    for (int i = 0; i < S::returned::count; ++i) on.copy(home.pieces[i], s.part(me).pieces[i]);
    auto const fold = [&](const auto& into, const auto& from) { traffic::fold(on, into, from); };
    bring_home(comm_, s.way, part, s.room, fold, s.lists, on);
  }

  reduction back_;
};

/// Split-KV attention over a communicator; the inner attention may be a kernel or any other parallelism.
template <communicator C, attention_type A>
split_kv_attention<C, A> split_kv(C comm, A inner, reduction back = reduction::all_to_all) {
  return {comm, inner, back};
}
template <class C, class A>
  requires(!communicator<C>)
not_a_communicator<C> split_kv(C, A, reduction = reduction::all_to_all) {
  return {};
}
template <communicator C, class A>
  requires(!attention_type<A>)
not_an_attention<A> split_kv(C, A, reduction = reduction::all_to_all) {
  return {};
}

}  // namespace ringfold
