// The largest tiles, for cmake/spills.cmake to look at: what keeps their sums in registers keeps those of smaller ones.
#include <ringfold/kernel/cpu/tile_backward.hpp>
#include <ringfold/recurrence/products.hpp>

#define RINGFOLD_TILES(A)                                                                              \
  template void score<A, tile_shape<A>::score_rows>(const A*, extent, const A*, extent, A*, A);        \
  template void weigh<A, tile_shape<A>::value_rows>(const A*, extent, const A*, extent, const A*, A*); \
  template void spread<A, tile_shape<A>::score_rows, 2>(const A*, const A*, extent, A*);               \
  template void multiply_tile<A, product_shape<A>::rows, product_shape<A>::registers>(                 \
      A*, extent, bool, A, left_side<A>, const A*, extent, row_terms)

namespace ringfold::detail {

RINGFOLD_TILES(float);
RINGFOLD_TILES(double);

}  // namespace ringfold::detail
