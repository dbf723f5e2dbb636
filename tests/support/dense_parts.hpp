#pragma once

#include <algorithm>
#include <tuple>
#include <vector>

#include "dense_recurrences.hpp"
#include "sharded.hpp"

/// \file
/// Runs of the verbs of delta rules and DPLR without ranks: part after part, with elements put together by hand.

namespace dense_recurrences {

/// The same numbers as T.
template <class T>
struct memory {
  std::vector<T> q, k, v, beta, a, b, gates, initial, out, final;
  memory() = default;
  explicit memory(const numbers& x)
      : q(x.q.begin(), x.q.end()),
        k(x.k.begin(), x.k.end()),
        v(x.v.begin(), x.v.end()),
        beta(x.beta.begin(), x.beta.end()),
        a(x.a.begin(), x.a.end()),
        b(x.b.begin(), x.b.end()),
        gates(x.gates.begin(), x.gates.end()),
        initial(x.initial.begin(), x.initial.end()),
        out(x.out.begin(), x.out.end()),
        final(x.final.begin(), x.final.end()) {}
  numbers back() const {
    auto const as_double = [](const std::vector<T>& of) { return std::vector<double>(of.begin(), of.end()); };
    return {as_double(q), as_double(k),     as_double(v),       as_double(beta), as_double(a),
            as_double(b), as_double(gates), as_double(initial), as_double(out),  as_double(final)};
  }
};

/// The library's operands over an experiment's memory; Made is const T or T.
template <class Made, class T>
Made operands(const experiment& e, memory<T>& of) {
  auto const& s = e.size;
  auto const rows = [&](std::vector<T>& from, extent width) {
    return dense(from.empty() ? nullptr : from.data(), s.batch, s.tokens, s.heads, width);
  };
  view<T, 4> gates{};
  if (e.gates == gating::per_head) {
    gates = {of.gates.data(), {s.batch, s.tokens, s.heads, 1}, {0, 0, 1, 0}};
  } else if (e.gates != gating::none) {
    gates = rows(of.gates, e.gate_width());
  }
  Made made;
  made.q = rows(of.q, s.dim), made.k = rows(of.k, s.dim), made.v = rows(of.v, s.value_dim), made.gates = gates;
  if constexpr (requires { made.beta; }) {
    made.beta = rows(of.beta, 1);
  } else {
    made.a = rows(of.a, s.dim), made.b = rows(of.b, s.dim);
  }
  return made;
}

/// Memory that take(arena) asks for, full of numbers that are none, and what use makes of it.
template <class Take, class Use>
void with_workspace(Take take, Use use) {
  arena<> measuring;
  (void)take(measuring);
  sharded::workspace real(measuring.used());
  use(take(real.arena()));
}

template <class T>
recurrence_problem<T> problem_of(const experiment& e) {
  auto const& s = e.size;
  return {contiguous(s.tokens, 1), documents{s.tokens}, s.batch, s.heads, s.dim, s.value_dim, e.scale};
}

/// Parts that follow each other: what each enters with is what the elements before it make of the initial state.
template <class T, class Rule, class Operands, class Gradients>
numbers run_as(const experiment& e, Rule rule, const std::vector<extent>& lengths) {
  auto const& s = e.size;
  auto const p = problem_of<T>(e);
  extent const longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  typename Rule::template algebra<T> const algebra{s.batch, s.heads, s.dim, s.value_dim};
  memory<T> in(e.in), to(e.made);
  for (auto* each : {&to.q, &to.k, &to.v, &to.beta, &to.a, &to.b, &to.gates, &to.out}) {
    std::fill(each->begin(), each->end(), T(0));
  }
  auto const of = operands<Operands>(e, in);
  auto const gradients = operands<Gradients>(e, to);
  auto const out = dense(to.out.data(), s.batch, s.tokens, s.heads, s.value_dim);
  view<const T, 4> const dout = dense(in.out.data(), s.batch, s.tokens, s.heads, s.value_dim);
  auto const state_of = [&](std::vector<T>& from) { return dense(from.data(), s.batch, s.heads, s.dim, s.value_dim); };

  auto const take = [&](arena<>& from) {
    auto work = rule.forward_workspace(p, longest, from);
    auto backward = rule.backward_workspace_for(p, longest, from);
    std::vector<view<T, 4>> states;
    for (std::size_t i = 0; i <= lengths.size(); ++i) states.push_back(algebra.take_state(from));
    auto element = algebra.take_element(from);
    auto dstate = algebra.take_state(from), next = algebra.take_state(from);
    return std::tuple(work, backward, states, element, dstate, next);
  };
  with_workspace(take, [&](auto taken) {
    auto& [work, backward, states, element, dstate, next] = taken;
    host_stream const on;
    std::vector<range> parts;
    extent first = 0;
    for (extent const length : lengths) parts.push_back({first, length}), first += length;
    on.copy(piece_of(states[0], role::state), piece_of(state_of(in.initial), role::state));
    for (std::size_t i = 0; i < parts.size(); ++i) {
      rule.summarize(work, p, of.rows(parts[i]), element);
      rule.within(work, p, of.rows(parts[i]), slice(out, row_axis, parts[i]), [] {});
      rule.carry(work, p, of.rows(parts[i]), view<const T, 4>(states[i]), slice(out, row_axis, parts[i]));
      algebra.apply(on, states[i], element, states[i + 1]);
    }
    on.copy(piece_of(state_of(to.final), role::state), piece_of(states.back(), role::state));
    on.copy(piece_of(dstate, role::state), piece_of(state_of(in.final), role::state));
    for (std::size_t i = parts.size(); i-- > 0;) {
      auto const given = slice(dout, row_axis, parts[i]);
      rule.summarize_backward(backward, p, of.rows(parts[i]), given, element);
      rule.within_backward(backward, p, of.rows(parts[i]), given, gradients.rows(parts[i]), [] {});
      rule.carry_backward(backward, p, of.rows(parts[i]), given, view<const T, 4>(states[i]), view<const T, 4>(dstate),
                          gradients.rows(parts[i]));
      algebra.apply(on, dstate, element, next);
      std::swap(dstate, next);
    }
    on.copy(piece_of(state_of(to.initial), role::state), piece_of(dstate, role::state));
  });
  return to.back();
}

/// The element of some tokens, forward or backward.
template <class Rule, class Operands>
void summarize_as(const experiment& e, Rule rule, range of, bool backward, const affine_element<double>& into) {
  auto const p = problem_of<double>(e);
  memory<double> in(e.in);
  auto const all = operands<Operands>(e, in);
  view<const double, 4> const dout = dense(in.out.data(), e.size.batch, e.size.tokens, e.size.heads, e.size.value_dim);
  auto const take = [&](arena<>& from) {
    auto work = rule.forward_workspace(p, of.count, from);
    return std::pair(work, rule.backward_workspace_for(p, of.count, from));
  };
  with_workspace(take, [&](auto taken) {
    if (backward) {
      rule.summarize_backward(taken.second, p, all.rows(of), slice(dout, row_axis, of), into);
    } else {
      rule.summarize(taken.first, p, all.rows(of), into);
    }
  });
}
inline void summarize(const experiment& e, extent chunk, range of, bool backward, const affine_element<double>& into) {
  if (e.rule == rule_name::delta) {
    summarize_as<delta_rule<gating::per_row>, delta_operands<double>>(e, {chunk}, of, backward, into);
  } else {
    summarize_as<dplr<gating::per_row>, dplr_operands<double>>(e, {chunk}, of, backward, into);
  }
}

/// Gates are given spread, so that one instantiation of each rule sees them all.
template <class T>
numbers run(const experiment& e, extent chunk, const std::vector<extent>& lengths) {
  if (e.rule == rule_name::delta) {
    return run_as<T, delta_rule<gating::per_row>, delta_operands<T>, delta_gradients<T>>(e, {chunk}, lengths);
  }
  return run_as<T, dplr<gating::per_row>, dplr_operands<T>, dplr_gradients<T>>(e, {chunk}, lengths);
}

}  // namespace dense_recurrences
