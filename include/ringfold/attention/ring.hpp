#pragma once

#include <ringfold/attention/needs.hpp>
#include <ringfold/collective/ring_return.hpp>
#include <ringfold/core/reject.hpp>

/// \file
/// Ring attention: keys and values travel, queries stay.

namespace ringfold {

/// An attention whose blocks pass around a ring of ranks, each of which folds every block into its own state.
///
/// The running softmax state stays in the inner attention's own layout from the first block to the last; what nobody
/// further on needs does not travel. `ring(nodes, ring(local, kernel))` is the double ring.
///
/// **Steps** P - 1. **Bytes** forward: (P - 1) * rows * kv heads * (dim + value_dim) elements, less what masks spare.
/// **Memory** two blocks of the longest shard; none where memory is lent. **Order** rank r folds r, r-1, ..., r+1.
/// **Overlap** a block travels on while it is folded in.
///
/// Backward, gradients of keys and values follow their blocks one step behind; that of the own block stays at home.
/// **Steps** 2 * (P - 1). **Bytes** blocks as forward; gradients as many elements of gradient_sum_t, less what masks
/// spare. **Memory** four gradients of the longest shard more: three on their way, one home.
/// **Order** a gradient's terms are added in ring order from its owner on.
/// **Overlap** blocks and gradients travel while a block is worked on.
/// Source: Ring Attention (Liu et al., 2023); double ring: LoongTrain, BurstAttention.
/// \snippet attention/nesting_test.cpp ring
template <communicator C, class A>
class ring_attention : public queries_at_home<C, A> {
  using base = queries_at_home<C, A>;
  using base::comm_, base::inner_;

 public:
  using typename base::space, typename base::stream;

  ring_attention(C comm, A inner) : base(comm, inner) {}

  template <class P>
  auto state(const P& p, arena<space>& memory) const {
    require_attention<A, P, stream>();
    using element = typename P::element;
    struct open {
      state_of<A, P, stream> inner;
      passing<element> blocks;
    };
    return open{inner_.state(p, memory), passing<element>(*this, p, memory)};
  }

  template <class S, class T>
  void accumulate(S& s, block<T, space> mine, stream on) const {
    pass(s.blocks, mine, on, [&](int, const block<T, space>& theirs) { inner_.accumulate(s.inner, theirs, on); });
  }

  template <class P>
  auto backward_state(const P& p, arena<space>& memory) const {
    require_differentiable<A, P, stream>();
    using element = typename P::element;
    using sum = gradient_sum_t<A, P>;
    struct open {
      backward_state_of<A, P, stream> inner;
      passing<element> blocks;
      sum* sums[4][2] = {};  // [three on their way, one coming home][k, v]
    };
    open made{inner_.backward_state(p, memory), passing<element>(*this, p, memory)};
    extent const rows = checked_multiply(checked_multiply(p.batch, p.keys.most_rows()), p.head.key);
    for (int slot = 0; slot < (comm_.size() > 1 ? 4 : 0); ++slot) {
      made.sums[slot][0] = memory.template take<sum>(checked_multiply(rows, p.dim));
      made.sums[slot][1] = memory.template take<sum>(checked_multiply(rows, p.value_dim));
    }
    return made;
  }

