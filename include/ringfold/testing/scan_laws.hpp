#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

#include <ringfold/algebra/scan_algebra.hpp>
#include <ringfold/testing/law.hpp>

/// \file
/// The laws of what is scanned, run on elements and states that you choose: put the hard ones in (long, strong, far apart).
///
/// Memory is the host's. Two results are as far apart as their numbers differ, over 1 plus the larger one.

namespace ringfold {

namespace detail {

/// Memory for a few states and elements of an algebra.
class law_memory {
 public:
  template <class Take>
  explicit law_memory(Take take) {
    arena<> measuring;
    take(measuring);
    chunks_.resize(static_cast<std::size_t>(measuring.used() / arena<>::alignment + 1));
    arena<> mine(chunks_.data(), static_cast<extent>(sizeof(chunk) * chunks_.size()));
    take(mine);
  }

 private:
  struct alignas(arena<>::alignment) chunk {
    unsigned char bytes[arena<>::alignment];
  };
  std::vector<chunk> chunks_;
};

/// What the laws of one algebra work with.
template <class G>
struct scan_trial {
  using state = typename G::state;
  using element = typename G::element;
  G of;
  state zero{}, some[3] = {};
  element joined[3] = {};
  law_memory memory;

  explicit scan_trial(const G& g)
      : of(g), memory([&](arena<>& from) {
          zero = g.take_state(from);
          for (state& each : some) each = g.take_state(from);
          for (element& each : joined) each = g.take_element(from);
        }) {
    for (auto const& each : g.views(zero)) host_stream{}.elementwise(elementwise::set_zero{}, each);
  }

  template <class Some, class F>
  void together(const Some& a, const Some& b, F f) const {
    auto const left = of.views(a), right = of.views(b);
    for (std::size_t i = 0; i < left.size(); ++i) host_stream{}.elementwise(f, left[i], right[i]);
  }
  template <class Some>
  double apart(const Some& a, const Some& b) const {
    double most = 0;
    together(a, b, [&](const auto& left, const auto& right) {
      auto const x = static_cast<double>(left), y = static_cast<double>(right);
      double const difference = x == y ? 0 : std::fabs(x - y) / (1 + std::fmax(std::fabs(x), std::fabs(y)));
      if (!(difference <= most)) most = difference;
    });
    return most;
  }
  template <class Some>
  void copy(const Some& from, const Some& to) const {
    together(to, from, [](auto& into, const auto& each) { into = each; });
  }
  /// Every byte 0xff: no number, and nothing that a computation makes.
  template <class Some>
  void poison(const Some& all) const {
    for (auto const& each : of.views(all))
      host_stream{}.elementwise([](auto& one) { std::memset(&one, 0xff, sizeof one); }, each);
  }
  /// How many numbers are not as poison() left them.
  extent written(const state& all) const {
    extent made = 0;
    for (auto const& view : of.views(all)) {
      host_stream{}.elementwise(
          [&](const auto& one) {
            unsigned char untouched[sizeof one];
            std::memset(untouched, 0xff, sizeof one);
            made += std::memcmp(&one, untouched, sizeof one) != 0;
          },
          view);
    }
    return made;
  }
  extent numbers(const state& all) const {
    extent made = 0;
    for (auto const& each : of.views(all)) made += each.size();
    return made;
  }
  state after(const state& s, const element& e, int place) const {
    of.apply(host_stream{}, s, e, some[place]);
    return some[place];
  }
  element join(const element& first, const element& then, int place) const {
    of.compose(host_stream{}, first, then, joined[place]);
    return joined[place];
  }
};

inline void hold_scan_law(const char* law, std::size_t i, std::size_t j, double apart, double bound) {
  if (apart <= bound) return;
  throw law_violation(
      say("%s: for %zu and %zu the two sides are %g apart; at most %g is allowed", law, i, j, apart, bound));
}

}  // namespace detail

/// (a, b), c and a, (b, c) are within the bound.
template <class G>
void scan_associative_law(const G& g, span<const typename G::element> elements, double bound) {
  detail::scan_trial<G> const t(g);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    for (std::size_t j = 0; j < elements.size(); ++j) {
      for (const auto& last : elements) {
        auto const left = t.join(t.join(elements[i], elements[j], 0), last, 1);
        auto const right = t.join(elements[i], t.join(elements[j], last, 0), 2);
        detail::hold_scan_law("associativity", i, j, t.apart(left, right), bound);
      }
    }
  }
}

/// What an element makes of zero is its value_of, within the bound.
template <class G>
void scan_value_law(const G& g, span<const typename G::element> elements, double bound) {
  detail::scan_trial<G> const t(g);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    detail::hold_scan_law("value_of", i, i, t.apart(t.after(t.zero, elements[i], 0), g.value_of(elements[i])), bound);
  }
}

