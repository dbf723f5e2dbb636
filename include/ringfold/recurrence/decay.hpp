#pragma once

#include <ringfold/recurrence/decay_gradients.hpp>
#include <ringfold/recurrence/problem.hpp>

/// \file
/// Linear attention with decay, on one rank's tokens, forward and backward.

namespace ringfold {

/// What a rule with decay reads (const T), or its gradients.
///
/// q and k [batch, rows, heads, dim], v with value_dim, gates as gating says. Gradients have the extents of what they
/// are of; those of gates per head are of the caller's rows alone, as a data-parallel gradient: add them up over the ranks.
template <class T, gating Gates, class Space = host_space>
struct decay_tensors {
  using element = T;
  using sum = detail::const_like<T, accumulate_t<std::remove_const_t<T>>>;
  static constexpr bool are_gradients = !std::is_const_v<T>;
  static constexpr std::array<const char*, 4> names = {"dq", "dk", "dv", "dgates"};
  static constexpr std::array<bool, 4> rounded = {true, true, true, false};  ///< which are of elements, not of sums

  argument<T, 4, Space> q, k, v;
  argument<sum, gate_axes<Gates>, Space> gates;

  auto members() { return std::tie(q, k, v, gates); }
  auto members() const { return std::tie(q, k, v, gates); }

  template <class P>
  static std::array<tensor_extents, 4> extents(const P& p, extent rows) {
    return {{{{p.batch, rows, p.heads, p.dim}},
             {{p.batch, rows, p.heads, p.dim}},
             {{p.batch, rows, p.heads, p.value_dim}},
             detail::extents_of_gates<Gates>(p, rows)}};
  }

  /// \throws usage_error when a number is none that the rule takes.
  void check_numbers(const char* call) const { detail::check_gate_signs(call, gates.at); }

  /// As the verbs read or add to them.
  template <class P>
  auto operands(const P& p, extent rows) const {
    auto const spread = detail::spread<Gates>(gates.at, p.batch, rows);
    if constexpr (are_gradients) {
      return recurrence_gradients<T, Space>{q.at, k.at, v.at, spread};
    } else {
      return recurrence_operands<std::remove_const_t<T>, Space>{q.at, k.at, v.at, spread};
    }
  }
};

/// S_t = Diag(exp(g_t)) S_(t-1) + k_t v_t^T and out_t = scale q_t S_t, in chunks.
///
/// Sums are in float, in double for double. Any number of tokens is right, none included; `chunk` changes the order of
/// sums and the cost, chunk (dim + value_dim) + 2 dim value_dim multiply-adds a token, and nothing else.
/// Source: Linear Attention (Katharopoulos et al., 2020), RetNet (2023), GLA and Mamba-2 (2024).
template <gating Gates>
struct decay {
  static constexpr gating gates = Gates;
  static constexpr transition kind = Gates == gating::none      ? transition::identity
                                     : Gates == gating::per_row ? transition::diagonal
                                                                : transition::scalar;
  template <class A>
  using algebra = affine<A, kind>;
  template <class T, class Space = host_space>
  using inputs = decay_tensors<const T, Gates, Space>;
  template <class T, class Space = host_space>
  using gradients = decay_tensors<T, Gates, Space>;

  /// The states of a problem: [batch, heads, dim, value_dim].
  template <class P>
  static algebra<typename P::accumulate> algebra_for(const P& p, arena<host_space>&) {
    return {p.batch, p.heads, p.dim, p.value_dim};
  }
  /// How wide the output of a token and head is.
  template <class P>
  static extent width(const P& p) {
    return p.value_dim;
  }

  extent chunk = 64;

  /// \throws usage_error when the chunk is empty.
  void check() const {
    if (chunk < 1) {
      throw usage_error(say("decay: a chunk of %lld tokens; at least 1 is needed", static_cast<long long>(chunk)));
    }
  }

