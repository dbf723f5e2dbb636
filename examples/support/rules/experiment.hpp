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

/// What there is besides tokens. Gradients take a tape of all inputs and all steps of a head.
struct asked {
  bool initial = true, final = true;  ///< states: one that enters, and a gradient of the last one
  bool gradients = true;
};

/// A sequence of tokens for one rule. `Spec` says what it is:
/// - `rule`, `problem(layout, documents, batch, heads)`, `inputs()`, `out_width()`, `state_size()` for each head;
/// - `define(experiment, values, batch, head)` fills out and final of one head from in and initial;
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
  std::size_t of_head(extent b, extent h, extent i, extent width) const {
    return static_cast<std::size_t>((b * heads + h) * width + i);
  }

  /// Whether a document begins with a token, and nothing enters it.
  bool begins(extent t) const { return t > 0 && packed.first(packed.at(t)) == t; }

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
    if (!what.gradients) {
      values<double> x{given.in, initial, made.out, made.final};
      for (extent b = 0; b < batch; ++b) {
        for (extent h = 0; h < heads; ++h) spec.define(*this, x, b, h);
      }
      made.out = x.out, made.final = x.final;
      return;
    }
    for (extent b = 0; b < batch; ++b) {
      for (extent h = 0; h < heads; ++h) define(b, h, initial, final);
    }
  }

 private:
  void define(extent b, extent h, const numbers& initial, const numbers& final) {
    ringfold::examples::tape steps;
    auto const on_tape = [&](const numbers& from) {
      std::vector<taped> to;
      for (double const each : from) to.emplace_back(each, steps);
      return to;
    };
    values<taped> x;
    for (const numbers& each : given.in) x.in.push_back(on_tape(each));
    x.initial = on_tape(initial);
    x.out.resize(given.out.size()), x.final.resize(final.size());
    spec.define(*this, x, b, h);

    numbers slopes(static_cast<std::size_t>(steps.steps()));
    auto const made_from = [&](numbers& to, const std::vector<taped>& from, const numbers& cotangent) {
      for (std::size_t i = 0; i < to.size(); ++i) {
        to[i] += from[i].value;
        if (from[i].at >= 0) slopes[static_cast<std::size_t>(from[i].at)] += cotangent[i];
      }
    };
    made_from(made.out, x.out, given.out), made_from(made.final, x.final, final);
    steps.differentiate(slopes);
    auto const slopes_of = [&](numbers& to, const std::vector<taped>& of) {
      for (std::size_t i = 0; i < to.size(); ++i) to[i] += slopes[static_cast<std::size_t>(of[i].at)];
    };
    for (std::size_t i = 0; i < x.in.size(); ++i) slopes_of(made.in[i], x.in[i]);
    slopes_of(made.initial, x.initial);
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
