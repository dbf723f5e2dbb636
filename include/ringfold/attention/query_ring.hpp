#pragma once

#include <ringfold/attention/keys_at_home.hpp>
#include <ringfold/collective/direct_return.hpp>
#include <ringfold/core/reject.hpp>

/// \file
/// Query ring attention: queries travel, keys and values stay.

namespace ringfold {

/// An attention whose queries pass around a ring of ranks, each of which attends with them to its own keys and sends
/// the closed partial straight back to their owner, who merges it.
///
/// Keys, values and their gradients never travel, so what is sent does not grow with the number of keys: few queries
/// behind a long cache, or as many key heads as query heads. Queries go from rank to the rank before it, no further than
/// the last one whose keys they see, and a rank whose keys they do not see sends nothing back; the ranks of an inner
/// parallelism count as one in this. Each block that an outer parallelism brings sends the queries around once more.
///
/// **Steps** P - 1 of queries, P - 1 of partials. **Bytes** forward: (P - 1) * rows * heads * dim elements of queries
/// and (P - 1) * rows * heads * (value_dim + 1) accumulators of partials, less what masks spare.
/// **Memory** two blocks of queries (none where memory is lent), the inner state for the largest of them, two partials
/// on their way out, one coming in (none where memory is lent) and one that they are merged into.
/// **Order** the own keys, then partials by distance, block by block. **Overlap** queries travel on, and the partial of
/// the step before travels home, while a block is worked on: both directions of a link at once.
///
/// Backward, queries travel with dout, lse and delta, and gradients of queries come straight back to be added in the
/// same order; those of keys and values are summed at home. **Steps** as forward. **Bytes** (P - 1) * rows * heads *
/// (dim + value_dim) elements and (P - 1) * rows * heads * (dim + 2) accumulators, less what masks spare.
/// **Memory** and **Overlap** likewise.
/// Source: TokenRing (Wang et al., 2024), which has no backward pass; BurstAttention's backward (Sun et al., 2024).
/// \snippet attention/query_ring_test.cpp query_ring
template <communicator C, class A>
class query_ring_attention : public keys_at_home<C, A> {
  using base = keys_at_home<C, A>;
  using base::comm_, base::inner_;

 public:
  using typename base::space, typename base::stream;

  query_ring_attention(C comm, A inner) : base(comm, inner) {}

  template <class P>
  auto state(const P& p, arena<space>& memory) const {
    require_attention<A, P, stream>();
    return circling<P, detail::query_traffic<A, P, space>, state_of<A, P, stream>>(
        *this, p, memory, [this](const P& theirs, arena<space>& from) { return inner_.state(theirs, from); });
  }

  template <class S, class Q>
  void prepare(S& s, Q q, stream on) const {
    inner_.prepare(s.own, q, on);
    s.start(S::traffic::there(q), on);
  }

  template <class S, class T>
  void accumulate(S& s, block<T, space> mine, stream on) const {
    using traffic = typename S::traffic;
    auto const attend = [&](auto& inner, const auto& queries, const auto& result) {
      inner_.prepare(inner, traffic::queries(queries), on);
      inner_.accumulate(inner, mine, on);
      inner_.close(inner, traffic::result(result), on);
    };
    pass(
        s, mine.owner, on, [&] { inner_.accumulate(s.own, mine, on); }, attend);
  }

  template <class S, class Sum, class Base>
  void close(S& s, partial<Sum, space, Base> out, stream on) const {
    typename S::traffic::partial_type const whole{out.o, out.lse};
    inner_.close(s.own, whole, on);
    if (comm_.size() > 1) merge(on, whole, S::traffic::result(s.total));
    convert<Base>(on, whole);
  }

  template <class P>
  auto backward_state(const P& p, arena<space>& memory) const {
    require_differentiable<A, P, stream>();
    return circling<P, detail::gradient_traffic<P, space>, backward_state_of<A, P, stream>>(
        *this, p, memory, [this](const P& theirs, arena<space>& from) { return inner_.backward_state(theirs, from); });
  }

  template <class S, class Q, class T>
  void prepare_backward(S& s, Q q, cotangent<T, space> of_out, stream on) const {
    inner_.prepare_backward(s.own, q, of_out, on);
    s.start(S::traffic::there(q, of_out), on);
  }

  template <class S, class T, class Sum>
  void accumulate_backward(S& s, block<T, space> mine, block_gradient<Sum, space> to, stream on) const {
    using traffic = typename S::traffic;
    auto const attend = [&](auto& inner, const auto& queries, const auto& result) {
      inner_.prepare_backward(inner, traffic::queries(queries), traffic::results(queries), on);
      inner_.accumulate_backward(inner, mine, to, on);
      inner_.close_backward(inner, traffic::result(result), on);
    };
    pass(
        s, mine.owner, on, [&] { inner_.accumulate_backward(s.own, mine, to, on); }, attend);
  }

