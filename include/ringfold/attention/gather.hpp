#pragma once

#include <ringfold/attention/needs.hpp>
#include <ringfold/collective/all_gather.hpp>
#include <ringfold/core/reject.hpp>

/// \file
/// Gathered attention: every rank's keys and values, a few heads at a time.

namespace ringfold {

/// An attention that gathers the blocks it needs, `heads_at_once` key heads in each exchange, and folds them in.
///
/// **Steps** key heads / heads_at_once, rounded up. **Bytes** forward: (P - 1) * rows * kv heads * (dim + value_dim)
/// elements, less what masks spare: an own block goes only to the ranks that need it.
/// **Memory** two chunks of heads of all other ranks' rows; none where memory is lent.
/// **Order** the own block, then by distance, chunk by chunk. **Overlap** a chunk travels while the one before is folded.
///
/// Backward, each chunk's gradients go straight to their owners once the chunk was worked on.
/// **Steps** twice those. **Bytes** blocks as forward; gradients as many elements of gradient_sum_t, by the ranks that
/// needed the blocks. **Memory** the gradients of one chunk of all other ranks' rows, and of the own rows from every
/// other rank. **Order** the own part, then by rank. **Overlap** blocks as forward; gradients none.
/// Source: Llama 3 (Grattafiori et al., 2024); zhuzilin/ring-flash-attention, llama3 variant.
/// \snippet attention/nesting_test.cpp gather
template <communicator C, class A>
class gather_attention : public queries_at_home<C, A> {
  using base = queries_at_home<C, A>;
  using base::comm_, base::inner_;

 public:
  using typename base::space, typename base::stream;

  /// \throws usage_error when heads_at_once is not positive.
  gather_attention(C comm, A inner, extent heads_at_once) : base(comm, inner), at_once_(heads_at_once) {
    if (at_once_ <= 0) {
      throw usage_error(say("gather: %lld heads at once; at least 1 is needed", static_cast<long long>(at_once_)));
    }
  }

  template <class P>
  auto state(const P& p, arena<space>& memory) const {
    require_attention<A, P, stream>();
    struct open {
      state_of<A, P, stream> inner;
      gathering<typename P::element> blocks;
    };
    return open{inner_.state(p, memory), gathering<typename P::element>(*this, p, memory)};
  }

  template <class S, class T>
  void accumulate(S& s, block<T, space> mine, stream on) const {
    auto const fold = [&](const block<T, space>& theirs) { inner_.accumulate(s.inner, theirs, on); };
    fold(mine);
    gather_chunks(s.blocks, mine, on, fold, [](extent) {});
  }

  template <class P>
  auto backward_state(const P& p, arena<space>& memory) const {
    require_differentiable<A, P, stream>();
    using sum = gradient_sum_t<A, P>;
    struct open {
      backward_state_of<A, P, stream> inner;
      gathering<typename P::element> blocks;
      posting lists;
      sum* gathered[2] = {};  // [k, v] gradients of one chunk of the others' rows
      sum* returned[2] = {};  // [k, v] gradients of one chunk of the own rows, from each other rank
    };
    open made{inner_.backward_state(p, memory), gathering<typename P::element>(*this, p, memory), {}};
    auto const most_pieces = static_cast<std::size_t>(2 * comm_.size());
    made.lists.sends.reserve(most_pieces), made.lists.receives.reserve(most_pieces);
    extent const heads = checked_multiply(p.batch, at_once_ < p.head.key ? at_once_ : p.head.key);
    extent const others = checked_multiply(heads, most_gathered_rows(p));
    extent const own = checked_multiply(checked_multiply(heads, p.keys.most_rows()), comm_.size() - 1);
    made.gathered[0] = memory.template take<sum>(checked_multiply(others, p.dim));
    made.gathered[1] = memory.template take<sum>(checked_multiply(others, p.value_dim));
    made.returned[0] = memory.template take<sum>(checked_multiply(own, p.dim));
    made.returned[1] = memory.template take<sum>(checked_multiply(own, p.value_dim));
    return made;
  }

