#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include <ringfold/recurrence/problem.hpp>

#include "../taped.hpp"

/// \file
/// A recurrence by its definition, token by token in fp64, with the gradients of all it reads.

namespace rules {

using ringfold::documents;
using ringfold::extent;
using ringfold::examples::taped;

/// One input: as wide for each token and head, or as long for each head and the same for all tokens. Numbers between
/// low and high are drawn, such that bf16 holds them.
struct input {
  extent width;
  bool of_tokens = true;
  double low = -1, high = 1;
  double resets = 0;  ///< how often one is -inf
};

using numbers = std::vector<double>;

/// What a definition works on and makes.
template <class N>
struct values {
  std::vector<std::vector<N>> in;
  std::vector<N> initial, out, final;
};

/// What there is besides tokens. Gradients take a tape of all inputs and steps of one head at a time.
struct asked {
  bool initial = true, final = true;  ///< states: one that enters, and a gradient of the last one
  bool gradients = true;
};

/// One head of a sequence, as a definition sees it: numbers are [token, i], those of states or given once [i].
struct one_head {
  extent tokens;
  const documents* packed;

  std::size_t at(extent t, extent i, extent width) const { return static_cast<std::size_t>(t * width + i); }
  /// Whether a document begins with a token, and nothing enters it.
  bool begins(extent t) const { return t > 0 && packed->first(packed->at(t)) == t; }
};

/// A sequence of tokens for one rule. `Spec` says what it is:
/// - `rule`, `problem(layout, documents, batch, heads)`, `inputs()`, `out_width()`, `state_size()` for each head;
/// - `define(one_head, values)` fills out and final of one head from in and initial;
/// - `plain(states)`, where states are kept in another way than define() has them;
/// - `tensors<Tensors>(elements, sums)` picks the rule's tensors among views [batch, row, head, width] of all inputs, once
///   in the type of elements and once in that of sums; what is not of tokens has one row.
template <class Spec>
struct experiment {
  Spec spec;
  extent tokens, batch, heads;
  documents packed;
  asked what;
  values<double> given;  ///< out and final are the cotangents
  values<double> made;   ///< out and final; the gradients of in and initial

  experiment(Spec s, extent count, extent b, extent h, std::uint64_t seed)
      : experiment(s, documents{count}, b, h, seed) {}
  experiment(Spec s, documents parts, extent b, extent h, std::uint64_t seed, asked a = {})
      : spec(s), tokens(parts.tokens()), batch(b), heads(h), packed(std::move(parts)), what(a) {
    std::mt19937_64 random(seed);
    auto const draw = [&](extent many, const input& of) {
      numbers drawn(static_cast<std::size_t>(many));
      for (double& each : drawn) {
        each = of.low + (of.high - of.low) * static_cast<double>(random() % 33) / 32;
        if (of.resets > 0 && static_cast<double>(random() % 1000) < 1000 * of.resets) each = -INFINITY;
      }
      return drawn;
    };
    for (const input& each : spec.inputs()) given.in.push_back(draw(size_of(each), each));
    extent const states = ringfold::checked_multiply(batch, count(false, spec.state_size()));
    given.initial = draw(states, {1});
    given.out = draw(count(true, spec.out_width()), {1});
    given.final = draw(states, {1});
    if (!what.initial) given.initial.assign(given.initial.size(), 0.0);
    if (!what.final) given.final.assign(given.final.size(), 0.0);
    define();
  }

  extent size_of(const input& of) const { return count(of.of_tokens, of.width); }
  extent count(bool of_tokens, extent width) const {
    using ringfold::checked_multiply;
    return checked_multiply(of_tokens ? checked_multiply(batch, tokens) : 1, checked_multiply(heads, width));
  }
  std::size_t at(extent b, extent t, extent h, extent i, extent width) const {
    return static_cast<std::size_t>(((b * tokens + t) * heads + h) * width + i);
  }
  /// States as numbers, where they are kept in another way.
  numbers plain(const numbers& states) const {
    if constexpr (requires { spec.plain(states); }) {
      return spec.plain(states);
    } else {
      return states;
    }
  }

  /// Outputs by the definition, and gradients by its tape, head by head.
  void define() {
    auto const zeros_like = [](const numbers& of) { return numbers(of.size()); };
    made = {{}, zeros_like(given.initial), zeros_like(given.out), zeros_like(given.final)};
    for (const numbers& each : given.in) made.in.push_back(what.gradients ? zeros_like(each) : numbers{});
    numbers const initial = plain(given.initial), final = plain(given.final);
    for (extent b = 0; b < batch; ++b) {
      for (extent h = 0; h < heads; ++h) {
        what.gradients ? differentiate(b, h, initial, final) : evaluate(b, h, initial);
      }
    }
  }

