#pragma once

#include <concepts>

#include <ringfold/algebra/exponential.hpp>
#include <ringfold/core/overlap.hpp>
#include <ringfold/core/stream.hpp>
#include <ringfold/sequence/documents.hpp>

/// \file
/// Rotary position embedding of a rank's rows, by the positions of their tokens, whatever the layout.

namespace ringfold {

/// Which two numbers of a head turn together: i and i + dims / 2 (GPT-NeoX, Llama), or 2 i and 2 i + 1 (GPT-J, RoFormer).
enum class pairing : unsigned char { half_split, interleaved };

/// How rows turn: pair i of the token at a position by position / base^(2 i / dims) radians.
struct rotary {
  extent dims = 0;  ///< the first ones of a head, which turn; the others stay as they are. Even
  double base = 10000;
  pairing pairs = pairing::half_split;
};

/// Cosines and sines of a rank's rows, [row, pair]; owns nothing. Those of another space are copied there by the caller.
template <class A, class Space = host_space>
struct rotation {
  view<const A, 2, Space> cosine, sine;
  pairing pairs = pairing::half_split;
};

/// The angles of one owner's rows; their cosines and sines are worked out in double and kept in A, the accumulation type.
///
/// **Memory** rows * dims accumulators, taken by the constructor. One table serves q and k, all heads and all layers.
/// \snippet sequence/rotary_test.cpp rotary
template <class A>
class rotary_table {
 public:
  /// Of tokens in one sequence, which begins at position `offset`: the length of a prefix, for the tokens behind it.
  /// \throws shape_error when dims is not even and positive; usage_error when the owner or the base make no sense.
  rotary_table(const layout& tokens, int owner, rotary how, extent offset = 0)
      : rotary_table(tokens, owner, how, [&](extent position) { return position + offset; }) {}

  /// Of tokens in packed documents, each of which begins at position `offset`; so does the padding behind the last.
  rotary_table(const layout& tokens, int owner, rotary how, const documents& parts, extent offset = 0)
      : rotary_table(tokens, owner, how,
                     [&](extent position) { return position - parts.first(parts.at(position)) + offset; }) {}

  /// Of tokens whose place in the layout is not where they stand: place_of(position) is.
  template <std::invocable<extent> F>
  rotary_table(const layout& tokens, int owner, rotary how, F place_of) : pairs_(how.pairs) {
    check(tokens, owner, how);
    pairs_of_row_ = how.dims / 2;
    auto const size = static_cast<std::size_t>(checked_multiply(tokens.rows(owner), pairs_of_row_));
    cosines_.reserve(size), sines_.reserve(size);
    std::vector<double> frequencies;
    for (extent i = 0; i < pairs_of_row_; ++i) {
      frequencies.push_back(__builtin_pow(how.base, -2 * static_cast<double>(i) / static_cast<double>(how.dims)));
    }
    tokens.for_each_position(owner, [&](extent, extent position) {
      auto const place = static_cast<double>(place_of(position));
      for (double const frequency : frequencies) {
        cosines_.push_back(static_cast<A>(__builtin_cos(place * frequency)));
        sines_.push_back(static_cast<A>(__builtin_sin(place * frequency)));
      }
    });
  }

  /// What rotate() and rotate_back() take; readable as long as the table is.
  rotation<A> at() const {
    extent const rows = static_cast<extent>(cosines_.size()) / pairs_of_row_;
    return {dense(cosines_.data(), rows, pairs_of_row_), dense(sines_.data(), rows, pairs_of_row_), pairs_};
  }

 private:
  static void check(const layout& tokens, int owner, const rotary& how) {
    if (how.dims <= 0 || how.dims % 2 != 0) {
      throw shape_error(
          say("rotary: %lld dims turn; an even number of them, at least 2", static_cast<long long>(how.dims)));
    }
    if (!(how.base > 0 && how.base < detail::floating<double>::infinity)) {
      throw usage_error(say("rotary: a base of %g; it must be positive and finite", how.base));
    }
    if (owner < 0 || owner >= tokens.ranks()) {
      throw usage_error(say("rotary: owner %d; the tokens lie on ranks 0..%d", owner, tokens.ranks() - 1));
    }
  }

