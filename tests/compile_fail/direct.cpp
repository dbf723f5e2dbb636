// section 1: \[ringfold\] direct: a canonical attention folds whole chunks of keys, and would get some of their rows; use gather or ring
#include <ringfold/attention/direct.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/kernel/reference.hpp>

struct canonical_kernel : ringfold::reference_kernel {
  static constexpr bool is_canonical = RINGFOLD_SECTION == 1;
};

int main() {
  using namespace ringfold;
  (void)ring(self{}, canonical_kernel{});
  (void)direct(self{}, ring(self{}, canonical_kernel{}));
}