 private:
  /// Where the numbers of one head are among all: rows of `width`, each `step` behind the one before.
  struct part {
    extent first, step, rows, width;

    /// Calls f(place among all, place in the head).
    template <class F>
    void for_each(F f) const {
      std::size_t own = 0;
      for (extent row = 0; row < rows; ++row) {
        for (extent i = 0; i < width; ++i) f(static_cast<std::size_t>(first + row * step + i), own++);
      }
    }
  };
  part of_tokens(extent b, extent h, extent width) const {
    return {(b * tokens * heads + h) * width, heads * width, tokens, width};
  }
  part of_states(extent b, extent h) const { return {(b * heads + h) * spec.state_size(), 0, 1, spec.state_size()}; }
  part of_input(extent b, extent h, const input& of) const {
    return of.of_tokens ? of_tokens(b, h, of.width) : part{h * of.width, 0, 1, of.width};
  }

  /// What the definition makes of one head, with numbers as `give` makes them.
  template <class N, class Give>
  values<N> defined(extent b, extent h, const numbers& initial, Give give) const {
    auto const taken = [&](const numbers& from, part where) {
      std::vector<N> to;
      where.for_each([&](std::size_t all, std::size_t) { to.push_back(give(from[all])); });
      return to;
    };
    values<N> x;
    auto const inputs = spec.inputs();
    for (std::size_t i = 0; i < inputs.size(); ++i) x.in.push_back(taken(given.in[i], of_input(b, h, inputs[i])));
    x.initial = taken(initial, of_states(b, h));
    x.out.resize(static_cast<std::size_t>(tokens * spec.out_width()));
    x.final.resize(x.initial.size());
    spec.define(one_head{tokens, &packed}, x);
    return x;
  }

  void evaluate(extent b, extent h, const numbers& initial) {
    auto const x = defined<double>(b, h, initial, [](double each) { return each; });
    of_tokens(b, h, spec.out_width()).for_each([&](std::size_t all, std::size_t own) { made.out[all] = x.out[own]; });
    of_states(b, h).for_each([&](std::size_t all, std::size_t own) { made.final[all] = x.final[own]; });
  }

  void differentiate(extent b, extent h, const numbers& initial, const numbers& final) {
    ringfold::examples::tape steps;
    auto const x = defined<taped>(b, h, initial, [&](double each) { return taped(each, steps); });
    numbers slopes(static_cast<std::size_t>(steps.steps()));
    auto const made_from = [&](numbers& to, part where, const std::vector<taped>& from, const numbers& cotangent) {
      where.for_each([&](std::size_t all, std::size_t own) {
        to[all] = from[own].value;
        if (from[own].at >= 0) slopes[static_cast<std::size_t>(from[own].at)] += cotangent[all];
      });
    };
    made_from(made.out, of_tokens(b, h, spec.out_width()), x.out, given.out);
    made_from(made.final, of_states(b, h), x.final, final);
    steps.differentiate(slopes);
    auto const slopes_of = [&](numbers& to, part where, const std::vector<taped>& of) {
      where.for_each(
          [&](std::size_t all, std::size_t own) { to[all] += slopes[static_cast<std::size_t>(of[own].at)]; });
    };
    auto const inputs = spec.inputs();
    for (std::size_t i = 0; i < inputs.size(); ++i) slopes_of(made.in[i], of_input(b, h, inputs[i]), x.in[i]);
    slopes_of(made.initial, of_states(b, h), x.initial);
  }
};

/// How far two lists of numbers are apart, relative to the largest; infinity when one is none.
inline double apart(const numbers& got, const numbers& wanted) {
  double most = got.size() == wanted.size() ? 0 : INFINITY, largest = 1;
  for (double const each : wanted) largest = std::fmax(largest, std::fabs(each));
  for (std::size_t i = 0; i < got.size() && i < wanted.size(); ++i) {
    double const off = std::fabs(got[i] - wanted[i]);
    most = std::fmax(most, got[i] == wanted[i] ? 0 : std::isfinite(off) ? off / largest : INFINITY);
  }
  return most;
}

/// How far all results are off, and how far gradients are.
struct distance {
  double out, gradients;
};
inline distance apart(const values<double>& got, const values<double>& wanted) {
  double slopes = apart(got.initial, wanted.initial);
  for (std::size_t i = 0; i < wanted.in.size(); ++i) slopes = std::fmax(slopes, apart(got.in[i], wanted.in[i]));
  return {std::fmax(apart(got.out, wanted.out), apart(got.final, wanted.final)), slopes};
}

}  // namespace rules
