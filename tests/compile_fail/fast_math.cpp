// What -ffast-math and -ffinite-math-only define, defined by hand: the machinery gives all sections the same flags.
// section 1: ringfold needs infinities: an empty softmax row is -inf. Compile without -ffast-math and -ffinite-math-only
// section 2: ringfold needs infinities: an empty softmax row is -inf. Compile without -ffast-math and -ffinite-math-only
#if RINGFOLD_SECTION == 1
#define __FAST_MATH__ 1
#elif RINGFOLD_SECTION == 2
#undef __FINITE_MATH_ONLY__
#define __FINITE_MATH_ONLY__ 1
#endif
#include <ringfold/core/config.hpp>