  std::vector<A> cosines_, sines_;
  extent pairs_of_row_ = 0;
  pairing pairs_;
};

namespace detail {

/// Turns the pair (a, b); explicit multiply-adds, so that nothing but the angle decides the bits.
struct turn_pair {
  bool back;
  template <class To, class From, class A>
  RINGFOLD_HD void operator()(To& to_a, To& to_b, const From& from_a, const From& from_b, const A& cosine,
                              const A& sine) const {
    A const a = static_cast<A>(from_a), b = static_cast<A>(from_b), s = back ? -sine : sine;
    to_a = static_cast<To>(fused(a, cosine, -(b * s)));
    to_b = static_cast<To>(fused(b, cosine, a * s));
  }
};

/// The first and the second numbers of the pairs of heads.
template <class T, class Space>
struct paired {
  view<T, 4, Space> first, second;
};
template <class T, class Space>
paired<T, Space> in_pairs_of(const view<T, 4, Space>& x, extent count, pairing pairs) {
  if (pairs == pairing::half_split) return {slice(x, dim_axis, 0, count), slice(x, dim_axis, count, count)};
  paired<T, Space> made{slice(x, dim_axis, 0, count), slice(x, dim_axis, 1, count)};
  made.first.strides[dim_axis] *= 2, made.second.strides[dim_axis] *= 2;
  return made;
}

template <class A, class Space, class From, class To, class Stream>
void rotate_by(bool back, const rotation<A, Space>& by, const view<From, 4, Space>& from, const view<To, 4, Space>& to,
               Stream on) {
  static_assert(std::is_same_v<typename Stream::space, Space>,
                "[ringfold] rotate: the stream works on another space than the views; pass one that works on theirs");
  extent const rows = by.cosine.extents[0], count = by.cosine.extents[1], dim = to.extents[dim_axis];
  bool same = true, in_place = static_cast<const void*>(from.data) == to.data;
  for (int axis = 0; axis < 4; ++axis) {
    same = same && from.extents[axis] == to.extents[axis];
    in_place = in_place && from.strides[axis] == to.strides[axis];
  }
  auto const number = [](extent value) { return static_cast<long long>(value); };
  if (!same) throw shape_error(say("rotate: the output has other extents than the input; both need the same"));
  if (to.extents[row_axis] != rows || dim < 2 * count) {
    throw shape_error(say("rotate: %lld rows of %lld dims; the table has %lld rows, and turns %lld dims",
                          number(to.extents[row_axis]), number(dim), number(rows), number(2 * count)));
  }
  if (!in_place && overlap(to, from)) {
    throw alias_error(say("rotate: the output overlaps the input; it must be the input itself, or memory of its own"));
  }
  auto const shared = [&](const view<const A, 2, Space>& of) {
    return view<const A, 4, Space>{
        of.data, {to.extents[0], rows, to.extents[2], count}, {0, of.strides[0], 0, of.strides[1]}};
  };
  auto const source = in_pairs_of(from, count, by.pairs);
  auto const target = in_pairs_of(to, count, by.pairs);
  on.elementwise(turn_pair{back}, target.first, target.second, source.first, source.second, shared(by.cosine),
                 shared(by.sine));
  if (in_place) return;
  auto const rest = [&](const auto& x) { return slice(x, dim_axis, 2 * count, dim - 2 * count); };
  on.elementwise(elementwise::round_to{}, rest(to), rest(from));
}

}  // namespace detail

/// Rotates an owner's rows of queries or keys, tensors [batch, row, head, dim]: in place when both are the same memory,
/// otherwise into memory of its own; the input is then not written. Worked out in the accumulation type, rounded once.
/// \throws shape_error, alias_error when rows, dims or memory do not fit; nothing was written then.
/// Source: RoFormer (Su et al., 2021).
template <class A, class Space, tensor From, tensor To, class Stream = host_stream>
void rotate(const rotation<A, Space>& by, From&& from, To&& to, Stream on = {}) {
  detail::rotate_by(false, by, as_view(from), as_view(to), on);
}

/// The inverse: from the gradient of rotated rows to that of the rows.
template <class A, class Space, tensor From, tensor To, class Stream = host_stream>
void rotate_back(const rotation<A, Space>& by, From&& from, To&& to, Stream on = {}) {
  detail::rotate_by(true, by, as_view(from), as_view(to), on);
}

}  // namespace ringfold
