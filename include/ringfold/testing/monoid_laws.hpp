#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <ringfold/algebra/monoid.hpp>
#include <ringfold/core/span.hpp>
#include <ringfold/testing/law.hpp>

/// \file
/// The laws of a monoid, run on elements that you choose: put the hard ones in (empty, tied, far apart, huge).
///
/// `distance(a, b)` is a number that is 0 for equal elements; `valid(a)` says that an element is one at all (no NaN).
/// Elements must have no padding, since "the same" means the same bytes.

namespace ringfold {

namespace detail {

template <class T>
bool same_bytes(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

template <class E, class Distance>
double checked_distance(const char* law, std::size_t i, std::size_t j, const E& a, const E& b, Distance distance,
                        double bound) {
  double const apart = distance(a, b);
  if (!(apart <= bound)) {
    throw law_violation(
        say("%s: for elements %zu and %zu the two sides are %g apart; at most %g is allowed", law, i, j, apart, bound));
  }
  return apart;
}

}  // namespace detail

/// identity + a and a + identity are a, to the bit.
template <monoid M>
void identity_law(const M& m, span<const typename M::element> elements) {
  auto const one = m.identity();
  if (!detail::same_bytes(m.combine(one, one), one))
    throw law_violation(say("identity: identity + identity changes it"));
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if (!detail::same_bytes(m.combine(one, elements[i]), elements[i])) {
      throw law_violation(say("identity: identity + element %zu is not element %zu", i, i));
    }
    if (!detail::same_bytes(m.combine(elements[i], one), elements[i])) {
      throw law_violation(say("identity: element %zu + identity is not element %zu", i, i));
    }
  }
}

/// (a + b) + c and a + (b + c) are within the bound. Returns the largest distance seen.
template <monoid M, class Distance>
double associative_law(const M& m, span<const typename M::element> elements, Distance distance, double bound) {
  double most = 0;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    for (std::size_t j = 0; j < elements.size(); ++j) {
      for (const auto& last : elements) {
        auto const left = m.combine(m.combine(elements[i], elements[j]), last);
        auto const right = m.combine(elements[i], m.combine(elements[j], last));
        double const apart = detail::checked_distance("associativity", i, j, left, right, distance, bound);
        most = apart > most ? apart : most;
      }
    }
  }
  return most;
}

/// a + b and b + a are the same, to the bit, if the monoid claims to be commutative.
template <monoid M>
void commutative_law(const M& m, span<const typename M::element> elements) {
  if (!M::commutative) return;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (!detail::same_bytes(m.combine(elements[i], elements[j]), m.combine(elements[j], elements[i]))) {
        throw law_violation(say("commutativity: elements %zu and %zu give other bits when exchanged", i, j));
      }
    }
  }
}

/// Random trees over random elements give valid elements, within the bound of the fold from the left; where the monoid
/// claims to be commutative the trees take their leaves in any order. Returns the largest distance seen.
template <monoid M, class Distance, class Valid>
double tree_law(const M& m, span<const typename M::element> elements, Distance distance, double bound, Valid valid,
                std::uint64_t seed = 1) {
  using element = typename M::element;
  detail::random_bits random{seed};
  double most = 0;
  auto const check = [&](const element& e, std::size_t tree) {
    if (!valid(e)) {
      throw law_violation(say("closure: tree %zu of seed %llu holds what is not a valid element", tree,
                              static_cast<unsigned long long>(seed)));
    }
  };
  for (std::size_t tree = 0; !elements.empty() && tree < 200; ++tree) {
    std::size_t const leaves = 1 + random.below(40);
    std::vector<element> open;
    element fold = m.identity();
    for (std::size_t i = 0; i < leaves; ++i) {
      open.push_back(elements[random.below(elements.size())]);
      check(fold = m.combine(fold, open.back()), tree);
    }
    while (open.size() > 1) {
      std::size_t const a = random.below(open.size() - 1);
      std::size_t const b = M::commutative ? a + 1 + random.below(open.size() - a - 1) : a + 1;
      check(open[a] = m.combine(open[a], open[b]), tree);
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(b));
    }
    double const apart = detail::checked_distance("random tree", tree, leaves, fold, open[0], distance, bound);
    most = apart > most ? apart : most;
  }
  return most;
}

/// All laws of a monoid. \throws law_violation
template <monoid M, class Distance, class Valid>
void monoid_laws(const M& m, span<const typename M::element> elements, Distance distance, double bound, Valid valid,
                 std::uint64_t seed = 1) {
  identity_law(m, elements);
  commutative_law(m, elements);
  associative_law(m, elements, distance, bound);
  tree_law(m, elements, distance, bound, valid, seed);
}

}  // namespace ringfold
