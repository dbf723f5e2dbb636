#pragma once

#include <ringfold/attention/needed_rows.hpp>
#include <ringfold/attention/needs.hpp>
#include <ringfold/collective/posting.hpp>
#include <ringfold/core/reject.hpp>
#include <ringfold/schedule/direct.hpp>

/// \file
/// Direct attention: of the other ranks' keys and values, the rows that a mask lets the own queries see.

namespace ringfold {

/// An attention that fetches exactly the rows that it needs: of a sliding window a halo, of a sparse mask its runs.
///
/// Both ends know from the layouts which rows those are, so nothing but rows travels. The inner attention works on a
/// problem whose other ranks have these rows only, and need not know: any kernel, any parallelism. Where it spans
/// several ranks, a row that any of them needs comes in once. Planning finds rows by seen_rows.
///
/// **Steps** 1. **Bytes** kv heads * (dim + value_dim) elements for each row and each rank that needs it. A rank of a
/// causal window of `left` keys gets min(left, rows before its own) rows of contiguous shards, about twice that of zigzag.
/// **Memory** the rows fetched; never lent, as an owner's rows are put side by side. **Order** the own block, then by
/// distance. **Overlap** rows travel while the own block is folded in.
///
/// Backward, gradients of fetched rows go straight back to their owners. **Steps** 2. **Bytes** rows as forward, and as
/// many elements of gradient_sum_t the other way. **Memory** gradients of the rows fetched, and of
/// the own rows as often as they were. **Order** the own part, then by rank. **Overlap** rows as forward; gradients none.
/// Source: DSV (Tan et al., 2025); MagiAttention (SandAI, 2025), group cast and group reduce.
/// \snippet attention/direct_test.cpp direct
template <communicator C, class A>
class direct_attention : public queries_at_home<C, A> {
  static_assert(
      !is_canonical<A>,
      "[ringfold] direct: a canonical attention folds whole chunks of keys, and would get some of their rows; "
      "use gather or ring");
  using base = queries_at_home<C, A>;
  using base::comm_, base::inner_;

 public:
  using typename base::space, typename base::stream;

  direct_attention(C comm, A inner) : base(comm, inner) {}

  template <class P>
  auto state(const P& outer, arena<space>& memory) const {
    require_attention<A, P, stream>();
    struct open {
      fetching<typename P::element> rows;
      state_of<A, P, stream> inner;
    };
    fetching<typename P::element> rows(*this, outer, memory);
    P const p = rows.inner(outer);
    return open{std::move(rows), inner_.state(p, memory)};
  }

  template <class S, class T>
  void accumulate(S& s, block<T, space> mine, stream on) const {
    fetch(s.rows, mine, on, [&](const block<T, space>& each) { inner_.accumulate(s.inner, each, on); });
  }

  template <class P>
  auto backward_state(const P& outer, arena<space>& memory) const {
    require_differentiable<A, P, stream>();
    using sum = gradient_sum_t<A, P>;
    struct open {
      fetching<typename P::element> rows;
      room<sum> of_fetched, of_lent;  // gradients of the others' rows, and of the own ones by those who got them
      backward_state_of<A, P, stream> inner;
    };
    fetching<typename P::element> rows(*this, outer, memory);
    room<sum> const of_fetched(outer, rows.needed.most_fetched().rows, memory),
        of_lent(outer, rows.needed.most_lent().rows, memory);
    P const p = rows.inner(outer);
    return open{std::move(rows), of_fetched, of_lent, inner_.backward_state(p, memory)};
  }

  template <class S, class T, class Sum>
  void accumulate_backward(S& s, block<T, space> mine, block_gradient<Sum, space> to, stream on) const {
    fetch(s.rows, mine, on, [&](const block<T, space>& each) {
      if (each.owner == mine.owner) return inner_.accumulate_backward(s.inner, each, to, on);
      block_gradient<Sum, space> part{absent(to.k), absent(to.v)};
      if (each.present()) {
        auto const fresh = s.of_fetched.at(s.rows.needed.fetched(each.owner).place, mine);
        on.elementwise(elementwise::set_zero{}, fresh.k);
        on.elementwise(elementwise::set_zero{}, fresh.v);
        part = {fresh.k, fresh.v};
      }
      inner_.accumulate_backward(s.inner, each, part, on);
    });
    bring_home(s, mine, to, on);
  }

 private:
  /// Keys and values, or their gradients, of the same rows.
  template <class U>
  struct pair_of {
    view<U, 4, space> k, v;
    pair_of operator[](range rows) const { return {slice(k, row_axis, rows), slice(v, row_axis, rows)}; }
  };

  /// Memory for rows of several owners, each owner's packed.
  template <class U>
  class room {
   public:
    template <class P>
    room(const P& p, extent rows, arena<space>& memory) {
      extent const heads = checked_multiply(checked_multiply(p.batch, rows), p.head.key);
      k_ = memory.template take<U>(checked_multiply(heads, p.dim));
      v_ = memory.template take<U>(checked_multiply(heads, p.value_dim));
    }

    /// The rows at a place, with all other extents as a block has them.
    template <class T>
    pair_of<U> at(range place, const block<T, space>& like) const {
      return {packed(k_, place, like.k), packed(v_, place, like.v)};
    }

   private:
    template <class T>
    static view<U, 4, space> packed(U* first, range place, const view<T, 4, space>& like) {
      extent const* e = like.extents;
      extent const before = place.first * e[batch_axis] * e[head_axis] * e[dim_axis];
      return dense<space>(first + before, e[batch_axis], place.count, e[head_axis], e[dim_axis]);
    }