  /// Scratch for parts of at most so many tokens.
  template <class A>
  struct workspace {
    detail::decay_chunk<A> tokens;
    detail::matrix<A> state;
  };
  template <class P>
  auto forward_workspace(const P& p, extent most_tokens, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    extent const most = most_tokens < chunk ? most_tokens : chunk;
    detail::decay_chunk<A> tokens(most, p.dim, p.value_dim, memory);
    return workspace<A>{tokens, detail::take_matrix<A>(memory, p.dim, p.value_dim)};
  }

  /// The element of some tokens: how much they leave of a state, and the state that they make of zero.
  template <class A, class P, class Operands>
  void summarize(workspace<A>& work, const P& p, const Operands& of, const affine_element<A>& into) const {
    sum_gates(of.gates, p, of.k.extents[row_axis], into.gate);
    for_each_head(p, [&](extent b, extent h) {
      detail::fill(work.state.data, A{0}, p.dim * p.value_dim);
      for_each_chunk(of.k.extents[row_axis], [&](extent first, extent count) {
        work.tokens.load(of, b, h, first, count, scale_of(p));
        work.tokens.write(work.state);
      });
      detail::store_state(work.state, b, h, into.value);
    });
  }

  /// Adds to `out` what the tokens of each chunk read of each other: all that needs no state. Calls meanwhile() for each
  /// head.
  template <class A, class P, class Operands, class F>
  void within(workspace<A>& work, const P& p, const Operands& of, const view<A, 4>& out, F meanwhile) const {
    for_each_head(p, [&](extent b, extent h) {
      for_each_chunk(of.k.extents[row_axis], [&](extent first, extent count) {
        work.tokens.load(of, b, h, first, count, scale_of(p));
        work.tokens.read_each_other();
        detail::add_rows(out, b, h, first, count, A{1}, work.tokens.out);
      });
      meanwhile();
    });
  }

  /// Adds to `out` what the tokens read of the state before their chunk, from the one that enters on; without memory: 0.
  template <class A, class P, class Operands>
  void carry(workspace<A>& work, const P& p, const Operands& of, const view<const A, 4>& enters,
             const view<A, 4>& out) const {
    for_each_head(p, [&](extent b, extent h) {
      detail::load_state(enters, b, h, work.state, p.dim);
      for_each_chunk(of.k.extents[row_axis], [&](extent first, extent count) {
        work.tokens.load(of, b, h, first, count, scale_of(p));
        work.tokens.read(work.state);
        detail::add_rows(out, b, h, first, count, A{1}, work.tokens.out);
        work.tokens.write(work.state);
      });
    });
  }

  /// Scratch for gradients of parts of at most so many tokens: with the states before all chunks of one head.
  template <class A>
  struct backward_workspace {
    detail::decay_gradients<A> tokens;
    detail::matrix<A> states;  ///< one behind the other
    detail::matrix<A> dstate;
  };
  template <class P>
  auto backward_workspace_for(const P& p, extent most_tokens, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    extent const most = most_tokens < chunk ? most_tokens : chunk, chunks = (most_tokens + chunk - 1) / chunk;
    detail::decay_gradients<A> tokens(most, p.dim, p.value_dim, memory);
    return backward_workspace<A>{tokens,
                                 detail::take_matrix<A>(memory, checked_multiply(chunks + 1, p.dim), p.value_dim),
                                 detail::take_matrix<A>(memory, p.dim, p.value_dim)};
  }

  /// The element of some tokens for cotangents: how much they leave of one, and what they make of zero.
  template <class A, class P, class Operands>
  void summarize_backward(backward_workspace<A>& work, const P& p, const Operands& of,
                          const decltype(Operands::v)& dout, const affine_element<A>& into) const {
    sum_gates(of.gates, p, of.k.extents[row_axis], into.gate);
    for_each_head(p, [&](extent b, extent h) {
      detail::fill(work.dstate.data, A{0}, p.dim * p.value_dim);
      for_each_chunk_backward(of.k.extents[row_axis], [&](extent first, extent count) {
        work.tokens.load(of, dout, b, h, first, count, scale_of(p));
        work.tokens.read_backward(work.dstate);
      });
      detail::store_state(work.dstate, b, h, into.value);
    });
  }

