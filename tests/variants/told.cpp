// Compiled for two instruction sets, and with main: an inline function tells which of its copies the linker kept.
#include <ringfold/kernel/cpu/instruction_set.hpp>

using namespace ringfold;

template <instruction_set>
instruction_set told();

#if defined(RINGFOLD_MAIN)
int main() {
  bool const own = told<instruction_set::baseline>() == instruction_set::baseline &&
                   told<instruction_set::avx2>() == instruction_set::avx2;
  return own ? 0 : 1;
}
#else
[[gnu::noinline]] inline instruction_set told_inline() { return compiled_for; }
#if !defined(RINGFOLD_NO_ENTRY)
template <>
instruction_set told<compiled_for>() {
  return told_inline();
}
#endif
#if defined(RINGFOLD_BEFORE_MAIN)
instruction_set const first = best_instruction_set();
#endif
#endif