    U *k_, *v_;
  };

  /// What fetching needs: which rows, and where they arrive.
  template <class T>
  struct fetching {
    template <class P>
    fetching(const direct_attention& direct, const P& p, arena<space>& memory)
        : along(axis_of(direct.comm_)),
          needed(direct.inner_, p, along),
          fetched(p, needed.most_fetched().rows, memory) {
      // Keys and values: a piece for each run, and of gradients one for each rank.
      lists.sends.reserve(static_cast<std::size_t>(2 * (needed.most_lent().runs + along.count)));
      lists.receives.reserve(static_cast<std::size_t>(2 * (needed.most_fetched().runs + along.count)));
    }

    /// The problem of the inner attention.
    template <class P>
    P inner(P p) const {
      p.keys = needed.of(p.keys);
      return p;
    }

    axis along;
    needed_rows needed;
    room<T> fetched;
    posting lists;
  };

  /// Calls f(rank, owner of the block that it holds while the caller holds that of `mine`) for the other ranks.
  template <class F>
  void for_each_peer(int (*rank_at)(int, int, int), axis along, int mine, F f) const {
    for (int step = 1; step <= schedule::direct::steps(comm_.size()); ++step) {
      int const rank = rank_at(comm_.rank(), comm_.size(), step);
      f(rank, owner_at(along, mine, rank));
    }
  }

  /// Shows the own block while the others' rows travel, then theirs, whether anything came or not.
  template <class T, class Visit>
  void fetch(fetching<T>& s, const block<T, space>& mine, stream on, Visit visit) const {
    request_t<C> posted;
    or_poison(comm_, [&] {
      posted = post(s, mine, on);
      visit(mine);
      posted.arrived(on);
      for_each_peer(schedule::direct::from, s.along, mine.owner, [&](int, int owner) {
        block<T, space> theirs{absent(mine.k), absent(mine.v), owner, mine.first_key};
        range const place = s.needed.fetched(owner).place;
        if (place.count > 0) {
          auto const came = s.fetched.at(place, mine);
          theirs.k = came.k, theirs.v = came.v;
        }
        visit(theirs);
      });
      posted.reusable(on);
    });
  }

  template <class T>
  request_t<C> post(fetching<T>& s, const block<T, space>& mine, stream on) const {
    s.lists.clear();
    pair_of<const T> const own{mine.k, mine.v};
    for_each_peer(schedule::direct::to, s.along, mine.owner, [&](int rank, int owner) {
      s.needed.lent(owner).for_each_run([&](range rows, range) {
        s.lists.send(piece_of(own[rows].k, role::key, wire(comm_, rank)));
        s.lists.send(piece_of(own[rows].v, role::value, wire(comm_, rank)));
      });
    });
    for_each_peer(schedule::direct::from, s.along, mine.owner, [&](int rank, int owner) {
      auto const& part = s.needed.fetched(owner);
      auto const theirs = s.fetched.at(part.place, mine);
      part.for_each_run([&](range, range packed) {
        s.lists.receive(piece_of(theirs[packed].k, role::key, wire(comm_, rank)));
        s.lists.receive(piece_of(theirs[packed].v, role::value, wire(comm_, rank)));
      });
    });
    return s.lists.post(comm_, on);
  }

  /// Sends the gradients of fetched rows home, and adds what the others found of the own ones, in the order of ranks.
  template <class S, class T, class Sum>
  void bring_home(S& s, const block<T, space>& mine, const block_gradient<Sum, space>& to, stream on) const {
    posting& lists = s.rows.lists;
    axis const along = s.rows.along;
    lists.clear();
    for_each_peer(schedule::direct::to, along, mine.owner, [&](int rank, int owner) {
      auto const theirs = s.of_fetched.at(s.rows.needed.fetched(owner).place, mine);
      lists.send(piece_of(theirs.k, role::gradient, wire(comm_, rank)));
      lists.send(piece_of(theirs.v, role::gradient, wire(comm_, rank)));
    });
    for_each_peer(schedule::direct::from, along, mine.owner, [&](int rank, int owner) {
      auto const returned = s.of_lent.at(s.rows.needed.lent(owner).place, mine);
      lists.receive(piece_of(returned.k, role::gradient, wire(comm_, rank)));
      lists.receive(piece_of(returned.v, role::gradient, wire(comm_, rank)));
    });
    lists.run(comm_, on);
    pair_of<Sum> const own{to.k, to.v};
    for (int rank = 0; rank < comm_.size(); ++rank) {
      if (rank == comm_.rank()) continue;
      auto const& part = s.rows.needed.lent(owner_at(along, mine.owner, rank));
      auto const returned = s.of_lent.at(part.place, mine);
      part.for_each_run([&](range rows, range packed) {
        on.elementwise(elementwise::add_to{}, own[rows].k, returned[packed].k);
        on.elementwise(elementwise::add_to{}, own[rows].v, returned[packed].v);
      });
    }
  }
};

/// Direct attention over a communicator; the inner attention sees of the other ranks' keys the rows that it needs.
template <communicator C, attention_type A>
direct_attention<C, A> direct(C comm, A inner) {
  return {comm, inner};
}
template <class C, class A>
  requires(!communicator<C>)
not_a_communicator<C> direct(C, A) {
  return {};
}
template <communicator C, class A>
  requires(!attention_type<A>)
not_an_attention<A> direct(C, A) {
  return {};
}

}  // namespace ringfold
