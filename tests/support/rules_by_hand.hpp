#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <ringfold/algebra/affine.hpp>

#include "../../examples/support/rules/shard_of.hpp"
#include "sharded.hpp"

/// \file
/// A rule held against its definition, token by token: part after part, as if each were a rank, with elements put together
/// by hand.

namespace rules {

/// Whether states go from part to part, or elements are joined to what is before each part.
enum class combined : unsigned char { applied, joined };

/// Runs a rule over parts of so many tokens each, forward and backward.
template <class T, class Spec>
values<double> run_by_hand(const experiment<Spec>& e, const std::vector<extent>& parts,
                           combined how = combined::applied) {
  using A = accumulate_t<T>;
  auto const rule = e.spec.rule();
  auto const tokens = contiguous(e.tokens, 1);
  auto const p = e.spec.template problem<T>(tokens, e.packed, e.batch, e.heads);
  sharded::workspace scratch(1 << 22);
  auto& memory = scratch.arena();
  auto const algebra = rule.algebra_for(p, memory);
  using element = typename std::remove_cvref_t<decltype(algebra)>::element;
  host_stream const on;
  auto const read_only = [](const view<A, 4>& state) -> view<const A, 4> { return state; };

  shard_of<T, A, Spec> const mine(e, tokens, 0);
  auto const all = mine.read(e.spec).operands(p, e.tokens);
  auto const gradients = mine.written(e.spec).operands(p, e.tokens);
  view<const T, 4> const dout = mine.dout;
  std::vector<A> initial(e.given.initial.begin(), e.given.initial.end()),
      final(e.given.final.begin(), e.given.final.end());

  std::vector<range> rows;
  for (extent first = 0; extent const count : parts) rows.push_back({first, count}), first += count;
  auto const longest = *std::max_element(parts.begin(), parts.end());
  auto work = rule.forward_workspace(p, longest, memory);
  auto back = rule.backward_workspace_for(p, longest, memory);
  std::size_t const count = parts.size();

  // The states before each part and after the last, from elements in the order given.
  auto const prefixes = [&](const std::vector<element>& elements, std::vector<A>& seed) {
    std::vector<view<A, 4>> states{algebra.take_state(memory)};
    std::copy(seed.begin(), seed.end(), states[0].data);
    for (std::size_t i = 0; i < count; ++i) {
      states.push_back(algebra.take_state(memory));
      if (how == combined::applied) {
        algebra.apply(on, states[i], elements[i], states[i + 1]);
        continue;
      }
      // (e_1 (e_2 (e_3 ..))) applied to the seed: the other order of joining.
      element joined = elements[i];
      for (std::size_t j = i; j-- > 0;) {
        element const next = algebra.take_element(memory);
        algebra.compose(on, elements[j], joined, next);
        joined = next;
      }
      algebra.apply(on, states[0], joined, states[i + 1]);
    }
    return states;
  };

  std::vector<element> elements;
  for (const range& part : rows) {
    elements.push_back(algebra.take_element(memory));
    rule.summarize(work, p, all.rows(part), elements.back());
  }
  auto const enters = prefixes(elements, initial);
  for (std::size_t i = 0; i < count; ++i) {
    auto const part = slice(mine.out.whole, row_axis, rows[i]);
    rule.within(work, p, all.rows(rows[i]), part, [] {});
    rule.carry(work, p, all.rows(rows[i]), read_only(enters[i]), part);
  }

  std::vector<element> backward;
  for (std::size_t i = count; i-- > 0;) {
    backward.push_back(algebra.take_element(memory));
    auto const cotangent = slice(dout, row_axis, rows[i]);
    if constexpr (requires { rule.reads_entering_state; }) {
      rule.summarize_backward(back, p, all.rows(rows[i]), cotangent, read_only(enters[i]), backward.back());
    } else {
      rule.summarize_backward(back, p, all.rows(rows[i]), cotangent, backward.back());
    }
  }
  auto const leaves = prefixes(backward, final);
  for (std::size_t i = 0; i < count; ++i) {
    auto const part = all.rows(rows[i]);
    auto const cotangent = slice(dout, row_axis, rows[i]);
    rule.within_backward(back, p, part, cotangent, gradients.rows(rows[i]), [] {});
    rule.carry_backward(back, p, part, cotangent, read_only(enters[i]), read_only(leaves[count - 1 - i]),
                        gradients.rows(rows[i]));
  }

  values<double> made;
  mine.add_to(made, e, tokens, 0);
  auto const numbers_of = [](const auto& state) {
    numbers got(static_cast<std::size_t>(state.size()));
    for (std::size_t i = 0; i < got.size(); ++i) got[i] = static_cast<double>(state.data[i]);
    return got;
  };
  made.final = e.plain(numbers_of(enters.back())), made.initial = e.plain(numbers_of(leaves.back()));
  return made;
}

/// Tokens dealt into parts: one, of one token each, some empty, any.
inline std::vector<extent> parts_of(extent tokens, int kind, std::mt19937_64& random) {
  if (kind == 0) return {tokens};
  if (kind == 1) return std::vector<extent>(static_cast<std::size_t>(tokens), 1);
  std::vector<extent> made;
  for (extent left = tokens; left > 0;) {
    made.push_back(std::min<extent>(left, static_cast<extent>(random() % 6)));
    left -= made.back();
  }
  made.push_back(0);
  return made;
}

/// However tokens are cut, and elements put together, a rule gives what is wanted.
template <class T, class Spec>
void check_by_hand(const experiment<Spec>& e, std::uint64_t seed, double bound, double bound_of_gradients) {
  std::mt19937_64 random(seed);
  for (int kind = 0; kind < 5; ++kind) {
    CAPTURE(e.tokens);
    CAPTURE(kind);
    auto const parts = parts_of(e.tokens, kind, random);
    for (auto const how : {combined::applied, combined::joined}) {
      auto const off = apart(run_by_hand<T>(e, parts, how), e.made);
      CHECK(off.out <= bound);
      CHECK(off.gradients <= bound_of_gradients);
    }
  }
}

}  // namespace rules
