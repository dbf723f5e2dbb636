// section 1: \[ringfold\] communicator_laws: the laws look at host memory
// section 2: \[ringfold\] kernel_laws: not an attention on host memory
#include <ringfold/comm/self.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/testing/communicator_laws.hpp>
#include <ringfold/testing/kernel_laws.hpp>

struct nothing : ringfold::local_attention {};

int main() {
  using namespace ringfold;
  communicator_laws(self{});
  kernel_laws<float>(reference_kernel{});
#if RINGFOLD_SECTION == 1
  communicator_laws(basic_self<phantom_stream>{});
#elif RINGFOLD_SECTION == 2
  kernel_laws<float>(nothing{});
#endif
}
