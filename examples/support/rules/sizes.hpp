#pragma once

#include <ringfold/schedule/scan.hpp>

#include "experiment.hpp"

namespace rules {

/// Bytes of a state and of what an element has besides, where a rule's problem is as P.
template <class Spec, class P>
ringfold::schedule::scan_sizes sizes_of(const Spec& spec, const P& p) {
  ringfold::arena<> nowhere;
  auto const algebra = spec.rule().algebra_for(p, nowhere);
  auto const bytes_of = [](const auto& views) {
    extent sum = 0;
    for (const auto& each : views) sum += each.size() * static_cast<extent>(sizeof(*each.data));
    return sum;
  };
  extent const state = bytes_of(algebra.views(algebra.take_state(nowhere)));
  auto const element = algebra.take_element(nowhere);
  ringfold::schedule::scan_sizes made{state, bytes_of(algebra.views(element)) - state,
                                      static_cast<extent>(algebra.most_parts())};
  // Is what stands beside the state cut with it?
  if (made.columns > 1) {
    made.transition_is_cut = bytes_of(algebra.views(algebra.part(element, 0, 2))) -
                                 bytes_of(algebra.views(algebra.part(algebra.take_state(nowhere), 0, 2))) <
                             made.transition;
  }
  return made;
}
template <class T, class Spec>
ringfold::schedule::scan_sizes sizes_of(const experiment<Spec>& e) {
  return sizes_of(e.spec, e.spec.template problem<T>(ringfold::contiguous(e.tokens, 1), e.packed, e.batch, e.heads));
}

}  // namespace rules
