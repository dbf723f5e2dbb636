#pragma once

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include "combinations.hpp"
#include "sanitized.hpp"

/// \file
/// One schedule held against the definition, forward and backward.

namespace definition {

using ringfold::extent;

/// Gradients of o and of the log-sum-exp, drawn for an experiment.
struct cotangents {
  std::vector<double> out, lse;

  template <class E>
  explicit cotangents(const E& e, std::uint64_t seed = 7) {
    using T = typename E::element;
    extent const rows = e.shape.batch * e.tokens.tokens() * e.shape.heads;
    out = oracle::uniform<T>(rows * e.shape.value_dim, seed);
    lse = oracle::uniform<ringfold::accumulate_t<T>>(rows, seed + 1);
  }
};

/// The same experiment on one rank.
template <class E>
E alone(const E& e) {
  E made = e;
  made.tokens = ringfold::contiguous(e.tokens.tokens(), 1);
  if (e.apart) made.apart = ringfold::contiguous(e.keys().tokens(), 1);
  return made;
}

/// Whether all numbers of a token are this one; `of` is dense [batch, token, ...].
template <class T>
bool is(const std::vector<T>& of, extent batches, extent tokens, extent token, double number) {
  extent const width = batches * tokens == 0 ? 0 : static_cast<extent>(of.size()) / (batches * tokens);
  for (extent b = 0; b < batches; ++b) {
    for (extent i = 0; i < width; ++i) {
      if (static_cast<double>(of[static_cast<std::size_t>((b * tokens + token) * width + i)]) != number) return false;
    }
  }
  return true;
}

/// Whether two runs gave the same bits.
template <class T>
bool same(const schedules::backward_outcome<T>& a, const schedules::backward_outcome<T>& b) {
  using combinations::bitwise;
  return bitwise(a.forward.o, b.forward.o) && bitwise(a.forward.lse, b.forward.lse) && bitwise(a.dq, b.dq) &&
         bitwise(a.dk, b.dk) && bitwise(a.dv, b.dv);
}

/// What nobody sees and what sees nothing is exactly 0, whatever the rounding.
template <class E, class T>
void check_blind(const E& e, const schedules::backward_outcome<T>& got) {
  extent const queries = e.tokens.tokens(), keys = e.keys().tokens(), batches = e.shape.batch;
  std::vector<bool> sees(static_cast<std::size_t>(queries)), seen(static_cast<std::size_t>(keys));
  for (extent i = 0; i < queries; ++i) {
    for (extent j = 0; j < keys; ++j) {
      if (e.mask.allows(i, j)) sees[static_cast<std::size_t>(i)] = seen[static_cast<std::size_t>(j)] = true;
    }
  }
  for (extent i = 0; i < queries; ++i) {
    if (sees[static_cast<std::size_t>(i)]) continue;
    CHECK(is(got.forward.o, batches, queries, i, 0));
    if (e.sinks.empty()) CHECK(is(got.forward.lse, batches, queries, i, -INFINITY));
    CHECK(is(got.dq, batches, queries, i, 0));
  }
  for (extent j = 0; j < keys; ++j) {
    if (seen[static_cast<std::size_t>(j)]) continue;
    CHECK(is(got.dk, batches, keys, j, 0));
    CHECK(is(got.dv, batches, keys, j, 0));
  }
}

/// No worse than 1.5 times the same kernel on one rank, or than a few roundings; `score_of` and `keep` are what the
/// parts of the score mean. Returns what came out, and what each rank sent.
template <class E, class Which, class Kernel, class Score = oracle::plain_score, class Keep = oracle::keep_all>
auto check(const E& e, Which which, Kernel kernel, Score score_of = {}, Keep keep = {}) {
  using T = typename E::element;
  cotangents const of(e);
  auto const allows = [&](extent i, extent j) { return e.mask.allows(i, j); };
  auto const exact = oracle::attention(e.sizes(), e.q, e.k, e.v, allows, score_of, keep);
  auto const slopes = oracle::backward(e.sizes(), e.q, e.k, e.v, of.out, of.lse, allows, score_of, keep);
  auto const got = schedules::run_backward(e, which, kernel, of.out, of.lse),
             one = schedules::run_backward(alone(e), schedules::name::ring, kernel, of.out, of.lse);
  auto const hold = [](const char* what, const auto& some, const auto& single, const std::vector<double>& wanted) {
    CAPTURE(what);
    double const single_error = oracle::compare(single, wanted).relative;
    CHECK(single_error <= 64 * combinations::roundoff<T>);
    CHECK(oracle::compare(some, wanted).relative <= 1.5 * std::max(single_error, 8 * combinations::roundoff<T>));
  };
  hold("o", got.forward.o, one.forward.o, exact.o);
  hold("lse", got.forward.lse, one.forward.lse, exact.lse);
  hold("dq", got.dq, one.dq, slopes.dq);
  hold("dk", got.dk, one.dk, slopes.dk);
  hold("dv", got.dv, one.dv, slopes.dv);
  hold("dsinks", got.dsinks, one.dsinks, slopes.dsinks);
  check_blind(e, got);
  for (std::size_t rank = 0; rank < got.books.size(); ++rank) {
    CHECK(got.forward.books[rank].in_flight == 0);
    CHECK(got.books[rank].in_flight == 0);
  }
  return got;
}

/// The same of every schedule that has heads enough, of a few where a sanitizer watches.
template <class E>
void check_all(const E& e) {
  for (auto const which : schedules::names) {
    if (schedules::refused(which, e.tokens.ranks(), e.shape.heads)) continue;
    if (sanitized && (static_cast<extent>(which) + e.tokens.ranks() + e.tokens.tokens()) % 29 != 0) continue;
    CAPTURE(static_cast<int>(which));
    CAPTURE(e.tokens.ranks());
    check(e, which, ringfold::reference_kernel{});
  }
}

}  // namespace definition
