#pragma once

/// \file
/// What every header assumes of the compiler, and the library's version.

#define RINGFOLD_VERSION 100  // major * 10000 + minor * 100 + patch

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "ringfold needs C++20: compile with -std=c++20 or newer"
#endif
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "ringfold needs infinities: an empty softmax row is -inf. Compile without -ffast-math and -ffinite-math-only"
#endif

#if defined(__CUDACC__)
#define RINGFOLD_HD __host__ __device__
#else
#define RINGFOLD_HD
#endif
