#pragma once

#include <concepts>
#include <type_traits>

#include <ringfold/algebra/exponential.hpp>
#include <ringfold/core/errors.hpp>
#include <ringfold/core/sizes.hpp>
#include <ringfold/sequence/mask.hpp>

/// \file
/// What becomes of q . k before the softmax: a scale, and parts that are put behind each other.

namespace ringfold {

/// One pair of query and key, in the numbers of the whole problem, whatever rank looks at it.
struct token_pair {
  extent batch, head, query, key;
};

/// What a problem has of each thing that a pair is told by.
struct pair_bounds {
  extent batches, heads, queries, keys;
  document_places documents{};
};

/// What a part of a score is, unless it says otherwise; derive yours from it.
///
/// A part is a function of the score so far (natural units) and the pair, with its slope, for A float or
/// double. It is copied with the problem; what it refers to stays readable as long as plans use it.
struct score_part {
  static constexpr bool changes = false;        ///< operator() does something
  static constexpr bool bends = false;          ///< slope() is not 1 everywhere
  static constexpr bool drops = false;          ///< keep() is not 1 everywhere
  static constexpr bool collects = false;       ///< collect() does something
  static constexpr bool differentiable = true;  ///< slope() is there

  /// The score that becomes of s.
  template <class A>
  A operator()(A s, const token_pair&) const {
    return s;
  }
  /// The derivative of the above with respect to s.
  template <class A>
  A slope(A, const token_pair&) const {
    return A(1.0);
  }
  /// What the weight is multiplied by after the softmax has been normalised without it.
  template <class A>
  A keep(const token_pair&) const {
    return A(1.0);
  }
  /// Takes the gradient of the score that this part made, where it has a gradient of its own.
  template <class A>
  void collect(A, const token_pair&) const {}
  /// Throws usage_error or shape_error when this part does not fit the problem.
  void check(const pair_bounds&) const {}
};

/// Leaves scores as they are.
struct unmodified : score_part {};

/// One part behind the other.
template <class First, class Then>
struct score_chain : score_part {
  static constexpr bool changes = First::changes || Then::changes, bends = First::bends || Then::bends,
                        drops = First::drops || Then::drops, collects = First::collects || Then::collects,
                        differentiable = First::differentiable && Then::differentiable;
  static_assert(!(First::collects && Then::bends),
                "[ringfold] a bias with a gradient stands before a part that bends scores; put it behind");

  First first;
  Then then;

  score_chain(First f, Then t) : first(f), then(t) {}

  template <class A>
  A operator()(A s, const token_pair& at) const {
    return then(first(s, at), at);
  }
  template <class A>
  A slope(A s, const token_pair& at) const {
    if constexpr (!Then::bends) {
      return first.slope(s, at);
    } else if constexpr (!First::bends) {
      return then.slope(first(s, at), at);
    } else {
      return first.slope(s, at) * then.slope(first(s, at), at);
    }
  }
  template <class A>
  A keep(const token_pair& at) const {
    return first.template keep<A>(at) * then.template keep<A>(at);
  }
  template <class A>
  void collect(A gradient, const token_pair& at) const {
    first.collect(gradient, at), then.collect(gradient, at);
  }
  void check(const pair_bounds& of) const { first.check(of), then.check(of); }
};

/// Scores are q . k times a scale, then changed by parts.
template <std::derived_from<score_part> Parts>
struct scored {
  double scale = 0;  ///< 0 means 1 / sqrt(dim)
  Parts parts{};
};

/// Scores are q . k times a scale: `scaled{0.125}`.
using scaled = scored<unmodified>;

/// The parts of one score, then those of another: `scaled{0.125} | softcap(30) | dropout(0.1, seed)`.
/// \throws usage_error when both have a scale.
template <class A, class B>
auto operator|(scored<A> first, scored<B> then) {
  if (first.scale != 0 && then.scale != 0) {
    throw usage_error(say("score: scales of %g and %g; give one", first.scale, then.scale));
  }
  double const scale = first.scale != 0 ? first.scale : then.scale;
  if constexpr (std::is_same_v<A, unmodified>) {
    return scored<B>{scale, then.parts};
  } else if constexpr (std::is_same_v<B, unmodified>) {
    return scored<A>{scale, first.parts};
  } else {
    return scored<score_chain<A, B>>{scale, {first.parts, then.parts}};
  }
}

/// A part that is there or not, as a command line says.
template <class Part>
struct optional_part : score_part {
  static constexpr bool changes = Part::changes, bends = Part::bends, drops = Part::drops, collects = Part::collects,
                        differentiable = Part::differentiable;
  Part part;
  bool present;

