#pragma once

#include <ringfold/algebra/exponential.hpp>
#include <ringfold/kernel/attention.hpp>
#include <ringfold/kernel/operands.hpp>

/// \file
/// Attention on one rank, one key at a time: the definition that faster kernels are held against.

namespace ringfold {

namespace detail {

template <class P>
struct reference_state {
  using A = typename P::accumulate;
  P p;
  A factor;
  view<A, 4> q, o;
  view<A, 3> maximum, sum;
};

template <class P>
struct reference_backward_state {
  using T = typename P::element;
  using A = typename P::accumulate;
  P p;
  A factor, scale;
  view<const T, 4> q;  // as given to prepare_backward()
  cotangent<T> of_out;
  view<A, 4> dq;
};

/// The running softmax of one query: its largest score so far, the sum of weights and of weighted values.
///
/// `kept(weight)` is what a weight counts for among the values.
template <class A, class T, class Kept>
void fold_key(A score, Kept kept, A& maximum, A& sum, A* o, const T* value, extent stride, extent dim) {
  using exponential::exp2, numbers::fma, numbers::max;
  A const none = A(-__builtin_inf()), before = maximum;
  maximum = max(before, score);
  A const top = maximum == none ? A(0.0) : maximum;  // -inf less -inf is not a number
  A const keep = exp2(before - top), weight = exp2(score - top);
  sum = fma(sum, keep, weight);
  A const counts = kept(weight);
  for (extent d = 0; d < dim; ++d) o[d] = fma(counts, A(value[d * stride]), o[d] * keep);
}

/// What dropout leaves of a weight, or of the gradient of what is left.
template <class P, class A>
A kept_of(const P& p, A weight, const token_pair& at) {
  if constexpr (decltype(p.score.parts)::drops) {
    return numbers::fma(weight, p.score.parts.template keep<A>(at), A(0.0));
  } else {
    return weight;
  }
}

/// The score of a pair, in units of log2, from q . k.
template <class P, class A>
A score_of(const P& p, A dot, A factor, const token_pair& at) {
  using numbers::fma;
  if constexpr (decltype(p.score.parts)::changes) {
    return fma(p.score.parts(fma(dot, A(p.score.scale), A(0.0)), at), A(log2_of_e), A(0.0));
  } else {
    return fma(dot, factor, A(0.0));  // rounded, so that nothing can contract it with what follows
  }
}

}  // namespace detail

/// Online softmax in the accumulation type, one (query, key) pair after the other; scores in units of log2.
///
/// Any number type serves: one with scalar_traits, made from double, with + - * / < == and, found by
/// argument-dependent lookup, exp2, log2, fma and max. It must be trivially copyable.
/// Queries are copied by prepare(); keys and values are read during accumulate() only.
/// Numbers that are not finite go through IEEE arithmetic. Memory: batch * rows * heads * (dim + value_dim + 2) accumulators.
/// Source: Milakov and Gimelshein, Online normalizer calculation for softmax (2018).
struct reference_kernel : local_attention {
  static constexpr bool closes_in_any_base = true;

  /// \throws size_overflow, or usage_error when the arena is too small.
  template <class P>
  detail::reference_state<P> state(const P& p, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    extent const rows = p.queries.rows(p.owner), heads = p.head.query;
    detail::reference_state<P> s{p, A(p.score.scale * detail::log2_of_e), {}, {}, {}, {}};
    s.q = memory.take_view<A>(p.batch, rows, heads, p.dim);
    s.o = memory.take_view<A>(p.batch, rows, heads, p.value_dim);
    s.maximum = memory.take_view<A>(p.batch, rows, heads);
    s.sum = memory.take_view<A>(p.batch, rows, heads);
    return s;
  }

  /// \throws shape_error when q is not [batch, rows of the owner, query heads, dim].
  template <class P>
  void prepare(detail::reference_state<P>& s, view<const typename P::element, 4> q, host_stream on) const {
    using A = typename P::accumulate;
    detail::check_queries(s.p, q);
    on.elementwise([](A& to, const auto& from) { to = A(from); }, s.q, q);
    on.elementwise([](A& o) { o = A(0.0); }, s.o);
    on.elementwise([](A& maximum, A& sum) { maximum = A(-__builtin_inf()), sum = A(0.0); }, s.maximum, s.sum);
  }

  /// \throws shape_error when the block does not fit the problem, usage_error when its owner does not exist.
  template <class P>
  void accumulate(detail::reference_state<P>& s, block<typename P::element> kv, host_stream) const {
    if (!kv.present()) return;
    const P& p = s.p;
    detail::check_block(p, kv);
    p.queries.for_each_position(p.owner, [&](extent row, extent query) {
      p.keys.for_each_position(kv.owner, [&](extent key_row, extent key) {
        if (p.mask_of.allows(query, key)) fold(s, kv, row, query, key_row, key);
      });
    });
  }

  /// \throws shape_error when the partial does not fit the problem.
  template <class P, class Base>
  void close(detail::reference_state<P>& s, partial<typename P::accumulate, host_space, Base> out, host_stream) const {
    using A = typename P::accumulate;
    using exponential::log2;
    const P& p = s.p;
    detail::check_partial(p, out);
    for (extent b = 0; b < p.batch; ++b) {
      for (extent row = 0; row < s.q.extents[row_axis]; ++row) {
        for (extent head = 0; head < p.head.query; ++head) {
          A const sum = s.sum(b, row, head);
          bool const empty = sum == A(0.0);
          out.lse(b, row, head) =
              empty ? A(-__builtin_inf()) : detail::log_sum<Base>(s.maximum(b, row, head), log2(sum));
          for (extent d = 0; d < p.value_dim; ++d) {
            out.o(b, row, head, d) = empty ? A(0.0) : s.o(b, row, head, d) / sum;
          }
        }
      }
    }
  }

