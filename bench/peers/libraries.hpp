#pragma once

#include <cstdint>
#include <sstream>
#include <string>

#include <cblas.h>
#include <dnnl.hpp>

/// \file
/// Matrix products of libraries, on one thread: C = op(A) op(B) + beta C, row-major, op is a transposition or nothing.

namespace peers {

/// bfloat16 of finite numbers, without a branch: ringfold's own knows NaN, and its headers refuse -ffast-math.
struct finite_bf16 {
  std::uint16_t bits = 0;
  finite_bf16() = default;
  explicit finite_bf16(float value) {
    auto const word = __builtin_bit_cast(std::uint32_t, value);
    bits = static_cast<std::uint16_t>((word + 0x7fffU + ((word >> 16) & 1U)) >> 16);
  }
  operator float() const { return __builtin_bit_cast(float, std::uint32_t{bits} << 16); }
};

// oneDNN's library has it, its header does not.
extern "C" dnnl_status_t dnnl_gemm_bf16bf16f32(char, char, dnnl_dim_t, dnnl_dim_t, dnnl_dim_t, float,
                                               const finite_bf16*, dnnl_dim_t, const finite_bf16*, dnnl_dim_t, float,
                                               float*, dnnl_dim_t);

struct open_blas {
  static void multiply(bool flip_a, bool flip_b, long m, long n, long k, const float* a, long lda, const float* b,
                       long ldb, float beta, float* c, long ldc) {
    auto const flag = [](bool flip) { return flip ? CblasTrans : CblasNoTrans; };
    auto const as_int = [](long number) { return static_cast<int>(number); };
    cblas_sgemm(CblasRowMajor, flag(flip_a), flag(flip_b), as_int(m), as_int(n), as_int(k), 1.0F, a, as_int(lda), b,
                as_int(ldb), beta, c, as_int(ldc));
  }
  /// With the kernels that it chose, or was told to.
  static std::string version() {
    std::istringstream configuration(openblas_get_config());
    std::string name, number;
    configuration >> name >> number;
    return number + " " + openblas_get_corename();
  }
};

struct one_dnn {
  static void multiply(bool flip_a, bool flip_b, long m, long n, long k, const float* a, long lda, const float* b,
                       long ldb, float beta, float* c, long ldc) {
    dnnl_sgemm(flip_a ? 'T' : 'N', flip_b ? 'T' : 'N', m, n, k, 1.0F, a, lda, b, ldb, beta, c, ldc);
  }
  static void multiply(bool flip_a, bool flip_b, long m, long n, long k, const finite_bf16* a, long lda,
                       const finite_bf16* b, long ldb, float beta, float* c, long ldc) {
    dnnl_gemm_bf16bf16f32(flip_a ? 'T' : 'N', flip_b ? 'T' : 'N', m, n, k, 1.0F, a, lda, b, ldb, beta, c, ldc);
  }
  static std::string version() {
    const dnnl_version_t& is = *dnnl_version();
    return std::to_string(is.major) + "." + std::to_string(is.minor) + "." + std::to_string(is.patch);
  }
};

}  // namespace peers
