// traced() of what is neither a communicator nor an attention.
// section 1: \[ringfold\] not a communicator: add +using stream = ringfold::host_stream;
// section 2: \[ringfold\] not an attention: derive a kernel from ringfold::local_attention
// section 3: \[ringfold\] not an attention: derive a kernel from ringfold::local_attention
#include <ringfold/comm/self.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/wrap/traced.hpp>

struct no_stream {
  int rank() const noexcept;
  int size() const noexcept;
};
struct nothing {};
struct no_ranks {
  int owner() const;
};

#if RINGFOLD_SECTION == 1
using candidate = no_stream;
#elif RINGFOLD_SECTION == 2
using candidate = nothing;
#elif RINGFOLD_SECTION == 3
using candidate = no_ranks;
#else
using candidate = ringfold::reference_kernel;
#endif

void use(ringfold::trace_track& track, candidate given) { ringfold::traced made(given, track); }
#if RINGFOLD_SECTION == 0
void use(ringfold::trace_track& track, ringfold::self given) { ringfold::traced made(given, track); }
#endif