  optional_part(Part of, bool there) : part(of), present(there) {}

  template <class A>
  A operator()(A s, const token_pair& at) const {
    return present ? part(s, at) : s;
  }
  template <class A>
  A slope(A s, const token_pair& at) const {
    return present ? part.slope(s, at) : A(1.0);
  }
  template <class A>
  A keep(const token_pair& at) const {
    return present ? part.template keep<A>(at) : A(1.0);
  }
  template <class A>
  void collect(A gradient, const token_pair& at) const {
    if (present) part.collect(gradient, at);
  }
  void check(const pair_bounds& of) const {
    if (present) part.check(of);
  }
};

/// The parts of a score where `present`, none of them where not: one type for both.
template <class Parts>
scored<optional_part<Parts>> optionally(bool present, scored<Parts> score) {
  return {score.scale, {score.parts, present}};
}

/// A cap: s becomes cap * tanh(s / cap).
struct softcap_part : score_part {
  static constexpr bool changes = true, bends = true;
  double cap = 1;

  softcap_part() = default;
  explicit softcap_part(double at) : cap(at) {}

  template <class A>
  A operator()(A s, const token_pair&) const {
    return A(cap) * exponential::tanh(s * A(1 / cap));
  }
  template <class A>
  A slope(A s, const token_pair&) const {
    A const t = exponential::tanh(s * A(1 / cap));
    return detail::fused(-t, t, A(1));
  }
};

/// Keeps scores within (-cap, cap). \throws usage_error when the cap is not in [1e-30, 1e30]: it, its inverse and scores in
/// units of log2 are floats. Source: Gemma 2 (2024).
inline scored<softcap_part> softcap(double cap) {
  if (!(cap >= 1e-30 && cap <= 1e30)) {
    throw usage_error(say("softcap: a cap of %g; it must be in [1e-30, 1e30]", cap));
  }
  return {0, softcap_part(cap)};
}

/// No slope was given.
struct no_slope {};

/// Scores by a function of (score, token_pair), and its derivative with respect to the score by another.
template <class F, class Slope>
struct score_function_part : score_part {
  static constexpr bool changes = true, bends = true, differentiable = !std::is_same_v<Slope, no_slope>;
  static_assert(
      std::is_invocable_r_v<float, const F&, float, const token_pair&>,
      "[ringfold] score_function: the first is no const function of (score, token_pair) that returns a score");
  static_assert(
      !differentiable || std::is_invocable_r_v<float, const Slope&, float, const token_pair&>,
      "[ringfold] score_function: the second is no const function of (score, token_pair) that returns a slope");
  F function;
  Slope derivative;

  score_function_part(F f, Slope d) : function(f), derivative(d) {}

  template <class A>
  A operator()(A s, const token_pair& at) const {
    static_assert(sizeof(function(s, at)) >= sizeof(A) || std::is_integral_v<decltype(function(s, at))>,
                  "[ringfold] score_function: it gives float where scores are double; take the score as auto");
    return A(function(s, at));
  }
  template <class A>
  A slope(A s, const token_pair& at) const {
    return A(derivative(s, at));
  }
};

/// Scores of your own: `score_function([](auto s, const token_pair& at) { ... }, [](auto s, const token_pair& at) { ... })`.
///
/// The function is called for float or double; -inf hides the pair. It may be called for pairs that a mask hides, with
/// whatever their score is. Without the second function there is no backward pass.
/// \snippet attention/score_test.cpp score_function
template <class F, class Slope = no_slope>
scored<score_function_part<F, Slope>> score_function(F f, Slope slope = {}) {
  return {0, {f, slope}};
}

}  // namespace ringfold
