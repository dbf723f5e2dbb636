#pragma once

#include <ringfold/recurrence/chunkwise.hpp>
#include <ringfold/recurrence/dense_chunk.hpp>

/// \file
/// Delta rules and diagonal-plus-low-rank transitions, on one rank's tokens, forward and backward.

namespace ringfold {

namespace detail {

template <gating Gates>
struct dense_terms {
  static constexpr gating gates = Gates;
  static constexpr transition kind = transition::dense;
  template <class A>
  using chunk = dense_chunk<A>;
  template <class A>
  using gradients = dense_gradients<A>;
};

template <gating Gates>
struct delta_terms : dense_terms<Gates> {
  static constexpr const char* name = "delta_rule";
};

template <gating Gates>
struct dplr_terms : dense_terms<Gates> {
  static constexpr const char* name = "dplr";
};

}  // namespace detail

/// S_t = (I - beta_t k_t k_t^T) Diag(exp(g_t)) S_(t-1) + beta_t k_t v_t^T and out_t = scale q_t S_t: what a key finds of
/// itself is taken back before its value is written.
///
/// Gates none: DeltaNet; by token: Gated DeltaNet; by row: Kimi Delta Attention (KDA). A beta is in [0, 2]; where
/// beta k^T k is at most 2 no transition lets a state grow, and keys are commonly normalised.
/// **Cost** of a token about 2 chunk (2 dim + value_dim) + 3 dim value_dim multiply-adds, and as much again with dim for
/// value_dim to make the matrix of the shard's element: it is made once, beside all others, and a state passes a rank
/// in dim^2 value_dim, whatever the number of tokens. Schedules that hand on states (schedule::chain) send no matrix.
/// **Memory** a chunk of one head, and a state with a matrix; backward also the states before the chunks of one head.
/// **Overlap** with the scan is what queries read of keys; the rest needs the state, and is done once.
/// Source: DeltaNet (Yang et al., 2024), Gated DeltaNet (Yang et al., 2025), Kimi Linear (2025).
template <gating Gates>
using delta_rule = chunkwise<detail::delta_terms<Gates>>;

/// S_t = Diag(exp(g_t)) S_(t-1) + b_t (a_t^T S_(t-1)) + k_t v_t^T and out_t = scale q_t S_t: a diagonal plus a product
/// of two vectors.
///
/// With gates by row: RWKV-7, where a is - kappa and b is kappa times the in-context learning rate. Nothing keeps states
/// from growing but the numbers that are given. Cost, memory and overlap are those of delta_rule.
/// Source: RWKV-7 (Peng et al., 2025), Comba and DPLR of flash-linear-attention.
template <gating Gates>
using dplr = chunkwise<detail::dplr_terms<Gates>>;

}  // namespace ringfold
