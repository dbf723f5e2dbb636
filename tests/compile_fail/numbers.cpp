// Numbers, axes and memory that a part does not work on.
// section 1: \[ringfold\] simd: float or double
// section 2: \[ringfold\] piece_of: a piece has at most 4 axes
// section 3: \[ringfold\] rotate: the stream works on another space than the views; pass one that works on theirs
#include <ringfold/attention/plan.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/rotary.hpp>
#if RINGFOLD_SECTION == 1
#include <ringfold/kernel/cpu/flash.hpp>  // not for nvcc otherwise
#endif

struct real {
  double value = 0;
};
template <>
struct ringfold::scalar_traits<real> {
  using accumulate = real;
  static constexpr dtype type{3, 64, 1};
};

int main() {
  using namespace ringfold;
  plan run(reference_kernel{}, make_problem<double>(contiguous(4, 1), {.dim = 4}));
#if RINGFOLD_SECTION == 1
  plan blocked(flash_kernel{}, make_problem<real>(contiguous(4, 1), {.dim = 4}));
#endif

#if RINGFOLD_SECTION == 2
  constexpr int axes = 5;
#else
  constexpr int axes = 4;
#endif
  (void)piece_of(view<float, axes>{}, role::other);

#if RINGFOLD_SECTION == 3
  using stream = phantom_stream;
#else
  using stream = host_stream;
#endif
  rotary_table<float> const table(contiguous(4, 1), 0, {.dims = 4});
  float numbers[16] = {};
  auto const rows = dense(numbers, 1, 4, 1, 4);
  rotate(table.at(), rows, rows, stream{});
}
