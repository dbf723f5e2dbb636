// A file that is compiled for another CPU than its variant is chosen for.
// section 1: \[ringfold\] instruction_set: this file's flags are of another set than RINGFOLD_INSTRUCTION_SET; take -march and -mavx out of the flags of the whole project
#if RINGFOLD_SECTION == 1
#define RINGFOLD_INSTRUCTION_SET avx512
#else
#define RINGFOLD_INSTRUCTION_SET baseline
#endif
#include <ringfold/kernel/cpu/instruction_set.hpp>