/// One element after another makes of a state what the two joined make of it, within the bound.
template <class G>
void scan_action_law(const G& g, span<const typename G::element> elements, span<const typename G::state> states,
                     double bound) {
  detail::scan_trial<G> const t(g);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    for (std::size_t j = 0; j < elements.size(); ++j) {
      for (const auto& s : states) {
        auto const one_by_one = t.after(t.after(s, elements[i], 0), elements[j], 1);
        auto const at_once = t.after(s, t.join(elements[i], elements[j], 0), 2);
        detail::hold_scan_law("action", i, j, t.apart(one_by_one, at_once), bound);
      }
    }
  }
}

/// Parts of a state and of an element make that part of the result, to the bit, read no other part and write none; and
/// all parts are the whole.
template <class G>
void scan_part_law(const G& g, span<const typename G::element> elements, span<const typename G::state> states) {
  detail::scan_trial<G> const t(g);
  auto const& [whole, poisoned, made] = t.some;
  auto const& element = t.joined[0];
  for (std::size_t i = 0; i < elements.size(); ++i) {
    for (std::size_t j = 0; j < states.size(); ++j) {
      t.after(states[j], elements[i], 0);
      for (extent count = 1; count <= g.most_parts(); count = count < 3 ? count + 1 : 2 * count) {
        int const parts = static_cast<int>(count);
        extent numbers = 0;
        for (int part = 0; part < parts; ++part) {
          t.poison(poisoned), t.poison(made), t.poison(element);
          t.copy(g.part(states[j], part, parts), g.part(poisoned, part, parts));
          t.copy(g.part(elements[i], part, parts), g.part(element, part, parts));
          g.apply(host_stream{}, g.part(poisoned, part, parts), g.part(element, part, parts),
                  g.part(made, part, parts));
          auto const some = g.part(made, part, parts), wanted = g.part(whole, part, parts);
          bool same = t.written(made) == t.numbers(some);
          t.together(some, wanted, [&](const auto& left, const auto& right) {
            same = same && std::memcmp(&left, &right, sizeof left) == 0;
          });
          numbers += t.numbers(some);
          if (same) continue;
          throw law_violation(
              say("parts: part %d of %d of element %zu and state %zu gives other bits than the whole, or "
                  "writes elsewhere",
                  part, parts, i, j));
        }
        if (numbers == t.numbers(whole)) continue;
        throw law_violation(say("parts: %d parts have %lld numbers together; the state has %lld", parts,
                                static_cast<long long>(numbers), static_cast<long long>(t.numbers(whole))));
      }
    }
  }
}

/// transposed(element, value) is the adjoint of what an element does to a state: y (A s) and (y A) s differ by no more
/// than the bound times their terms.
template <class G>
void scan_adjoint_law(const G& g, span<const typename G::element> elements, span<const typename G::state> states,
                      double bound) {
  detail::scan_trial<G> const t(g);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    auto const constant = t.after(t.zero, elements[i], 0);
    for (const auto& s : states) {
      auto const left = t.after(s, elements[i], 1);
      for (std::size_t j = 0; j < states.size(); ++j) {
        auto const right = t.after(states[j], g.transposed(elements[i], t.zero), 2);
        double forward = 0, backward = 0, terms = 0;
        auto const add = [&](double& sum, double sign) {
          return [&sum, &terms, sign](const auto& a, const auto& b) {
            double const term = static_cast<double>(a) * static_cast<double>(b);
            sum += sign * term, terms += std::fabs(term);
          };
        };
        t.together(states[j], left, add(forward, 1)), t.together(states[j], constant, add(forward, -1));
        t.together(right, s, add(backward, 1));
        detail::hold_scan_law("adjoint", i, j, std::fabs(forward - backward) / (1 + terms), bound);
      }
    }
  }
}

/// All laws of a scan's algebra: what it does not offer (of compose with value_of, and of transposed) is not asked.
/// \throws law_violation
/// \snippet testing/scan_laws_test.cpp scan_laws
template <class G>
void scan_laws(const G& g, span<const typename G::element> elements, span<const typename G::state> states,
               double bound) {
  static_assert(scan_action<G, host_stream>, "[ringfold] scan_laws: not an action on host memory");
  scan_part_law(g, elements, states);
  if constexpr (scan_monoid<G, host_stream>) {
    scan_associative_law(g, elements, bound);
    scan_value_law(g, elements, bound);
    scan_action_law(g, elements, states, bound);
  }
  if constexpr (requires { g.transposed(elements[0], states[0]); }) scan_adjoint_law(g, elements, states, bound);
}

}  // namespace ringfold