  template <class S, class T, class Sum>
  void accumulate_backward(S& s, block<T, space> mine, block_gradient<Sum, space> to, stream on) const {
    inner_.accumulate_backward(s.inner, mine, to, on);
    Sum *k = nullptr, *v = nullptr;  // where the next rank's gradients are
    s.lists.clear();
    auto const fold = [&](const block<T, space>& theirs) {
      if (s.lists.sends.empty()) k = s.gathered[0], v = s.gathered[1];
      block_gradient<Sum, space> part{absent(to.k), absent(to.v)};
      if (theirs.present()) {
        part = {like(theirs.k, k), like(theirs.v, v)};
        k += part.k.size(), v += part.v.size();
        on.elementwise(elementwise::set_zero{}, part.k);
        on.elementwise(elementwise::set_zero{}, part.v);
        int const owner = wire(comm_, member_of(s.blocks.along, theirs.owner));
        s.lists.send(piece_of(part.k, role::gradient, owner));
        s.lists.send(piece_of(part.v, role::gradient, owner));
      }
      inner_.accumulate_backward(s.inner, theirs, part, on);
    };
    gather_chunks(s.blocks, mine, on, fold, [&](extent first) { bring_home(s, mine, to, first, on); });
  }

 private:
  /// What gathering needs: who wants which blocks, how long they are, and where two chunks of heads arrive.
  template <class T>
  struct gathering {
    template <class P>
    gathering(const gather_attention& gather, const P& p, arena<space>& memory)
        : along(axis_of(gather.comm_)), keys(p.keys), needed(gather.inner_, p, along) {
      auto const most_pieces = static_cast<std::size_t>(2 * along.count);
      for (posting& each : lists) each.sends.reserve(most_pieces), each.receives.reserve(most_pieces);
      if constexpr (!lends<C>) {
        extent const chunk = gather.at_once_ < p.head.key ? gather.at_once_ : p.head.key;
        extent const rows = checked_multiply(checked_multiply(p.batch, gather.most_gathered_rows(p)), chunk);
        for (int slot = 0; slot < (p.head.key > chunk ? 2 : 1); ++slot) {
          buffers[slot][0] = memory.template take<T>(checked_multiply(rows, p.dim));
          buffers[slot][1] = memory.template take<T>(checked_multiply(rows, p.value_dim));
        }
      }
    }

    axis along;
    layout keys;
    need_table needed;
    posting lists[2];
    T* buffers[2][2] = {};  // [slot][k, v]
  };

  /// The most rows that the other ranks of any line along this axis hold together.
  template <class P>
  extent most_gathered_rows(const P& p) const {
    extent most = 0;
    for (int owner = 0; owner < p.keys.ranks(); ++owner) {
      extent rows = 0;
      for (int member = 0; member < comm_.size(); ++member) {
        rows += p.keys.rows(owner_at(axis_of(comm_), owner, member));
      }
      rows -= p.keys.rows(owner);
      most = rows > most ? rows : most;
    }
    return most;
  }

  range chunk(extent first, extent heads) const { return {first, heads - first < at_once_ ? heads - first : at_once_}; }

  /// A dense view of the extents of another.
  template <class U, class T>
  static view<U, 4, space> like(const view<T, 4, space>& of, U* at) {
    return dense<space>(at, of.extents[0], of.extents[1], of.extents[2], of.extents[3]);
  }

  /// Gathers chunk by chunk of heads, the next one on its way; fold(block) for every other rank's, whether it came or
  /// not, and done(first head) after each chunk.
  template <class T, class Fold, class Done>
  void gather_chunks(gathering<T>& s, const block<T, space>& mine, stream on, Fold fold, Done done) const {
    extent const heads = mine.k.extents[head_axis];
    request_t<C> posted[2];
    or_poison(comm_, [&] {
      if (heads > 0) posted[0] = post(s, mine, 0, on);
      for (extent first = 0, slot = 0; first < heads; first += at_once_, slot = 1 - slot) {
        if (first + at_once_ < heads) posted[1 - slot] = post(s, mine, first + at_once_, on);
        posted[slot].arrived(on);
        visit(s, mine, first, posted[slot], fold);
        if constexpr (lends<C>) posted[slot].release(on);
        posted[slot].reusable(on);
        done(first);
      }
    });
  }

  /// Where the chunk of heads that begins with `first` arrives from the rank at each step.
  template <class T, class F>
  void for_each_origin(gathering<T>& s, const block<T, space>& mine, extent first, F f) const {
    int const me = comm_.rank(), size = comm_.size(), slot = static_cast<int>(first / at_once_ % 2);
    extent const* e = mine.k.extents;
    extent const heads = chunk(first, e[head_axis]).count;
    T *k = s.buffers[slot][0], *v = s.buffers[slot][1];
    for (int step = 1; step <= schedule::direct::steps(size); ++step) {
      int const origin = schedule::direct::from(me, size, step);
      int const owner = owner_at(s.along, mine.owner, origin);
      extent const rows = s.needed(me, origin, mine.owner) ? s.keys.rows(owner) : 0;
      auto const to_k = dense<space>(k, e[0], rows, heads, e[3]);
      auto const to_v = dense<space>(v, e[0], rows, heads, mine.v.extents[3]);
      f(origin, owner, to_k, to_v);
      if (k != nullptr) k += to_k.size(), v += to_v.size();
    }
  }

