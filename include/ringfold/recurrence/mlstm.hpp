#pragma once

#include <ringfold/recurrence/mlstm_tensors.hpp>
#include <ringfold/recurrence/replay.hpp>
#include <ringfold/recurrence/scaled_matrix.hpp>

/// \file
/// The matrix memory of xLSTM on one rank's tokens, forward and backward.

namespace ringfold {

/// C_t = f_t C_(t-1) + i_t k_t v_t^T, n_t = f_t n_(t-1) + i_t k_t, and out_t = C_t^T q_t / max(|n_t q_t|, 1) with q_t
/// scaled: a matrix memory under exponential gates.
///
/// The state is [batch, heads, dim + 1, value_dim + 1]: C with n as its last column, over e^m, and m in the last row, for
/// each column. Zeros are nothing, whatever their m. Cotangents of states are kept alike, e^m times the numbers before
/// it: a loss that reads C and n as a final state holds them gives its gradients with -m of that state in the last row.
/// Work is done token by token. An output needs the whole state, so that nothing but elements is made while the scan is
/// under way; backward also makes its elements from the state that enters, which forward left.
/// **Memory** backward: the states before every chunk of one head, and those before the tokens of one chunk.
/// Source: xLSTM (Beck et al., 2024).
struct mlstm {
  template <class A>
  using algebra = stabilised<A>;
  template <class T, class Space = host_space>
  using inputs = mlstm_tensors<const T, Space>;
  template <class T, class Space = host_space>
  using gradients = mlstm_tensors<T, Space>;
  static constexpr bool reads_entering_state = true;  ///< summarize_backward does
  static constexpr bool batches_apart = true;         ///< no gradient is a sum over the batch

  extent chunk = 64;  ///< tokens whose states are made again together, in backward

  /// \throws usage_error when the chunk is empty.
  void check() const {
    if (chunk < 1) {
      throw usage_error(say("mlstm: a chunk of %lld tokens; at least 1 is needed", static_cast<long long>(chunk)));
    }
  }

  /// The algebra of its states.
  template <class P>
  auto algebra_for(const P& p, arena<host_space>&) const {
    return algebra<typename P::accumulate>{p.batch, p.heads, p.dim + 1, p.value_dim + 1};
  }

  /// How wide the output of a token and head is.
  template <class P>
  static extent width(const P& p) {
    return p.value_dim;
  }

  /// Rows of one token and states of one head.
  template <class A>
  struct workspace {
    detail::scaled_matrix<A> state, cotangent;
    A *q, *k, *v, *dout, *out;  ///< v ends with 1, and the outputs with what they were divided by, or would be
    A input, forget;            ///< logarithms
    detail::matrix<A> slopes;   ///< of outputs before division, and an exponent, for every token
    detail::replay<A> states;
  };
  template <class P>
  auto forward_workspace(const P& p, extent, arena<host_space>& memory) const {
    return backward_workspace_for(p, 0, memory);
  }
  template <class P>
  auto backward_workspace_for(const P& p, extent most_tokens, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    extent const width = p.value_dim + 1;
    auto const state = detail::take_scaled_matrix<A>(memory, p.dim, width);
    auto const cotangent = detail::take_scaled_matrix<A>(memory, p.dim, width);
    A *const q = memory.take<A>(p.dim), *const k = memory.take<A>(p.dim), *const v = memory.take<A>(width),
             *const dout = memory.take<A>(p.value_dim), *const out = memory.take<A>(width);
    auto const slopes = detail::take_matrix<A>(memory, most_tokens, width + 1);
    return workspace<A>{state,
                        cotangent,
                        q,
                        k,
                        v,
                        dout,
                        out,
                        0,
                        0,
                        slopes,
                        detail::replay<A>(chunk, most_tokens, p.dim * width + 1, memory)};
  }

  /// The element of some tokens: how much they leave of a state, and the one that they make of nothing.
  template <class A, class P, class Operands>
  void summarize(workspace<A>& work, const P& p, const Operands& of, const affine_element<A>& into) const {
    for_each_head(p, [&](extent b, extent h) {
      work.state.set_zero();
      for (extent t = 0; t < of.q.extents[row_axis]; ++t) load(work, p, of, b, t, h), step(work);
      work.state.store(into.value, b, h);
      sum_gates(of, b, h, into.gate);
    });
  }

