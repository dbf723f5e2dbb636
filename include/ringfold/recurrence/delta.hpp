#pragma once

#include <ringfold/recurrence/chunkwise.hpp>
#include <ringfold/recurrence/dense_chunk.hpp>

/// \file
/// Delta rules and diagonal-plus-low-rank transitions, on one rank's tokens, forward and backward.

namespace ringfold {

/// What a delta rule reads (const T), or its gradients.
///
/// q and k [batch, rows, heads, dim], v with value_dim, beta [batch, rows, heads], gates as gating says. Gradients have
/// the extents of what they are of; those of gates per head are of the caller's rows alone, to be added over the ranks.
template <class T, gating Gates, class Space = host_space>
struct delta_tensors {
  using element = T;
  using sum = detail::sum_like<T>;
  static constexpr bool are_gradients = !std::is_const_v<T>;
  static constexpr std::array<const char*, 5> names = {"dq", "dk", "dv", "dbeta", "dgates"};
  static constexpr std::array<bool, 5> rounded = {true, true, true, false, false};

  argument<T, 4, Space> q, k, v;
  argument<sum, 3, Space> beta;
  argument<sum, gate_axes<Gates>, Space> gates;

  auto members() { return std::tie(q, k, v, beta, gates); }
  auto members() const { return std::tie(q, k, v, beta, gates); }

  template <class P>
  static std::array<tensor_extents, 5> extents(const P& p, extent rows) {
    tensor_extents const of_rows{{p.batch, rows, p.heads, p.dim}}, of_values{{p.batch, rows, p.heads, p.value_dim}};
    return {of_rows, of_rows, of_values, of_rows, detail::extents_of_gates<Gates>(p, rows)};
  }

  /// \throws usage_error when a gate is positive, or a beta outside [0, 2], or either not a number.
  void check_numbers(const char* call) const {
    detail::check_gate_signs(call, gates.at);
    detail::check_each(call, "beta", beta.at, "from 0 to 2, where keys of length 1 let no state grow",
                       [](auto each) { return each >= 0 && each <= 2; });
  }

  /// As the verbs read or add to them.
  template <class P>
  auto operands(const P& p, extent rows) const {
    auto const of_gates = detail::spread<Gates>(gates.at, p.batch, rows);
    auto const of_beta = detail::spread<gating::per_token>(beta.at, p.batch, rows);
    if constexpr (are_gradients) {
      return delta_gradients<T, Space>{q.at, k.at, v.at, of_beta, of_gates};
    } else {
      return delta_operands<std::remove_const_t<T>, Space>{q.at, k.at, v.at, of_beta, of_gates};
    }
  }
};

/// What a diagonal-plus-low-rank rule reads (const T), or its gradients.
///
/// q, k, a and b [batch, rows, heads, dim], v with value_dim, gates as gating says. Gradients have the extents of what
/// they are of; those of gates per head are of the caller's rows alone, to be added over the ranks.
template <class T, gating Gates, class Space = host_space>
struct dplr_tensors {
  using element = T;
  using sum = detail::sum_like<T>;
  static constexpr bool are_gradients = !std::is_const_v<T>;
  static constexpr std::array<const char*, 6> names = {"dq", "dk", "dv", "da", "db", "dgates"};
  static constexpr std::array<bool, 6> rounded = {true, true, true, true, true, false};

  argument<T, 4, Space> q, k, v, a, b;
  argument<sum, gate_axes<Gates>, Space> gates;

  auto members() { return std::tie(q, k, v, a, b, gates); }
  auto members() const { return std::tie(q, k, v, a, b, gates); }

  template <class P>
  static std::array<tensor_extents, 6> extents(const P& p, extent rows) {
    tensor_extents const of_rows{{p.batch, rows, p.heads, p.dim}}, of_values{{p.batch, rows, p.heads, p.value_dim}};
    return {of_rows, of_rows, of_values, of_rows, of_rows, detail::extents_of_gates<Gates>(p, rows)};
  }

  /// \throws usage_error when a gate is positive, or not a number.
  void check_numbers(const char* call) const { detail::check_gate_signs(call, gates.at); }

  /// As the verbs read or add to them.
  template <class P>
  auto operands(const P& p, extent rows) const {
    auto const of_gates = detail::spread<Gates>(gates.at, p.batch, rows);
    if constexpr (are_gradients) {
      return dplr_gradients<T, Space>{q.at, k.at, v.at, a.at, b.at, of_gates};
    } else {
      return dplr_operands<std::remove_const_t<T>, Space>{q.at, k.at, v.at, a.at, b.at, of_gates};
    }
  }
};

namespace detail::inline RINGFOLD_SIMD {

template <gating Gates>
struct dense_terms {
  static constexpr gating gates = Gates;
  static constexpr transition kind = transition::dense;
  template <class A>
  using chunk = dense_chunk<A>;
  template <class A>
  using chunk_gradients = dense_gradients<A>;
};

template <gating Gates>
struct delta_terms : dense_terms<Gates> {
  static constexpr const char* name = "delta_rule";
  template <class T, class Space>
  using tensors = delta_tensors<T, Gates, Space>;
};

template <gating Gates>
struct dplr_terms : dense_terms<Gates> {
  static constexpr const char* name = "dplr";
  template <class T, class Space>
  using tensors = dplr_tensors<T, Gates, Space>;
};

}  // namespace detail::inline RINGFOLD_SIMD

/// S_t = (I - beta_t k_t k_t^T) Diag(exp(g_t)) S_(t-1) + beta_t k_t v_t^T and out_t = scale q_t S_t: what a key finds of
/// itself is taken back before its value is written.
///
/// Gates none: DeltaNet; by token: Gated DeltaNet; by row: Kimi Delta Attention (KDA). A beta is in [0, 2]; where
/// beta k^T k is at most 2 no transition lets a state grow, and keys are commonly normalised.
/// The plan's inputs are {q, k, v, beta, gates}, gates {} where there are none.
/// **Cost** of a token 2 chunk (dim + value_dim) + 4 dim value_dim multiply-adds, and for the shard's element
/// chunk (3/2 dim + value_dim) + dim (2 dim + 3 value_dim). The element has its matrix for every schedule: made beside
/// all others, it lets a state pass a rank in dim^2 value_dim, however many tokens there are. Schedules that hand on
/// states (schedule::chain) send no matrix.
/// **Memory** a chunk of one head, and a state with a matrix; backward also the states before the chunks of one head.
/// **Overlap** with the scan is what queries read of keys; the rest needs the state, and is done once.
/// \snippet recurrence/delta_plan_test.cpp delta
/// Source: DeltaNet (Yang et al., 2024), Gated DeltaNet (Yang et al., 2025), Kimi Linear (2025).
template <gating Gates>
using delta_rule = chunkwise<detail::delta_terms<Gates>>;

/// S_t = Diag(exp(g_t)) S_(t-1) + b_t (a_t^T S_(t-1)) + k_t v_t^T and out_t = scale q_t S_t: a diagonal plus a product
/// of two vectors.
///
/// With gates by row: RWKV-7, where a is - kappa and b is kappa times the in-context learning rate. Nothing keeps states
/// from growing but the numbers that are given. The plan's inputs are {q, k, v, a, b, gates}.
/// Cost, memory and overlap are those of delta_rule.
/// Source: RWKV-7 (Peng et al., 2025), Comba and DPLR of flash-linear-attention.
template <gating Gates>
using dplr = chunkwise<detail::dplr_terms<Gates>>;

}  // namespace ringfold