  template <class T>
  request_t<C> post(gathering<T>& s, const block<T, space>& mine, extent first, stream on) const {
    range const part = chunk(first, mine.k.extents[head_axis]);
    posting& lists = s.lists[first / at_once_ % 2];
    lists.clear();
    for (int step = 1; step <= schedule::direct::steps(comm_.size()); ++step) {
      int const to = schedule::direct::to(comm_.rank(), comm_.size(), step);
      if (!s.needed(to, comm_.rank(), mine.owner)) continue;
      lists.send(piece_of(slice(mine.k, head_axis, part), role::key, wire(comm_, to)));
      lists.send(piece_of(slice(mine.v, head_axis, part), role::value, wire(comm_, to)));
    }
    for_each_origin(s, mine, first, [&](int origin, int, auto to_k, auto to_v) {
      lists.receive(piece_of(to_k, role::key, wire(comm_, origin)));
      lists.receive(piece_of(to_v, role::value, wire(comm_, origin)));
    });
    return lists.post(comm_, on, pattern::all_gather);
  }

  template <class T, class Fold>
  void visit(gathering<T>& s, const block<T, space>& mine, extent first, request_t<C>& posted, Fold fold) const {
    int arrived = 0;
    for_each_origin(s, mine, first, [&](int, int owner, auto to_k, auto to_v) {
      bool const here = to_k.size() > 0;
      block<T, space> theirs{absent(mine.k), absent(mine.v), owner, mine.first_key + first};
      theirs.k.extents[head_axis] = theirs.v.extents[head_axis] = to_k.extents[head_axis];
      if (here) theirs.k = to_k, theirs.v = to_v;
      if constexpr (lends<C>) {
        if (here) theirs.k = view_of<const T, 4, space>(posted.received(arrived++));
        if (here) theirs.v = view_of<const T, 4, space>(posted.received(arrived++));
      }
      fold(theirs);
    });
  }

  /// Sends the others' gradients of a chunk to them, and adds what they found of mine, in the order of ranks.
  template <class S, class T, class Sum>
  void bring_home(S& s, const block<T, space>& mine, const block_gradient<Sum, space>& to, extent first,
                  stream on) const {
    range const part = chunk(first, mine.k.extents[head_axis]);
    block_gradient<Sum, space> const into{slice(to.k, head_axis, part), slice(to.v, head_axis, part)};
    auto const from = [&](int rank) {
      extent const index = rank < comm_.rank() ? rank : rank - 1;
      return block_gradient<Sum, space>{like(into.k, s.returned[0] + index * into.k.size()),
                                        like(into.v, s.returned[1] + index * into.v.size())};
    };
    auto const for_each_reader = [&](auto f) {
      for (int rank = 0; rank < comm_.size(); ++rank) {
        if (rank != comm_.rank() && s.blocks.needed(rank, comm_.rank(), mine.owner)) f(rank);
      }
    };
    for_each_reader([&](int rank) {
      s.lists.receive(piece_of(from(rank).k, role::gradient, wire(comm_, rank)));
      s.lists.receive(piece_of(from(rank).v, role::gradient, wire(comm_, rank)));
    });
    s.lists.run(comm_, on, pattern::all_to_all);
    for_each_reader([&](int rank) {
      on.elementwise(elementwise::add_to{}, into.k, from(rank).k);
      on.elementwise(elementwise::add_to{}, into.v, from(rank).v);
    });
    s.lists.clear();
  }

  extent at_once_;
};

/// Gathered attention over a communicator, `heads_at_once` key heads in each exchange.
template <communicator C, attention_type A>
gather_attention<C, A> gather(C comm, A inner, extent heads_at_once = 1) {
  return {comm, inner, heads_at_once};
}
template <class C, class A>
  requires(!communicator<C>)
not_a_communicator<C> gather(C, A, extent = 1) {
  return {};
}
template <communicator C, class A>
  requires(!attention_type<A>)
not_an_attention<A> gather(C, A, extent = 1) {
  return {};
}

}  // namespace ringfold
