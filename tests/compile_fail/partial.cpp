// section 1: \[ringfold\] merge: one partial holds natural logarithms, the other logarithms of base 2; bring one over with +ringfold::convert<ringfold::base_e>\(stream, partial\)
// section 2: \[ringfold\] merge: partials of different element types or memory spaces
// section 3: \[ringfold\] merge: partials of different element types or memory spaces
// section 4: \[ringfold\] merge: these numbers are neither float nor double; add +template <class Base> ringfold::merged_lse<T> merged_weights
#include <ringfold/algebra/softmax_merge.hpp>
#include <ringfold/core/dtype.hpp>

using namespace ringfold;

void use() {
  partial<float> into;
#if RINGFOLD_SECTION == 0
  partial<float> from;
  merge(host_stream{}, into, from);
  partial<float, host_space, base_2> other;
  merge(host_stream{}, into, convert<base_e>(host_stream{}, other));
#elif RINGFOLD_SECTION == 1
  partial<float, host_space, base_2> from;
  merge(host_stream{}, into, from);
#elif RINGFOLD_SECTION == 2
  partial<double> from;
  merge(host_stream{}, into, from);
#elif RINGFOLD_SECTION == 3
  partial<float, phantom_space> from;
  merge(host_stream{}, into, from);
#elif RINGFOLD_SECTION == 4
  partial<bf16> from;
  merge(host_stream{}, from, from);
#endif
}
