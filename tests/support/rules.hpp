#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <ringfold/algebra/affine.hpp>
#include <ringfold/recurrence/problem.hpp>

#include "sharded.hpp"

/// \file
/// A rule held against its definition, token by token, and against differences of the definition: part after part, as if
/// each were a rank, with elements put together by hand.

namespace rules {

using namespace ringfold;

/// One input: as wide for each token and head, or as long for each head and the same for all tokens. Numbers between
/// low and high are drawn, such that bf16 holds them.
struct input {
  extent width;
  bool of_tokens = true;
  double low = -1, high = 1;
  double resets = 0;  ///< how often one is -inf
};

using numbers = std::vector<double>;

/// What a definition works on and makes. N is long double, so that differences are good for twelve digits.
template <class N>
struct values {
  std::vector<std::vector<N>> in;
  std::vector<N> initial, out, final;
};

/// A sequence of tokens for one rule. `Spec` says what it is:
/// - `rule`, `problem(layout, documents, batch, heads)`, `inputs()`, `out_width()`, `state_size()` for each head;
/// - `define(experiment, values)` fills out and final from in and initial;
/// - `plain(states)`, where states are kept in another way than define() has them;
/// - `tensors<Tensors>(elements, sums)` picks the rule's tensors among views [batch, row, head, width] of all inputs, once
///   in the type of elements and once in that of sums; what is not of tokens has one row.
template <class Spec>
struct experiment {
  Spec spec;
  extent tokens, batch, heads;
  documents packed;
  values<double> given;  ///< out and final are the cotangents
  values<double> made;   ///< out and final; the gradients of in and initial

  experiment(Spec s, extent count, extent b, extent h, std::uint64_t seed)
      : experiment(s, documents{count}, b, h, seed) {}
  experiment(Spec s, documents parts, extent b, extent h, std::uint64_t seed)
      : spec(s), tokens(parts.tokens()), batch(b), heads(h), packed(std::move(parts)) {
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
    given.initial = draw(batch * heads * spec.state_size(), {1});
    given.out = draw(batch * tokens * heads * spec.out_width(), {1});
    given.final = draw(batch * heads * spec.state_size(), {1});
    define();
  }

  extent size_of(const input& of) const { return (of.of_tokens ? batch * tokens : 1) * heads * of.width; }
  std::size_t at(extent b, extent t, extent h, extent i, extent width) const {
    return static_cast<std::size_t>(((b * tokens + t) * heads + h) * width + i);
  }
  std::size_t of_head(extent b, extent h, extent i, extent width) const {
    return static_cast<std::size_t>((b * heads + h) * width + i);
  }

  /// Whether a document begins with a token, and nothing enters it.
  bool begins(extent t) const { return t > 0 && packed.first(packed.at(t)) == t; }

  /// States as numbers, where they are kept in another way.
  template <class N>
  std::vector<N> plain(const std::vector<N>& states) const {
    if constexpr (requires { spec.plain(states); }) {
      return spec.plain(states);
    } else {
      return states;
    }
  }

