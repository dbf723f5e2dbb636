#pragma once

#include <ringfold/core/errors.hpp>

/// \file
/// One program for several CPUs: sources with kernels in them are compiled once for each instruction set, by
/// ringfold_add_variants of the CMake package, and the best that the machine at hand has is chosen at run time.
///
/// Such a source defines its entries, ordinary functions, for the set that it is compiled for:
/// \snippet dispatch/engine.cpp entry
/// Elsewhere they are declared, `template <instruction_set> std::unique_ptr<engine> make_engine(...)`, and called:
/// \snippet dispatch/main.cpp dispatch
/// Whatever else the source defines, inline functions and templates of any library among it, gets a name of its own in
/// each set, with that of the set behind a dot. A linker keeps any one of equal names, so without that a plain machine
/// might run what was compiled for another. Sets and their callers share entries, the classes in their signatures,
/// memory and exceptions (with libc++, caught by the standard's base classes only); they do not share inline variables
/// nor statics of inline functions, and no class that holds a kernel may pass between them.
/// Without CMake: compile with the flags of cmake/variants.cmake and -DRINGFOLD_INSTRUCTION_SET=avx2, and so on, make a
/// static library of each, and run cmake/own_names.cmake on it.

// Where there is more than one: x86-64, and a format of object files whose symbols can be renamed.
#if defined(__x86_64__) && defined(__ELF__)
#define RINGFOLD_INSTRUCTION_SETS 1
#endif

namespace ringfold {

/// What sources are compiled for; each has what those before it have.
enum class instruction_set {
  baseline,     ///< whatever the whole program needs; the only one where CPUs are not x86-64 or objects not ELF
  avx2,         ///< AVX2, FMA
  avx512,       ///< AVX-512 F, BW, DQ, VL
  avx512_bf16,  ///< AVX-512 BF16: products of bf16 as it is
};

inline constexpr instruction_set instruction_sets[] = {instruction_set::baseline, instruction_set::avx2,
                                                       instruction_set::avx512, instruction_set::avx512_bf16};

/// As it is spelt above.
constexpr const char* name_of(instruction_set set) {
  constexpr const char* names[] = {"baseline", "avx2", "avx512", "avx512_bf16"};
  return names[static_cast<int>(set)];
}

// Internal linkage: translation units differ.
namespace detail {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#if defined(__AVX512BF16__)
constexpr instruction_set set_of_flags = instruction_set::avx512_bf16;
#else
constexpr instruction_set set_of_flags = instruction_set::avx512;
#endif
#elif defined(__AVX2__) && defined(__FMA__)
constexpr instruction_set set_of_flags = instruction_set::avx2;
#else
constexpr instruction_set set_of_flags = instruction_set::baseline;
#endif
}  // namespace detail

/// The one that this translation unit is compiled for: what ringfold_add_variants says, or else its flags.
#if defined(RINGFOLD_INSTRUCTION_SET)
constexpr instruction_set compiled_for = instruction_set::RINGFOLD_INSTRUCTION_SET;
static_assert(compiled_for == instruction_set::baseline || compiled_for == detail::set_of_flags,
              "[ringfold] instruction_set: this file's flags are of another set than RINGFOLD_INSTRUCTION_SET; take "
              "-march and -mavx out of the flags of the whole project");
#else
constexpr instruction_set compiled_for = detail::set_of_flags;
#endif

/// The best that this machine and its operating system run.
inline instruction_set best_instruction_set() {
#if defined(RINGFOLD_INSTRUCTION_SETS)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return instruction_set::baseline;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return instruction_set::avx2;
  }
  return __builtin_cpu_supports("avx512bf16") ? instruction_set::avx512_bf16 : instruction_set::avx512;
#else
  return instruction_set::baseline;
#endif
}

/// Whether this machine runs it.
inline bool runs_here(instruction_set set) { return set <= best_instruction_set(); }

namespace detail {
inline void refuse_above(instruction_set best, instruction_set set) {
  if (set <= best) return;
  throw usage_error(say("dispatch: this machine does not run %s; allowed: up to %s", name_of(set), name_of(best)));
}
}  // namespace detail

/// Calls a template of functions for this set: `dispatch(set, []<instruction_set S>() { return make<S>(); })`.
/// Meant for what makes things, once (it takes some 15 ns more): let entries return an interface, or a function, and
/// call that in loops.
/// \throws usage_error when the machine does not run the set; nothing was called then.
template <class F>
decltype(auto) dispatch(instruction_set set, F&& f) {
  detail::refuse_above(best_instruction_set(), set);
#if defined(RINGFOLD_INSTRUCTION_SETS)
  if (set == instruction_set::avx512_bf16) return f.template operator()<instruction_set::avx512_bf16>();
  if (set == instruction_set::avx512) return f.template operator()<instruction_set::avx512>();
  if (set == instruction_set::avx2) return f.template operator()<instruction_set::avx2>();
#endif
  return f.template operator()<instruction_set::baseline>();
}

/// As above, with the best that the machine runs.
template <class F>
decltype(auto) dispatch(F&& f) {
  return dispatch(best_instruction_set(), static_cast<F&&>(f));
}

}  // namespace ringfold
