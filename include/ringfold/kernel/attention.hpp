#pragma once

#include <utility>

#include <ringfold/algebra/partial.hpp>
#include <ringfold/core/workspace.hpp>
#include <ringfold/sequence/problem.hpp>

/// \file
/// The three verbs that every local kernel and every parallelism share.

namespace ringfold {

/// An attention for problems P: a state is opened, keys are folded into it any number of times, and it is closed.
///
/// - `state(p, arena)` takes all memory there will be; it touches none, so a measuring arena tells the bytes.
/// - `prepare(s, q, stream)` starts queries q [batch, row, query head, dim]; the state may be reused for the next call.
/// - `accumulate(s, block, stream)` folds one block in; absent blocks change nothing. Blocks come in any number and
///   order, each (query, key) pair at most once.
/// - `close(s, partial, stream)` writes the normalised output and the log-sum-exp. Rows that saw nothing: 0 and -inf.
/// - `needs(p, q_owner, k_owner)`: whether the block of k_owner changes the state of q_owner. A pure function of the
///   problem: every rank evaluates it for every other, and what nobody needs does not travel.
/// - `ranks()` and `owner()`: how many shards this attention spans, and which of them is the caller's.
template <class A, class P, class Stream>
concept attention = requires(A& a, const A& ca, const P& p, arena<typename Stream::space>& memory,
                             view<const typename P::element, 4, typename Stream::space> q,
                             block<typename P::element, typename Stream::space> kv,
                             partial<typename P::accumulate, typename Stream::space> out, Stream stream) {
  { ca.ranks() } -> std::same_as<int>;
  { ca.owner() } -> std::same_as<int>;
  { ca.needs(p, int{}, int{}) } -> std::same_as<bool>;
  a.prepare(std::declval<decltype(a.state(p, memory))&>(), q, stream);
  a.accumulate(std::declval<decltype(a.state(p, memory))&>(), kv, stream);
  a.close(std::declval<decltype(a.state(p, memory))&>(), out, stream);
};

/// The part of an attention that every kernel on one rank shares; derive from it.
struct local_attention {
  using stream = host_stream;

  int ranks() const { return 1; }
  int owner() const { return 0; }

  template <class P>
  bool needs(const P& p, int query_owner, int key_owner) const {
    return visible(p.mask_of, p.queries.segments(query_owner), p.keys.segments(key_owner));
  }
};

}  // namespace ringfold