  /// Nothing but meanwhile() for each head: what an output is divided by needs the state.
  template <class A, class P, class Operands, class F>
  void within(workspace<A>&, const P& p, const Operands&, const view<A, 4>&, F meanwhile) const {
    for_each_head(p, [&](extent, extent) { meanwhile(); });
  }

  /// Adds the outputs to `out`, from the state that enters on; without memory: nothing.
  template <class A, class P, class Operands>
  void carry(workspace<A>& work, const P& p, const Operands& of, const view<const A, 4>& enters,
             const view<A, 4>& out) const {
    for_each_head(p, [&](extent b, extent h) {
      work.state.load(enters, b, h);
      for (extent t = 0; t < of.q.extents[row_axis]; ++t) {
        load(work, p, of, b, t, h), step(work), read(work, p);
        for (extent j = 0; j < p.value_dim; ++j) out(b, t, h, j) += work.out[j];
      }
    });
  }

  /// The element of some tokens for cotangents, from the state that enters, on which what outputs are divided by depends.
  template <class A, class P, class Operands>
  void summarize_backward(workspace<A>& work, const P& p, const Operands& of, const decltype(Operands::v)& dout,
                          const view<const A, 4>& enters, const affine_element<A>& into) const {
    for_each_head(p, [&](extent b, extent h) {
      work.state.load(enters, b, h);
      for (extent t = 0; t < of.q.extents[row_axis]; ++t) {
        load(work, p, of, b, t, h), step(work), read_slopes(work, p, dout, b, t, h);
      }
      work.cotangent.set_zero();
      for (extent t = of.q.extents[row_axis] - 1; t >= 0; --t) {
        load(work, p, of, b, t, h);
        read_backward(work, p, t);
        work.cotangent.exponent() += work.forget;
      }
      work.cotangent.store(into.value, b, h);
      sum_gates(of, b, h, into.gate);
    });
  }

  /// Nothing but meanwhile() for each head.
  template <class A, class P, class Operands, class F>
  void within_backward(workspace<A>&, const P& p, const Operands&, const decltype(Operands::v)&, const mlstm_rows<A>&,
                       F meanwhile) const {
    for_each_head(p, [&](extent, extent) { meanwhile(); });
  }

  /// Adds to the gradients, from the state that enters and the cotangent of the one that leaves; without memory:
  /// nothing. The states are made again.
  template <class A, class P, class Operands>
  void carry_backward(workspace<A>& work, const P& p, const Operands& of, const decltype(Operands::v)& dout,
                      const view<const A, 4>& enters, const view<const A, 4>& leaves, const mlstm_rows<A>& to) const {
    for_each_head(p, [&](extent b, extent h) {
      work.state.load(enters, b, h);
      work.cotangent.load(leaves, b, h);
      auto const forward = [&](extent t) { load(work, p, of, b, t, h), step(work); };
      work.states(of.q.extents[row_axis], work.state.numbers.data, forward, [&](extent t, A* before) {
        // The state after the token is made a third time, as the one before is needed too.
        for (extent i = 0; i < work.states.size; ++i) work.state.numbers.data[i] = before[i];
        forward(t);
        A const share = read_slopes(work, p, dout, b, t, h);
        for (extent d = 0; d < p.dim; ++d) {
          to.q(b, t, h, d) += share * scale_of(p) * detail::dot(work.state.numbers[d], work.slopes[t], p.value_dim + 1);
        }
        read_backward(work, p, t);
        add_gradients(work, p, {{before, p.value_dim + 1}, p.dim}, to, b, t, h);
        work.cotangent.exponent() += work.forget;
      });
    });
  }

 private:
  template <class P>
  static typename P::accumulate scale_of(const P& p) {
    return static_cast<typename P::accumulate>(p.scale);
  }

  template <class A, class P, class Operands>
  static void load(workspace<A>& work, const P& p, const Operands& of, extent b, extent t, extent h) {
    for (extent d = 0; d < p.dim; ++d) work.q[d] = scale_of(p) * static_cast<A>(of.q(b, t, h, d));
    for (extent d = 0; d < p.dim; ++d) work.k[d] = static_cast<A>(of.k(b, t, h, d));
    for (extent j = 0; j < p.value_dim; ++j) work.v[j] = static_cast<A>(of.v(b, t, h, j));
    work.v[p.value_dim] = 1;
    work.input = of.input(b, t, h, 0), work.forget = of.forget(b, t, h, 0);
  }

