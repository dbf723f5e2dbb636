// section 1: \[ringfold\] scan: these states cannot be handed on; add +take_state\(arena\); take_element\(arena\);
// section 2: \[ringfold\] scan: this schedule joins elements, and these do not join; add +compose\(stream, first, then, into\);
#include <ringfold/collective/scan.hpp>
#include <ringfold/comm/self.hpp>

/// An algebra that has nothing but names.
struct nothing {
  struct state {};
  struct element {};
};

void use([[maybe_unused]] ringfold::scan_slots slots, [[maybe_unused]] ringfold::arena<>& memory) {
  using namespace ringfold;
#if RINGFOLD_SECTION == 1
  (void)scan(schedule::chain{}, nothing{}, self{}, slots, memory);
#elif RINGFOLD_SECTION == 2
  (void)scan(schedule::hillis_steele{}, nothing{}, self{}, slots, memory);
#endif
}