  template <class S, class T, class Sum>
  void accumulate_backward(S& s, block<T, space> mine, block_gradient<Sum, space> to, stream on) const {
    auto const sum_of = [&](int origin, int slot) {
      return parcel<2>{{piece_of(s.blocks.arriving(s.sums[slot][0], origin, mine, mine.k), role::gradient),
                        piece_of(s.blocks.arriving(s.sums[slot][1], origin, mine, mine.v), role::gradient)}};
    };
    auto const gradient_of = [](const parcel<2>& at) {
      return block_gradient<Sum, space>{view_of<Sum, 4, space>(at.pieces[0]), view_of<Sum, 4, space>(at.pieces[1])};
    };
    auto const add = [&](const parcel<2>& into, const parcel<2>& from) {
      auto const a = gradient_of(into), b = gradient_of(from);
      on.elementwise(elementwise::add_to{}, a.k, b.k);
      on.elementwise(elementwise::add_to{}, a.v, b.v);
    };
    ring_return back(
        comm_, sum_of, [&] { return sum_of(comm_.rank(), 3); },
        [&](int rank, int origin) { return s.blocks.needed(rank, origin, mine.owner); }, add, on);
    parcel<2> home{{piece_of(to.k, role::gradient), piece_of(to.v, role::gradient)}};
    pass(s.blocks, mine, on, [&](int distance, const block<T, space>& theirs) {
      if (distance == 0) return inner_.accumulate_backward(s.inner, theirs, to, on);
      back.step(distance, home, [&](parcel<2>* sum) {
        block_gradient<Sum, space> part{absent(to.k), absent(to.v)};
        if (sum != nullptr) {
          part = gradient_of(*sum);
          on.elementwise(elementwise::set_zero{}, part.k);
          on.elementwise(elementwise::set_zero{}, part.v);
        }
        inner_.accumulate_backward(s.inner, theirs, part, on);
      });
    });
    back.finish(home);
  }

 private:
  /// What blocks need on their way: who wants which, how long they are, and where they arrive.
  template <class T>
  struct passing {
    template <class P>
    passing(const ring_attention& ring, const P& p, arena<space>& memory)
        : along(axis_of(ring.comm_)), keys(p.keys), needed(ring.inner_, p, along) {
      if constexpr (!lends<C>) {
        extent const rows = checked_multiply(checked_multiply(p.batch, keys.most_rows()), p.head.key);
        for (int slot = 0; slot < (along.count > 2 ? 2 : along.count - 1); ++slot) {
          buffers[slot][0] = memory.template take<T>(checked_multiply(rows, p.dim));
          buffers[slot][1] = memory.template take<T>(checked_multiply(rows, p.value_dim));
        }
      }
    }

    int owner_of(int origin, const block<T, space>& mine) const { return owner_at(along, mine.owner, origin); }
    /// A rank's part like mine: its owner's rows and, in everything else, the extents of mine.
    template <class U, class Like>
    view<U, 4, space> arriving(U* at, int origin, const block<T, space>& mine, const Like& like) const {
      extent const* e = like.extents;
      return dense<space>(at, e[batch_axis], keys.rows(owner_of(origin, mine)), e[head_axis], e[dim_axis]);
    }

    axis along;
    layout keys;
    need_table needed;
    T* buffers[2][2] = {};  // [slot][k, v]
  };

  /// Passes the ranks' blocks around, and shows each with its distance behind me, the own one first.
  template <class T, class Visit>
  void pass(const passing<T>& blocks, const block<T, space>& mine, stream on, Visit visit) const {
    auto const receive = [&](int origin, int slot) {
      return parcel<2>{{piece_of(blocks.arriving(blocks.buffers[slot][0], origin, mine, mine.k), role::key),
                        piece_of(blocks.arriving(blocks.buffers[slot][1], origin, mine, mine.v), role::value)}};
    };
    auto const wanted = [&](int rank, int origin) { return blocks.needed(rank, origin, mine.owner); };
    auto const show = [&](int origin, const parcel<2>* held) {
      block<T, space> const theirs{held != nullptr ? view_of<const T, 4, space>(held->pieces[0]) : absent(mine.k),
                                   held != nullptr ? view_of<const T, 4, space>(held->pieces[1]) : absent(mine.v),
                                   blocks.owner_of(origin, mine), mine.first_key};
      visit((comm_.rank() - origin + comm_.size()) % comm_.size(), theirs);
    };
    ring_pass(comm_, parcel<2>{{piece_of(mine.k, role::key), piece_of(mine.v, role::value)}}, receive, wanted, show,
              on);
  }
};

/// Ring attention over a communicator; the inner attention may be a kernel or any other parallelism.
template <communicator C, attention_type A>
ring_attention<C, A> ring(C comm, A inner) {
  return {comm, inner};
}
template <class C, class A>
  requires(!communicator<C>)
not_a_communicator<C> ring(C, A) {
  return {};
}
template <communicator C, class A>
  requires(!attention_type<A>)
not_an_attention<A> ring(C, A) {
  return {};
}

}  // namespace ringfold
