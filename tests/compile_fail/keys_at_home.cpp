// section 1: \[ringfold\] canonical\(\) must see every key of its queries, but where queries travel
// section 2: \[ringfold\] canonical\(\) must see every key of its queries, but where queries travel
// section 3: \[ringfold\] the attention and the communicator work on different streams; make both use one
// section 4: \[ringfold\] not a communicator: add +using stream = ringfold::host_stream;
// section 5: \[ringfold\] not an attention: derive a kernel from ringfold::local_attention
#include <ringfold/attention/query_ring.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/split_kv.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/kernel/reference.hpp>

struct ordered : ringfold::reference_kernel {
  static constexpr bool is_canonical = true;
};

int main() {
  using namespace ringfold;
#if RINGFOLD_SECTION == 1
  auto attend = query_ring(self{}, ordered{});
#elif RINGFOLD_SECTION == 2
  auto attend = split_kv(self{}, ring(self{}, ordered{}));
#elif RINGFOLD_SECTION == 3
  auto attend = query_ring(basic_self<phantom_stream>{}, reference_kernel{});
#elif RINGFOLD_SECTION == 4
  auto attend = split_kv(3, reference_kernel{}, reduction::tree);
#elif RINGFOLD_SECTION == 5
  auto attend = query_ring(self{}, 3);
#else
  auto attend = query_ring(self{}, split_kv(self{}, ring(self{}, reference_kernel{})));
#endif
  (void)attend;
}
