#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

/// \file
/// Counts every allocation of a test program. Include it in one source file of a program: it replaces operator new.

namespace allocations {

inline std::atomic<long> everywhere{0};
inline thread_local long here = 0;

#ifdef RINGFOLD_SANITIZED
inline constexpr bool counted = false;  // sanitizers bring an operator new of their own
#else
inline constexpr bool counted = true;
inline void* count(void* memory) {
  ++everywhere, ++here;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
#endif

}  // namespace allocations

#ifndef RINGFOLD_SANITIZED
// Inlined, they would look mismatched to the compiler.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  return allocations::count(std::malloc(bytes > 0 ? bytes : 1));
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  auto const step = static_cast<std::size_t>(alignment);
  return allocations::count(std::aligned_alloc(step, (bytes + step - 1) / step * step));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
#endif
