#pragma once

#include <concepts>

#include <ringfold/core/workspace.hpp>

/// \file
/// What can be scanned: states that elements act on, and perhaps elements that join each other.

namespace ringfold {

/// An action: an element makes a state of a state. That is all that schedules ask which hand states on.
///
/// - `take_state(arena)` and `take_element(arena)` give memory for one; both are views, cheap to copy.
/// - `views(state)` and `views(element)` are arrays of views: what travels, always of the same extents.
/// - `apply(stream, state, element, into)` works on the stream; `into` has memory of its own.
/// - `part(state or element, index, count)` is one of `count` parts that do not mix; `most_parts()` how many there may be.
template <class G, class Stream>
concept scan_action =
    requires(const G& g, arena<typename Stream::space>& memory, typename G::state s, typename G::element e, Stream on) {
      { g.take_state(memory) } -> std::same_as<typename G::state>;
      { g.take_element(memory) } -> std::same_as<typename G::element>;
      g.views(s);
      g.apply(on, s, e, s);
      { g.part(s, int{}, int{}) } -> std::same_as<typename G::state>;
      { g.part(e, int{}, int{}) } -> std::same_as<typename G::element>;
      { g.most_parts() } -> std::convertible_to<extent>;
    };

/// An action whose elements form a monoid: compose(stream, first, then, into), and value_of(element), the state that an
/// element leaves when entered with zero. Log-step schedules ask for it.
template <class G, class Stream>
concept scan_monoid =
    scan_action<G, Stream> && requires(const G& g, typename G::state s, typename G::element e, Stream on) {
      g.views(e);
      g.compose(on, e, e, e);
      { g.value_of(e) } -> std::convertible_to<typename G::state>;
    };

/// An action whose parts can be kept alone: of_part(index, count) takes memory for one of them.
template <class G, class Space>
concept scan_parts = requires(const G& g, arena<Space>& memory) {
  { g.of_part(int{}, int{}).take_state(memory) } -> std::same_as<typename G::state>;
  { g.of_part(int{}, int{}).take_element(memory) } -> std::same_as<typename G::element>;
};

}  // namespace ringfold
