#pragma once

#include <array>
#include <memory>

#include "subject.hpp"

/// \file
/// ringfold's part in the comparison.

namespace peers {

std::unique_ptr<subject> make_own_attention(const attention_case& of, bool is_bf16);
std::unique_ptr<subject> make_own_linear(const linear_case& of, bool has_gates);

/// Ring attention of q, k, v into out, each [tokens, dim], on two ranks that are threads, zigzag.
/// seconds: of each call, from when both ranks are ready until both are done, after one call that is not measured.
void ring_of_two(const attention_case& of, const std::array<float*, 4>& q_k_v_out, int calls, double* seconds);

/// Multiply-adds in registers alone, on this core, in flop/s.
double fma_peak();

}  // namespace peers