  template <class S, class Sum>
  void close_backward(S& s, view<Sum, 4, space> of_q, stream on) const {
    inner_.close_backward(s.own, of_q, on);
    if (comm_.size() > 1) on.elementwise(elementwise::add_to{}, of_q, S::traffic::result(s.total));
  }

 private:
  using ring = schedule::reversed_ring;

  /// The inner states, for the own queries and for everybody else's in turn, and what travels.
  template <class P, class Traffic, class Inner>
  struct circling {
    using traffic = Traffic;
    using sent = decltype(Traffic::take_there(std::declval<P>(), 0, std::declval<arena<space>&>()));
    using returned = decltype(Traffic::take_back(std::declval<P>(), 0, std::declval<arena<space>&>()));

    template <class Open>
    circling(const query_ring_attention& around, const P& p, arena<space>& memory, Open open_inner)
        : along(axis_of(around.comm_)),
          queries(p.queries),
          owner(p.owner),
          needed(around.inner_, p, along),
          own(open_inner(p, memory)) {
      int const others = around.comm_.size() - 1;
      if (others == 0) return;
      foreign.reserve(static_cast<std::size_t>(others));
      memory.take_in_turn(others, [&](int turn) {
        P theirs = p;
        theirs.owner = owner_at(along, owner, ring::held(around.comm_.rank(), others + 1, turn + 1));
        foreign.push_back(open_inner(theirs, memory));
      });
      auto const received = [&](auto take, extent rows) {
        if constexpr (lends<C>) {
          arena<space> nowhere;
          auto made = take(p, rows, nowhere);
          for (piece& each : made.pieces) each.data = nullptr;
          return made;
        } else {
          return take(p, rows, memory);
        }
      };
      extent const most = queries.most_rows(), own_rows = queries.rows(owner);
      for (int slot = 0; slot < (others < 2 ? others : 2); ++slot) {
        arriving[slot] = received(Traffic::take_there, most);
        results[slot] = Traffic::take_back(p, most, memory);
      }
      returning = received(Traffic::take_back, own_rows);
      total = Traffic::take_back(p, own_rows, memory);
    }

    void start(const sent& q, stream on) {
      mine = q;
      if (!foreign.empty()) Traffic::clear(on, total);
    }
    extent rows(int member) const { return queries.rows(owner_at(along, owner, member)); }

    axis along;
    layout queries;
    int owner;
    need_table needed;
    Inner own;
    std::vector<Inner> foreign;  // by the step at which their queries are here
    sent mine{}, arriving[2]{};
    returned results[2]{}, returning{}, total{};
  };

  /// Passes all queries around: the own ones meet own(), others attend(inner state, queries, result), whose result goes
  /// home; what others made of mine is folded together.
  template <class S, class Own, class Attend>
  void pass(S& s, int block_owner, stream on, Own own, Attend attend) const {
    using traffic = typename S::traffic;
    int const me = comm_.rank(), size = comm_.size();
    // The inner ranks stay in step: they all take queries up as soon as the keys of one of them are seen.
    auto const seen = [&](int rank, int origin) {
      int const first = owner_at(s.along, block_owner, rank) - inner_.owner();
      for (int index = 0; index < inner_.ranks(); ++index) {
        if (s.needed(origin, first + inner_.owner_of(index))) return true;
      }
      return false;
    };
    // A shard without rows has nothing to send, but its rank takes part.
    auto const travels = [&](int rank, int origin) { return s.rows(origin) > 0 && seen(rank, origin); };
    auto const fold = [&](const auto& into, const auto& from) { traffic::fold(on, into, from); };
    direct_return back(ring{}, comm_, s.total, s.returning, travels, fold, on);
    auto const receive = [&](int origin, int slot) { return dense_rows(s.arriving[slot], s.rows(origin)); };
    auto const visit = [&](int origin, const typename S::sent* held) {
      int const step = (origin - me + size) % size;
      if (step == 0) return own();
      auto const result = dense_rows(s.results[(step - 1) % 2], s.rows(origin));
      if (seen(me, origin)) {
        auto& inner = s.foreign[static_cast<std::size_t>(step - 1)];
        attend(inner, held != nullptr ? *held : receive(origin, 0), result);
      }
      back.step(step, result);
    };
    ring_pass<ring>(comm_, s.mine, receive, travels, visit, on);
    back.finish();
  }
};

/// Query ring attention over a communicator; the inner attention may be a kernel or any other parallelism.
template <communicator C, attention_type A>
query_ring_attention<C, A> query_ring(C comm, A inner) {
  return {comm, inner};
}
template <class C, class A>
  requires(!communicator<C>)
not_a_communicator<C> query_ring(C, A) {
  return {};
}
template <communicator C, class A>
  requires(!attention_type<A>)
not_an_attention<A> query_ring(C, A) {
  return {};
}

}  // namespace ringfold