  /// Adds to the gradients what the tokens of each chunk make of each other's: all that needs no state. Calls meanwhile() for each
  /// head.
  template <class A, class P, class Operands, class F>
  void within_backward(backward_workspace<A>& work, const P& p, const Operands& of, const decltype(Operands::v)& dout,
                       const recurrence_gradients<A>& to, F meanwhile) const {
    for_each_head(p, [&](extent b, extent h) {
      for_each_chunk(of.k.extents[row_axis], [&](extent first, extent count) {
        work.tokens.load(of, dout, b, h, first, count, scale_of(p));
        work.tokens.from_each_other();
        work.tokens.add_to(to, b, h, first, scale_of(p));
      });
      meanwhile();
    });
  }

  /// Adds what states and their cotangents make, from the state that enters and the cotangent of the one that leaves;
  /// without memory: 0. The states before the chunks are made again.
  template <class A, class P, class Operands>
  void carry_backward(backward_workspace<A>& work, const P& p, const Operands& of, const decltype(Operands::v)& dout,
                      const view<const A, 4>& enters, const view<const A, 4>& leaves,
                      const recurrence_gradients<A>& to) const {
    extent const tokens = of.k.extents[row_axis];
    auto const before = [&](extent first) {
      return detail::matrix<A>{work.states[first / chunk * p.dim], p.value_dim};
    };
    for_each_head(p, [&](extent b, extent h) {
      detail::load_state(enters, b, h, before(0), p.dim);
      for_each_chunk(tokens, [&](extent first, extent count) {
        auto const now = before(first), next = before(first + chunk);
        for (extent i = 0; i < p.dim * p.value_dim; ++i) next.data[i] = now.data[i];
        work.tokens.load(of, dout, b, h, first, count, scale_of(p));
        work.tokens.write(next);
      });
      detail::load_state(leaves, b, h, work.dstate, p.dim);
      for_each_chunk_backward(tokens, [&](extent first, extent count) {
        work.tokens.load(of, dout, b, h, first, count, scale_of(p));
        work.tokens.from_state(before(first));
        work.tokens.from_cotangent(work.dstate, before(first));
        work.tokens.add_to(to, b, h, first, scale_of(p));
        work.tokens.read_backward(work.dstate);
      });
    });
  }

 private:
  template <class P>
  static typename P::accumulate scale_of(const P& p) {
    return static_cast<typename P::accumulate>(p.scale);
  }
  template <class P, class F>
  static void for_each_head(const P& p, F f) {
    for (extent b = 0; b < p.batch; ++b) {
      for (extent h = 0; h < p.heads; ++h) f(b, h);
    }
  }
  template <class F>
  void for_each_chunk(extent tokens, F f) const {
    for (extent first = 0; first < tokens; first += chunk) f(first, tokens - first < chunk ? tokens - first : chunk);
  }

  template <class F>
  void for_each_chunk_backward(extent tokens, F f) const {
    for (extent first = (tokens - 1) / chunk * chunk; first >= 0 && tokens > 0; first -= chunk) {
      f(first, tokens - first < chunk ? tokens - first : chunk);
    }
  }

  /// Sums of a whole shard are in double: slow gates over many tokens would lose in float what the chunks keep.
  template <class Gate, class P, class A>
  static void sum_gates(const Gate& from, const P& p, extent rows, const view<A, 4>& into) {
    if constexpr (Gates != gating::none) {
      for_each_head(p, [&](extent b, extent h) {
        for (extent d = 0; d < into.extents[2]; ++d) {
          double sum = 0;
          for (extent row = 0; row < rows; ++row) sum += static_cast<double>(from(b, row, h, d));
          into(b, h, d, 0) = static_cast<A>(sum);
        }
      });
    }
  }
};

}  // namespace ringfold
