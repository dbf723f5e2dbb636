#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <ringfold/algebra/partial.hpp>
#include <ringfold/core/workspace.hpp>
#include <ringfold/sequence/gradient.hpp>

/// \file
/// The three verbs that every local kernel and every parallelism share.

namespace ringfold {

/// What an attention says of itself before it meets a problem.
template <class A>
concept attention_type = std::copyable<A> && requires(const A& a) {
  typename A::stream;
  { a.ranks() } -> std::same_as<int>;
  { a.owner() } -> std::same_as<int>;
  { a.owner_of(int{}) } -> std::same_as<int>;
  { a.fewest_heads() } -> std::same_as<extent>;
};

/// The state that an attention opens for problems P.
template <class A, class P, class Stream>
using state_of =
    decltype(std::declval<const A&>().state(std::declval<const P&>(), std::declval<arena<typename Stream::space>&>()));

namespace detail {
template <class A, class P>
concept has_needs = requires(const A& a, const P& p) {
  { a.needs(p, int{}, int{}) } -> std::same_as<bool>;
};
template <class A, class P, class Stream>
concept has_state = requires { typename state_of<A, P, Stream>; };
template <class A, class P, class Stream>
concept has_prepare = has_state<A, P, Stream> &&
                      requires(const A& a, state_of<A, P, Stream>& s, Stream on,
                               view<const typename P::element, 4, typename Stream::space> q) { a.prepare(s, q, on); };
template <class A, class P, class Stream>
concept has_accumulate = has_state<A, P, Stream> &&
                         requires(const A& a, state_of<A, P, Stream>& s, Stream on,
                                  block<typename P::element, typename Stream::space> kv) { a.accumulate(s, kv, on); };
template <class A, class P, class Stream>
concept has_close = has_state<A, P, Stream> &&
                    requires(const A& a, state_of<A, P, Stream>& s, Stream on,
                             partial<typename P::accumulate, typename Stream::space> out) { a.close(s, out, on); };
}  // namespace detail

/// An attention for problems P: a state is opened, keys are folded into it any number of times, and it is closed.
///
/// - `state(p, arena)` takes all memory there will be; it touches none, so a measuring arena tells the bytes. A state is
///   movable, and keeps nothing in that memory between close() and prepare(): states that are used in turn may share it.
/// - `prepare(s, q, stream)` starts queries q [batch, row, query head, dim], which stay readable until close(): where
///   queries travel, they are read again with each block. The state may be reused for the next call.
/// - `accumulate(s, block, stream)` folds one block in; absent blocks change nothing. Blocks come in any number and
///   order, each (query, key) pair at most once.
/// - `close(s, partial, stream)` writes the normalised output and the log-sum-exp. Rows that saw nothing: 0 and -inf.
/// - `needs(p, q_owner, k_owner)`: whether the block of k_owner changes the state of q_owner. A pure function of the
///   problem: every rank evaluates it for every other, and what nobody needs does not travel.
/// - `ranks()` and `owner()`: how many shards this attention spans, and which of them is the caller's;
///   `owner_of(index)` numbers them all, and `fewest_heads()` is how many query heads its ranks must have to share.
template <class A, class P, class Stream>
concept attention = attention_type<A> && detail::has_needs<A, P> && detail::has_prepare<A, P, Stream> &&
                    detail::has_accumulate<A, P, Stream> && detail::has_close<A, P, Stream>;

/// The state that an attention opens for the backward pass of problems P.
template <class A, class P, class Stream>
using backward_state_of = decltype(std::declval<const A&>().backward_state(
    std::declval<const P&>(), std::declval<arena<typename Stream::space>&>()));

namespace detail {
template <class A, class P>
struct gradient_sum_of {
  using type = typename P::accumulate;
};
template <class A, class P>
  requires requires { typename A::template gradient_sum<P>; }
struct gradient_sum_of<A, P> {
  using type = typename A::template gradient_sum<P>;
};
}  // namespace detail

/// What gradients of keys and values are summed in, at home and on their way: the accumulation type, unless an attention
/// names another by `template <class P> using gradient_sum = ...`. Who has an inner attention names that one's.
///
/// Such a type has scalar_traits, is made from 0, has += of its own and of the accumulation type, and is converted to
/// the accumulation type and the elements explicitly.
template <class A, class P>
using gradient_sum_t = typename detail::gradient_sum_of<A, P>::type;

/// Whether close() writes logarithms of whatever base the partial is of. Of base 2 they are rounded once, as scores are;
/// natural ones twice. An attention that does says so by `static constexpr bool closes_in_any_base = true`, and who has an
/// inner one passes it on.
template <class A>
inline constexpr bool closes_in_any_base = requires { requires A::closes_in_any_base; };

/// Whether results are the same bits at any rank count and under any schedule, as canonical() promises. Such an attention
/// says so by `static constexpr bool is_canonical = true`, and who has an inner one passes it on.
///
/// It sees every key of its queries, in whole chunks: who closes partials apart and merges them, or shows it some rows
/// of a block, breaks the promise, and must refuse one.
template <class A>
inline constexpr bool is_canonical = requires { requires A::is_canonical; };

namespace detail {
template <class A, class P, class Stream>
concept has_backward_state = requires { typename backward_state_of<A, P, Stream>; };
template <class A, class P, class Stream>
concept has_backward =
    has_backward_state<A, P, Stream> && requires(const A& a, backward_state_of<A, P, Stream>& s, Stream on,
                                                 view<const typename P::element, 4, typename Stream::space> q,
                                                 cotangent<typename P::element, typename Stream::space> of_out,
                                                 block<typename P::element, typename Stream::space> kv,
                                                 block_gradient<gradient_sum_t<A, P>, typename Stream::space> of_kv,
                                                 view<typename P::accumulate, 4, typename Stream::space> of_q) {
      a.prepare_backward(s, q, of_out, on);
      a.accumulate_backward(s, kv, of_kv, on);
      a.close_backward(s, of_q, on);
    };
}  // namespace detail

/// An attention with a backward pass: the same three verbs once more.
///
/// - `backward_state(p, arena)` takes all memory, as state() does.
/// - `prepare_backward(s, q, cotangent, stream)` starts queries with what is known of their results; all of it stays
///   readable until close_backward().
/// - `accumulate_backward(s, block, gradient, stream)` adds the block's part to the queries' gradient, which is in the
///   state, and these queries' part to the block's. Absent blocks change nothing, and their gradient has no memory;
///   that of a block that is only on its way through, as no query here needs it, may have none either.
/// - `close_backward(s, dq, stream)` writes the queries' gradient, in the accumulation type.
template <class A, class P, class Stream>
concept differentiable = attention<A, P, Stream> && detail::has_backward<A, P, Stream>;

/// Stands where an attention was expected; naming it fails to compile with one line.
template <class A>
struct not_an_attention {
  static_assert(attention_type<A>,
                "[ringfold] not an attention: derive a kernel from ringfold::local_attention, or add    using stream "
                "= ringfold::host_stream; int ranks() const; int owner() const; int owner_of(int) const; extent "
                "fewest_heads() const;");
};

/// What a parallelism demands of its communicator and its inner attention; the first line of its class.
template <class C, class A>
constexpr void require_same_stream() {
  static_assert(std::is_same_v<typename A::stream, typename C::stream>,
                "[ringfold] the attention and the communicator work on different streams; make both use one");
}

/// Names the one verb that an attention lacks for problems P; the first line of every use of it.
template <class A, class P, class Stream>
constexpr void require_attention() {
  static_assert(detail::has_needs<A, P>,
                "[ringfold] not an attention for this problem: derive it from ringfold::local_attention, or add    "
                "bool needs(const P&, int query_owner, int key_owner) const;");
  static_assert(detail::has_state<A, P, Stream>,
                "[ringfold] not an attention for this problem: add    template <class P> my_state state(const P&, "
                "ringfold::arena<>&) const;");
  if constexpr (detail::has_state<A, P, Stream>) {
    static_assert(detail::has_prepare<A, P, Stream>,
                  "[ringfold] not an attention for this problem: add    void prepare(my_state&, ringfold::view<const "
                  "T, 4> q, stream) const;");
    static_assert(detail::has_accumulate<A, P, Stream>,
                  "[ringfold] not an attention for this problem: add    void accumulate(my_state&, "
                  "ringfold::block<T>, stream) const;");
    static_assert(detail::has_close<A, P, Stream>,
                  "[ringfold] not an attention for this problem: add    void close(my_state&, "
                  "ringfold::partial<Sum>, stream) const;");
  }
}

/// As require_attention(), for a backward pass.
template <class A, class P, class Stream>
constexpr void require_differentiable() {
  require_attention<A, P, Stream>();
  static_assert(decltype(std::declval<const P&>().score.parts)::differentiable,
                "[ringfold] no backward pass for this problem: a score_function lacks its derivative; give it a second "
                "function of (score, token_pair)");
  static_assert(detail::has_backward_state<A, P, Stream>,
                "[ringfold] no backward pass for this problem: add    template <class P> my_state backward_state(const "
                "P&, ringfold::arena<>&) const;");
  if constexpr (detail::has_backward_state<A, P, Stream>) {
    static_assert(detail::has_backward<A, P, Stream>,
                  "[ringfold] no backward pass for this problem: add    void prepare_backward(my_state&, view q, "
                  "cotangent, stream) const; void accumulate_backward(my_state&, block, block_gradient, stream) const; "
                  "void close_backward(my_state&, view dq, stream) const;");
  }
}

/// The part of an attention that every kernel on one rank shares; derive from it.
struct local_attention {
  using stream = host_stream;

  int ranks() const { return 1; }
  int owner() const { return 0; }
  int owner_of(int) const { return 0; }
  extent fewest_heads() const { return 1; }

  template <class P>
  bool needs(const P& p, int query_owner, int key_owner) const {
    return p.batch > 0 && visible(p.mask_of, p.queries.segments(query_owner), p.keys.segments(key_owner));
  }
};

}  // namespace ringfold