  template <class A>
  static void step(workspace<A>& work) {
    work.state.exponent() += work.forget;
    work.state.add(work.input, work.k, work.v);
  }

  /// How an output was read off a state, all over e^exponent, which is never below 1.
  template <class A>
  struct reading {
    A exponent, share;  ///< what the numbers of the state were multiplied by
    A divisor, sign;    ///< of n q; 0 where 1 is larger
  };

  template <class A, class P>
  static reading<A> read(workspace<A>& work, const P& p) {
    A const state = work.state.exponent(), exponent = detail::numbers::max(state, A{0});
    A const share = detail::share_of(state, exponent);
    detail::fill(work.out, A{0}, p.value_dim + 1);
    for (extent d = 0; d < p.dim; ++d) {
      detail::add_scaled(work.out, share * work.q[d], work.state.numbers[d], p.value_dim + 1);
    }
    // 1 / e^exponent, but never so little that a query of zero could be divided by it.
    A const one = detail::numbers::max(detail::share_of(A{0}, exponent), A(0x1p-100));
    A const sum = work.out[p.value_dim], size = sum < 0 ? -sum : sum;
    A const divisor = detail::numbers::max(size, one);
    for (extent j = 0; j < p.value_dim; ++j) work.out[j] /= divisor;
    return {exponent, share, divisor, size > one ? sum / size : A{0}};
  }

  /// Reads, and keeps the cotangents of what was divided, the divisor's behind them and then their exponent. Returns what
  /// the numbers of the state were multiplied by.
  template <class A, class P, class V>
  static A read_slopes(workspace<A>& work, const P& p, const V& dout, extent b, extent t, extent h) {
    auto const how = read(work, p);
    A* const slopes = work.slopes[t];
    A sum = 0;
    for (extent j = 0; j < p.value_dim; ++j) {
      A const each = static_cast<A>(dout(b, t, h, j));
      sum = detail::fused(each, work.out[j], sum);
      slopes[j] = each / how.divisor;
    }
    slopes[p.value_dim] = -sum * how.sign / how.divisor;
    slopes[p.value_dim + 1] = -how.exponent;
    return how.share;
  }

  /// The cotangent of the state after a token, from what the token read of it and that of what was left of it.
  template <class A, class P>
  static void read_backward(workspace<A>& work, const P& p, extent t) {
    work.cotangent.add(work.slopes[t][p.value_dim + 1], work.q, work.slopes[t]);
  }

  /// From the cotangent of the state after a token, and the state before it.
  template <class A, class P>
  static void add_gradients(workspace<A>& work, const P& p, detail::scaled_matrix<A> before, const mlstm_rows<A>& to,
                            extent b, extent t, extent h) {
    auto const& cotangent = work.cotangent;
    A const written = detail::share_of(cotangent.exponent(), -work.input);
    A const left = detail::share_of(cotangent.exponent(), -(work.forget + before.exponent()));
    A of_input = 0, of_forget = 0;
    for (extent d = 0; d < p.dim; ++d) {
      A const slope = written * detail::dot(cotangent.numbers[d], work.v, p.value_dim + 1);
      to.k(b, t, h, d) += slope;
      of_input = detail::fused(work.k[d], slope, of_input);
      of_forget += detail::dot(cotangent.numbers[d], before.numbers[d], p.value_dim + 1);
      for (extent j = 0; j < p.value_dim; ++j) {
        to.v(b, t, h, j) = detail::fused(written * work.k[d], cotangent.numbers[d][j], to.v(b, t, h, j));
      }
    }
    to.input(b, t, h, 0) += of_input;
    to.forget(b, t, h, 0) += left * of_forget;
  }

  template <class A, class Operands>
  static void sum_gates(const Operands& of, extent b, extent h, const view<A, 4>& into) {
    double sum = 0;  // as all sums of whole shards are
    for (extent t = 0; t < of.forget.extents[row_axis]; ++t) sum += static_cast<double>(of.forget(b, t, h, 0));
    into(b, h, 0, 0) = static_cast<A>(sum);
  }
};

}  // namespace ringfold
