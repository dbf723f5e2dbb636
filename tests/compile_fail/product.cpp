// section 1: \[ringfold\] product: algebras of one number and space, whose elements are a gate and a value
#include <ringfold/algebra/product.hpp>

int main() {
  using namespace ringfold;
#if RINGFOLD_SECTION == 1
  using other = affine<float, transition::scalar>;
#else
  using other = affine<double, transition::scalar>;
#endif
  product<affine<double, transition::identity>, other> const together{};
  (void)together;
}
