#pragma once

#include <vector>

#include <ringfold/algebra/scan_algebra.hpp>
#include <ringfold/collective/posting.hpp>
#include <ringfold/schedule/slots.hpp>

/// \file
/// What a rank tells others of its slots, for schedules by which elements are folded away from home.

namespace ringfold::detail {

/// The caller's slots, what enters them, and what they tell: their elements, or the states that they leave.
///
/// A slot that a sequence or a document begins with or in leaves a state whatever else there is: it is worked out at
/// home, with the seed, and nobody needs the element. So a seed is known to its owner only, and no algebra needs a
/// neutral element.
template <class G, class Stream>
class told_slots {
 public:
  using state = typename G::state;
  using element = typename G::element;
  static_assert(
      scan_action<G, Stream> && requires(const G& g, element e) { g.views(e); },
      "[ringfold] scan: these elements cannot be folded; add    take_state(arena); take_element(arena); views(state); "
      "views(element); apply(stream, state, element, into); part(state or element, index, count); most_parts();");
  struct told {
    int slot;
    state before, after;  // after: of slots that begin
    element own;
  };

  template <class Space>
  told_slots(const G& algebra, const scan_slots& slots, int rank, arena<Space>& memory)
      : algebra_(algebra), nothing_(algebra.take_state(memory)) {
    for (int const slot : slots.of(rank)) {
      own_.push_back({slot, algebra.take_state(memory), {}, {}});
      if (slots.begins(slot) && slots.leaves(slot)) own_.back().after = algebra.take_state(memory);
    }
  }

  /// Takes the elements and the seed, and makes what begins.
  void begin(const scan_slots& slots, span<const element> mine, const state* seed, Stream on) {
    on.elementwise(elementwise::set_zero{}, nothing_);
    std::size_t index = 0;
    for (told& each : own_) {
      each.own = mine[index++];
      bool const seeded = each.slot == 0 && seed != nullptr;
      if (!slots.enters(each.slot)) copy_views(algebra_, on, seeded ? *seed : nothing_, each.before);
      if (!slots.begins(each.slot) || !slots.leaves(each.slot)) continue;
      algebra_.apply(on, seeded && !slots.forgets_at(0) ? *seed : nothing_, each.own, each.after);
    }
  }

  std::vector<told>& own() { return own_; }
  const std::vector<told>& own() const { return own_; }

 private:
  G algebra_;
  state nothing_;
  std::vector<told> own_;
};

}  // namespace ringfold::detail