  /// \throws size_overflow, or usage_error when the arena is too small.
  template <class P>
  detail::reference_backward_state<P> backward_state(const P& p, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    detail::reference_backward_state<P> s{p, A(p.score.scale * detail::log2_of_e), A(p.score.scale), {}, {}, {}};
    s.dq = memory.take_view<A>(p.batch, p.queries.rows(p.owner), p.head.query, p.dim);
    return s;
  }

  /// What is given stays readable until close_backward(). \throws shape_error when q does not fit the problem.
  template <class P>
  void prepare_backward(detail::reference_backward_state<P>& s, view<const typename P::element, 4> q,
                        cotangent<typename P::element> of_out, host_stream on) const {
    detail::check_queries(s.p, q);
    s.q = q;
    s.of_out = of_out;
    on.elementwise(elementwise::set_zero{}, s.dq);
  }

  /// \throws shape_error when the block does not fit the problem, usage_error when its owner does not exist.
  template <class P>
  void accumulate_backward(detail::reference_backward_state<P>& s, block<typename P::element> kv,
                           block_gradient<typename P::accumulate> to, host_stream) const {
    if (!kv.present()) return;
    const P& p = s.p;
    detail::check_block(p, kv);
    p.queries.for_each_position(p.owner, [&](extent row, extent query) {
      p.keys.for_each_position(kv.owner, [&](extent key_row, extent key) {
        if (p.mask_of.allows(query, key)) fold_back(s, kv, to, row, query, key_row, key);
      });
    });
  }

  /// Writes the gradient of the queries.
  template <class P>
  void close_backward(detail::reference_backward_state<P>& s, view<typename P::accumulate, 4> dq,
                      host_stream on) const {
    on.copy(piece_of(dq, role::gradient), piece_of(s.dq, role::gradient));
  }

 private:
  /// One pair's part of all three gradients: the weight p of the key, and p * (dout . v - delta), that of its score.
  template <class P>
  static void fold_back(detail::reference_backward_state<P>& s, const block<typename P::element>& kv,
                        const block_gradient<typename P::accumulate>& to, extent row, extent query, extent key_row,
                        extent key) {
    using A = typename P::accumulate;
    using exponential::exp2, detail::numbers::fma;
    const P& p = s.p;
    auto const range = detail::readers(p.head, kv.first_key, kv.k.extents[head_axis]);
    for (extent b = 0; b < p.batch; ++b) {
      for (extent head = range.first; head < range.first + range.count; ++head) {
        A const lse = s.of_out.lse(b, row, head);
        if (lse == A(-__builtin_inf())) continue;  // the row saw nothing
        extent const h = (p.head.first_query + head) / p.head.group - kv.first_key;
        A dot = A(0.0), gain = A(0.0);
        for (extent d = 0; d < p.dim; ++d) dot = fma(A(s.q(b, row, head, d)), A(kv.k(b, key_row, h, d)), dot);
        for (extent d = 0; d < p.value_dim; ++d) {
          gain = fma(A(s.of_out.dout(b, row, head, d)), A(kv.v(b, key_row, h, d)), gain);
        }
        token_pair const at = p.pair_of(b, head, query, key);
        A const score = detail::score_of(p, dot, s.factor, at);
        if (score == A(-__builtin_inf())) continue;
        A const weight = exp2(fma(lse, A(-detail::log2_of_e), score)), kept = detail::kept_of(p, weight, at);
        A of_score = weight * (detail::kept_of(p, gain, at) - s.of_out.delta(b, row, head));
        p.score.parts.collect(of_score, at);
        if constexpr (decltype(p.score.parts)::bends) of_score = of_score * p.score.parts.slope(dot * s.scale, at);
        of_score = of_score * s.scale;
        for (extent d = 0; d < p.dim; ++d) {
          A& dq = s.dq(b, row, head, d);
          A& dk = to.k(b, key_row, h, d);
          dq = fma(of_score, A(kv.k(b, key_row, h, d)), dq);
          dk = fma(of_score, A(s.q(b, row, head, d)), dk);
        }
        for (extent d = 0; d < p.value_dim; ++d) {
          A& dv = to.v(b, key_row, h, d);
          dv = fma(kept, A(s.of_out.dout(b, row, head, d)), dv);
        }
      }
    }
  }

  /// Folds one key row into one query row, for every batch and head.
  template <class P>
  static void fold(detail::reference_state<P>& s, const block<typename P::element>& kv, extent row, extent query,
                   extent key_row, extent key) {
    using A = typename P::accumulate;
    using detail::numbers::fma;
    const P& p = s.p;
    auto const range = detail::readers(p.head, kv.first_key, kv.k.extents[head_axis]);
    for (extent b = 0; b < p.batch; ++b) {
      for (extent head = range.first; head < range.first + range.count; ++head) {
        extent const key_head = (p.head.first_query + head) / p.head.group - kv.first_key;
        const A* const q = &s.q(b, row, head, 0);
        const auto* const k = &kv.k(b, key_row, key_head, 0);
        A dot = A(0.0);
        for (extent d = 0; d < p.dim; ++d) dot = fma(q[d], A(k[d * kv.k.strides[dim_axis]]), dot);
        token_pair const at = p.pair_of(b, head, query, key);
        detail::fold_key(
            detail::score_of(p, dot, s.factor, at), [&](A weight) { return detail::kept_of(p, weight, at); },
            s.maximum(b, row, head), s.sum(b, row, head), &s.o(b, row, head, 0), &kv.v(b, key_row, key_head, 0),
            kv.v.strides[dim_axis], p.value_dim);
      }
    }
  }
};

}  // namespace ringfold
