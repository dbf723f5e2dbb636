#pragma once

#include <concepts>

#include <ringfold/core/config.hpp>

/// \file
/// What can be folded in any grouping: the algebra that gathers, trees and helpers of every kind rest on.

namespace ringfold {

/// An associative combine() with a true identity, and whether the order of its operands is free.
///
/// combine(a, b) means a before b. The laws are in testing/monoid_laws.hpp.
template <class M>
concept monoid = std::copyable<typename M::element> &&
                 requires(const M& m, const typename M::element& a, const typename M::element& b) {
                   { m.identity() } -> std::same_as<typename M::element>;
                   { m.combine(a, b) } -> std::same_as<typename M::element>;
                   requires std::same_as<decltype(M::commutative), const bool>;
                 };

}  // namespace ringfold
