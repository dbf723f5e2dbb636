#pragma once

#include <ringfold/core/dtype.hpp>
#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/problem.hpp>

/// \file
/// One value that describes a recurrence over a sequence: who holds which tokens, which documents, which extents.

namespace ringfold {

/// What a recurrence over elements of T computes; a state [dim, value_dim] for each batch and head.
template <class T>
struct recurrence_problem {
  using element = T;
  using accumulate = accumulate_t<T>;

  layout tokens;
  documents packed;
  extent batch = 1, heads = 1, dim = 0, value_dim = 0;
  double scale = 1;  ///< of queries
};

/// Describes a recurrence along a sequence of documents, each of which begins with a state of zero; no scale (0) means
/// 1 / sqrt(dim).
/// \throws shape_error when an extent is not positive, there are other kv heads than heads, there are no ranks, or the
/// documents do not tile the sequence; usage_error when the scale is not finite.
template <class T>
recurrence_problem<T> make_recurrence(layout tokens, const shape& s, documents packed, double scale = 0) {
  auto const number = [](extent value) { return static_cast<long long>(value); };
  extent const value_dim = s.value_dim == 0 ? s.dim : s.value_dim;
  if (s.batch < 0 || s.heads <= 0 || s.dim <= 0 || value_dim <= 0) {
    throw shape_error(
        say("recurrence: batch %lld, heads %lld, dim %lld, value dim %lld; all but the batch must be positive",
            number(s.batch), number(s.heads), number(s.dim), number(value_dim)));
  }
  if (s.kv_heads != 0 && s.kv_heads != s.heads) {
    throw shape_error(
        say("recurrence: %lld heads with %lld kv heads; each head has a state of its own, so allowed: %lld",
            number(s.heads), number(s.kv_heads), number(s.heads)));
  }
  if (tokens.ranks() == 0) throw shape_error(say("recurrence: a layout for 0 ranks; at least 1 is needed"));
  if (packed.tokens() != tokens.tokens()) {
    throw shape_error(say("recurrence: documents of %lld tokens in a sequence of %lld; they must tile it",
                          number(packed.tokens()), number(tokens.tokens())));
  }
  if (!(scale - scale == 0)) throw usage_error(say("recurrence: a scale of %g; it must be finite", scale));
  if (scale == 0) scale = 1 / detail::square_root(static_cast<double>(s.dim));
  return {static_cast<layout&&>(tokens), static_cast<documents&&>(packed), s.batch, s.heads, s.dim, value_dim, scale};
}

/// Describes a recurrence along one document.
template <class T>
recurrence_problem<T> make_recurrence(layout tokens, const shape& s) {
  documents const one{tokens.tokens()};
  return make_recurrence<T>(static_cast<layout&&>(tokens), s, one);
}

}  // namespace ringfold
