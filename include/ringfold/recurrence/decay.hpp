#pragma once

#include <ringfold/recurrence/chunkwise.hpp>
#include <ringfold/recurrence/decay_chunk.hpp>

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

namespace detail::inline RINGFOLD_SIMD {

template <gating Gates>
struct decay_terms {
  static constexpr const char* name = "decay";
  static constexpr gating gates = Gates;
  static constexpr transition kind = Gates == gating::none      ? transition::identity
                                     : Gates == gating::per_row ? transition::diagonal
                                                                : transition::scalar;
  template <class A>
  using chunk = decay_chunk<A>;
  template <class A>
  using chunk_gradients = decay_gradients<A>;
  template <class T, class Space>
  using tensors = decay_tensors<T, Gates, Space>;
};

}  // namespace detail::inline RINGFOLD_SIMD

/// S_t = Diag(exp(g_t)) S_(t-1) + k_t v_t^T and out_t = scale q_t S_t, in chunks.
///
/// **Cost** of a token (chunk + 1) / 2 (dim + value_dim) + 2 dim value_dim multiply-adds, and dim value_dim for the
/// shard's element.
/// Source: Linear Attention (Katharopoulos et al., 2020), RetNet (2023), GLA and Mamba-2 (2024).
template <gating Gates>
using decay = chunkwise<detail::decay_terms<Gates>>;

}  // namespace ringfold