  /// Outputs by the definition; gradients by differences of five points.
  void define() {
    using N = long double;
    values<N> x;
    for (const auto& each : given.in) x.in.emplace_back(each.begin(), each.end());
    auto const widened = [&](const numbers& from) { return plain(std::vector<N>(from.begin(), from.end())); };
    x.initial = widened(given.initial);
    auto const final = widened(given.final);
    auto const loss = [&] {
      x.out.assign(given.out.size(), N{0}), x.final.assign(given.final.size(), N{0});
      spec.define(*this, x);
      N sum = 0;
      for (std::size_t i = 0; i < x.out.size(); ++i) sum += x.out[i] * N(given.out[i]);
      for (std::size_t i = 0; i < x.final.size(); ++i) sum += x.final[i] * final[i];
      return sum;
    };
    loss();
    made.out.assign(x.out.begin(), x.out.end()), made.final.assign(x.final.begin(), x.final.end());
    auto const differentiate = [&](std::vector<N>& by) {
      numbers slopes;
      for (N& each : by) {
        N const here = each, step = 1e-4L;
        auto const moved = [&](int steps) {
          each = here + steps * step;
          return loss();
        };
        slopes.push_back(static_cast<double>((8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * step)));
        each = here;
      }
      return slopes;
    };
    made.in.clear();
    for (auto& each : x.in) made.in.push_back(differentiate(each));
    made.initial = differentiate(x.initial);
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

/// What one rank of a layout holds of an experiment, and room for its results, with gradients of elements of G.
template <class T, class G, class Spec>
struct shard_of {
  using A = accumulate_t<T>;
  using rule = decltype(std::declval<Spec>().rule());
  using inputs = typename rule::template inputs<T>;
  using gradients = typename rule::template gradients<G>;
  std::vector<sharded::shard<T>> given;
  std::vector<sharded::shard<A>> sums, slopes_of_sums;
  std::vector<sharded::shard<G>> slopes;
  sharded::shard<T> dout;
  sharded::shard<G> out;

  shard_of(const experiment<Spec>& e, const layout& tokens, int rank,
           sharded::memory_order order = sharded::memory_order::bshd)
      : dout(sharded::scatter<T>(e.given.out, tokens, rank, order, e.batch, e.heads, e.spec.out_width())),
        out(sharded::make_shard<G>(order, e.batch, tokens.rows(rank), e.heads, e.spec.out_width())) {
    auto const all = e.spec.inputs();
    for (std::size_t i = 0; i < all.size(); ++i) {
      extent const width = all[i].width;
      if (all[i].of_tokens) {
        given.push_back(sharded::scatter<T>(e.given.in[i], tokens, rank, order, e.batch, e.heads, width));
        sums.push_back(sharded::scatter<A>(e.given.in[i], tokens, rank, order, e.batch, e.heads, width));
        slopes.push_back(sharded::make_shard<G>(order, e.batch, tokens.rows(rank), e.heads, width));
        slopes_of_sums.push_back(sharded::make_shard<A>(order, e.batch, tokens.rows(rank), e.heads, width));
      } else {
        given.emplace_back(), slopes.emplace_back();
        for (auto* const each : {&sums, &slopes_of_sums}) {
          each->push_back(sharded::make_shard<A>(sharded::memory_order::bshd, 1, 1, e.heads, width));
        }
        std::copy(e.given.in[i].begin(), e.given.in[i].end(), sums.back().memory.begin());
      }
    }
  }

  inputs read(const Spec& spec) const { return spec.template tensors<inputs>(views(given), views(sums)); }
  gradients written(const Spec& spec) const {
    return spec.template tensors<gradients>(views(slopes), views(slopes_of_sums));
  }

  /// Adds what this rank made to the results of all; a gradient of what is given once is a sum over ranks.
  void add_to(values<double>& made, const experiment<Spec>& e, const layout& tokens, int rank) const {
    auto const put = [&](numbers& all, const auto& rows) {
      tokens.for_each_position(rank, [&](extent row, extent position) {
        for (extent b = 0; b < e.batch; ++b) {
          for (extent h = 0; h < e.heads; ++h) {
            for (extent i = 0; i < rows.extents[3]; ++i) {
              all[e.at(b, position, h, i, rows.extents[3])] = static_cast<double>(rows(b, row, h, i));
            }
          }
        }
      });
    };
    made.out.resize(e.made.out.size()), made.in.resize(slopes.size());
    put(made.out, out.whole);
    for (std::size_t i = 0; i < slopes.size(); ++i) {
      made.in[i].resize(e.made.in[i].size());
      if (!e.spec.inputs()[i].of_tokens) {
        for (std::size_t j = 0; j < made.in[i].size(); ++j) {
          made.in[i][j] += static_cast<double>(slopes_of_sums[i].memory[j]);
        }
      } else if (gradients::rounded[i]) {
        put(made.in[i], slopes[i].whole);
      } else {
        put(made.in[i], slopes_of_sums[i].whole);
      }
    }
  }

 private:
  template <class U>
  static std::vector<view<U, 4>> views(const std::vector<sharded::shard<U>>& of) {
    std::vector<view<U, 4>> made;
    for (const auto& each : of) made.push_back(each.whole);
    return made;
  }
};

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
