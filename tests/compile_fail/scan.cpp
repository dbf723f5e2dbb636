// section 1: \[ringfold\] scan: these states cannot be handed on; add +take_state\(arena\); take_element\(arena\);
// section 2: \[ringfold\] scan: this schedule joins elements, and these do not join; add +compose\(stream, first, then, into\);
// section 3: \[ringfold\] scan: these elements cannot be folded; add +take_state\(arena\); take_element\(arena\);
// section 4: \[ringfold\] scan: by this schedule everybody folds one part of the state, and these states have none; add +of_part
// section 5: \[ringfold\] two_level: within nodes elements are joined; use hillis_steele, doubling_123 or recursive_doubling
// section 6: \[ringfold\] two_level: over nodes one level is left; use a schedule of one level there
// section 7: \[ringfold\] scan: this schedule joins elements, and these do not join; add +compose\(stream, first, then, into\);
// section 8: \[ringfold\] narrow: these states hold exponents, which cannot be rounded; send them as they are
// section 9: \[ringfold\] narrow: f16 ends at 65504, and states may grow beyond; use +bf16 +or +float
// section 10: \[ringfold\] narrow: states are of no wider numbers than this; send them as they are
// section 11: \[ringfold\] narrow: these states hold exponents, which cannot be rounded; send them as they are
// section 12: \[ringfold\] narrow: elements have a gate, or none, and a value; this algebra's have more
#include <ringfold/algebra/affine.hpp>
#include <ringfold/algebra/product.hpp>
#include <ringfold/algebra/stabilised.hpp>
#include <ringfold/collective/scan.hpp>
#include <ringfold/comm/self.hpp>

/// An algebra that has nothing but names.
struct nothing {
  struct state {};
  struct element {};
};

/// States of which no part is kept alone.
struct whole : ringfold::affine<double, ringfold::transition::dense> {
  void of_part() = delete;
};

/// Elements that act and do not join.
struct acting : ringfold::affine<double, ringfold::transition::dense> {
  void compose() = delete;
};

/// Elements of which three parts travel.
struct crowded : ringfold::affine<float, ringfold::transition::scalar> {
  static std::array<state, 1> views(const state& s) { return {s}; }
  static std::array<state, 3> views(const element& e) { return {e.gate, e.value, e.value}; }
};

void use([[maybe_unused]] ringfold::scan_slots slots, [[maybe_unused]] ringfold::arena<>& memory) {
  using namespace ringfold;
#if RINGFOLD_SECTION == 1
  (void)scan(schedule::chain{}, nothing{}, self{}, slots, memory);
#elif RINGFOLD_SECTION == 2
  (void)scan(schedule::hillis_steele{}, nothing{}, self{}, slots, memory);
#elif RINGFOLD_SECTION == 3
  (void)scan(schedule::gather_ring{}, nothing{}, self{}, slots, memory);
#elif RINGFOLD_SECTION == 4
  (void)scan(schedule::all_to_all{}, whole{}, self{}, slots, memory);
#elif RINGFOLD_SECTION == 5
  (void)schedule::two_level{8, schedule::chain{}, schedule::doubling_123{}};
#elif RINGFOLD_SECTION == 6
  schedule::two_level const node{8, schedule::doubling_123{}, schedule::chain{}};
  (void)schedule::two_level{64, schedule::doubling_123{}, node};
#elif RINGFOLD_SECTION == 7
  (void)scan(schedule::two_level{8, schedule::doubling_123{}, schedule::chain{}}, acting{}, self{}, slots, memory);
#elif RINGFOLD_SECTION == 8
  (void)scan(schedule::narrow<bf16>(schedule::chain{}), stabilised<float>{}, self{}, slots, memory);
#elif RINGFOLD_SECTION == 9
  (void)scan(schedule::narrow<f16>(schedule::chain{}), affine<float, transition::scalar>{}, self{}, slots, memory);
#elif RINGFOLD_SECTION == 10
  (void)scan(schedule::narrow<float>(schedule::chain{}), affine<float, transition::scalar>{}, self{}, slots, memory);
#elif RINGFOLD_SECTION == 11
  product<affine<float, transition::scalar>, stabilised<float> > const both{};
  (void)scan(schedule::narrow<bf16>(schedule::chain{}), both, self{}, slots, memory);
#elif RINGFOLD_SECTION == 12
  (void)scan(schedule::narrow<bf16>(schedule::gather_bruck{}), crowded{}, self{}, slots, memory);
#endif
  (void)scan(schedule::narrow<bf16>(schedule::chain{}), affine<float, transition::scalar>{}, self{}, slots, memory);
  (void)scan(schedule::chain{}, acting{}, self{}, slots, memory);
  (void)scan(schedule::gather_ring{}, acting{}, self{}, slots, memory);
  (void)scan(schedule::gather_bruck{}, acting{}, self{}, slots, memory);
  (void)scan(schedule::all_to_all{}, acting{}, self{}, slots, memory);
}
