#pragma once

#include <ringfold/attention/needs.hpp>
#include <ringfold/collective/ring_pass.hpp>
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
/// Source: Ring Attention (Liu et al., 2023); double ring: LoongTrain, BurstAttention.
/// \snippet attention/nesting_test.cpp ring
template <communicator C, class A>
class ring_attention {
  static_assert((require_same_stream<C, A>(), true));

 public:
  using stream = stream_t<C>;
  using space = space_t<C>;

  ring_attention(C comm, A inner) : comm_(comm), inner_(inner) {}

  int ranks() const { return comm_.size() * inner_.ranks(); }
  int owner() const { return comm_.rank() * axis_of(comm_).stride + inner_.owner(); }

  template <class P>
  bool needs(const P& p, int query_owner, int key_owner) const {
    return any_member_needs(inner_, p, axis_of(comm_), query_owner, key_owner);
  }

  template <class P>
  auto state(const P& p, arena<space>& memory) const {
    require_attention<A, P, stream>();
    using element = typename P::element;
    struct open {
      state_of<A, P, stream> inner;
      layout keys;
      need_table needed;
      element* buffers[2][2] = {};  // [slot][k, v]
    };
    open made{inner_.state(p, memory), p.keys, need_table(inner_, p, axis_of(comm_))};
    if constexpr (!lends<C>) {
      extent const rows = checked_multiply(checked_multiply(p.batch, p.keys.most_rows()), p.head.key);
      for (int slot = 0; slot < (comm_.size() > 2 ? 2 : comm_.size() - 1); ++slot) {
        made.buffers[slot][0] = memory.template take<element>(checked_multiply(rows, p.dim));
        made.buffers[slot][1] = memory.template take<element>(checked_multiply(rows, p.value_dim));
      }
    }
    return made;
  }

  template <class S, class Q>
  void prepare(S& s, Q q, stream on) const {
    inner_.prepare(s.inner, q, on);
  }

  template <class S, class T>
  void accumulate(S& s, block<T, space> mine, stream on) const {
    axis const along = axis_of(comm_);
    // An arriving block has its owner's rows and, in everything else, the extents of mine.
    auto const receive = [&](int origin, int slot) {
      extent const* e = mine.k.extents;
      extent const rows = s.keys.rows(owner_at(along, mine.owner, origin));
      return parcel<2>{{piece_of(dense<space>(s.buffers[slot][0], e[0], rows, e[2], e[3]), role::key),
                        piece_of(dense<space>(s.buffers[slot][1], e[0], rows, e[2], mine.v.extents[3]), role::value)}};
    };
    auto const wanted = [&](int rank, int origin) { return s.needed(rank, origin, mine.owner); };
    auto const visit = [&](int origin, const parcel<2>* held) {
      block<T, space> theirs{{}, {}, owner_at(along, mine.owner, origin), mine.first_key};
      theirs.k = held != nullptr ? view_of<const T, 4, space>(held->pieces[0]) : absent(mine.k);
      theirs.v = held != nullptr ? view_of<const T, 4, space>(held->pieces[1]) : absent(mine.v);
      inner_.accumulate(s.inner, theirs, on);
    };
    ring_pass(comm_, parcel<2>{{piece_of(mine.k, role::key), piece_of(mine.v, role::value)}}, receive, wanted, visit,
              on);
  }

  template <class S, class Out>
  void close(S& s, Out out, stream on) const {
    inner_.close(s.inner, out, on);
  }

 private:
  mutable C comm_;
  A inner_;
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
