#include <string>
#include <string_view>

#include "blocked_attention.hpp"
#include "libraries.hpp"
#include "ringfold.hpp"

/// \file
/// What Python calls. It owns all tensors, and closes what it opened.

using namespace peers;

namespace {

subject* opened_attention(std::string_view name, const attention_case& of, bool is_bf16) {
  if (name == "ringfold") return make_own_attention(of, is_bf16).release();
  if (name == "oneDNN" && is_bf16) return new blocked_attention<one_dnn, finite_bf16>(of);
  if (name == "oneDNN") return new blocked_attention<one_dnn, float>(of);
  if (name == "OpenBLAS" && !is_bf16) return new blocked_attention<open_blas, float>(of);
  return nullptr;
}

}  // namespace

extern "C" {

/// Null where there is none.
subject* peers_open_attention(const char* name, long tokens, long dim, int is_causal, int is_bf16) {
  return opened_attention(name, {tokens, dim, is_causal != 0}, is_bf16 != 0);
}
subject* peers_open_linear(long tokens, long dim, long chunk, int has_gates) {
  return make_own_linear({tokens, dim, chunk}, has_gates != 0).release();
}
void peers_forward(subject* of, void* const* tensors) { of->forward(tensors); }
void peers_backward(subject* of, void* const* tensors) { of->backward(tensors); }
void peers_close(subject* of) { delete of; }

void peers_ring(long tokens, long dim, int is_causal, float* const* q_k_v_out, int calls, double* seconds) {
  ring_of_two({tokens, dim, is_causal != 0}, {q_k_v_out[0], q_k_v_out[1], q_k_v_out[2], q_k_v_out[3]}, calls, seconds);
}

double peers_fma_peak() { return fma_peak(); }

const char* peers_one_dnn() {
  static std::string const version = one_dnn::version();
  return version.c_str();
}
const char* peers_open_blas() {
  static std::string const version = open_blas::version();
  return version.c_str();
}
const char* peers_compiler() { return PEERS_COMPILER; }
}
