// section 1: \[ringfold\] communicator_laws: the laws look at host memory
// section 2: \[ringfold\] kernel_laws: not an attention on host memory
// section 3: \[ringfold\] scan_laws: not an action on host memory
#include <ringfold/algebra/affine.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/testing/communicator_laws.hpp>
#include <ringfold/testing/kernel_laws.hpp>
#include <ringfold/testing/scan_laws.hpp>

struct no_action {
  struct state {};
  struct element {};
};
struct nothing : ringfold::local_attention {};

int main() {
  using namespace ringfold;
  communicator_laws(self{});
  kernel_laws<float>(reference_kernel{});
  scan_laws(affine<float, transition::dense>{1, 1, 1, 1}, {}, {}, 0);
#if RINGFOLD_SECTION == 1
  communicator_laws(basic_self<phantom_stream>{});
#elif RINGFOLD_SECTION == 2
  kernel_laws<float>(nothing{});
#elif RINGFOLD_SECTION == 3
  scan_laws(no_action{}, {}, {}, 0);
#endif
}
