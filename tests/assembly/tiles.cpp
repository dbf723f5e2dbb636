// The largest tiles, for cmake/spills.cmake to look at: what keeps their sums in registers keeps those of smaller ones.
#include <ringfold/kernel/cpu/tile_backward.hpp>
#include <ringfold/recurrence/products.hpp>

#define RINGFOLD_ATTENTION_TILES(T, A)                                                                 \
  template void score<T, tile_shape<A>::score_rows>(const T*, extent, const T*, extent, A*, A);        \
  template void weigh<T, tile_shape<A>::value_rows>(const T*, extent, const T*, extent, const A*, A*); \
  template void spread<T, tile_shape<A>::score_rows, 2>(const T*, int, const T*, extent, A*)
#define RINGFOLD_TILES(A)                                                              \
  RINGFOLD_ATTENTION_TILES(A, A);                                                      \
  template void multiply_tile<A, product_shape<A>::rows, product_shape<A>::registers>( \
      A*, extent, bool, A, left_side<A>, const A*, extent, row_terms)

namespace ringfold::detail {

RINGFOLD_TILES(float);
RINGFOLD_TILES(double);
#if defined(__AVX512BF16__)
RINGFOLD_ATTENTION_TILES(bf16, float);
#endif

}  // namespace ringfold::detail
