#pragma once

#include <doctest/doctest.h>

#include <ringfold/kernel/reference.hpp>

#include "definition.hpp"

/// \file
/// Gradients of a combination by its schedule, held against the chain rule and against what had to be sent.

namespace gradients {

using namespace ringfold;
using namespace combinations;

template <class T>
oracle::gradients exact_gradients(const schedules::experiment<T>& e, const definition::cotangents& of) {
  return oracle::backward({e.shape.batch, e.tokens.tokens(), e.tokens.tokens(), e.shape.heads, e.shape.kv_heads,
                           e.shape.dim, e.shape.value_dim, e.score.scale},
                          e.q, e.k, e.v, of.out, of.lse, [&](extent i, extent j) { return e.mask.allows(i, j); });
}

template <class T, class Kernel>
void check(const combination& c, std::uint64_t seed, Kernel kernel) {
  auto const which = schedule_of(c);
  if (refused(c)) return;
  auto const e = make_experiment<T>(c, seed);
  definition::cotangents const of(e, seed);
  auto const exact = exact_gradients(e, of);
  auto const got = schedules::run_backward(e, which, kernel, of.out, of.lse, 2);
  auto const single = schedules::run_backward(definition::alone(e), schedules::name::ring, kernel, of.out, of.lse);

  // No worse than 1.5 times the same kernel on one rank, or than a few roundings of the exact answer.
  auto const hold = [](const char* what, const auto& distributed, const auto& one, const std::vector<double>& wanted) {
    CAPTURE(what);
    double const error = oracle::compare(distributed, wanted).relative;
    CHECK(error <= 1.5 * std::max(oracle::compare(one, wanted).relative, 8 * roundoff<T>));
  };
  hold("dq", got.dq, single.dq, exact.dq);
  hold("dk", got.dk, single.dk, exact.dk);
  hold("dv", got.dv, single.dv, exact.dv);

  auto const again = schedules::run_backward(e, which, kernel, of.out, of.lse);
  CHECK(bitwise(got.dq, again.dq));
  CHECK(bitwise(got.dk, again.dk));
  CHECK(bitwise(got.dv, again.dv));

  for (int rank = 0; rank < size_of(c); ++rank) {
    auto const& book = got.books[static_cast<std::size_t>(rank)];
    CHECK(book.in_flight == 0);
    examples::sent sent;
    if (!schedules::expected_backward(e, which, rank, sent)) continue;
    CAPTURE(rank);
    CHECK(book.total_bytes() == sent.bytes);
    CHECK(book.steps == sent.steps);
  }
}

template <class Kernel = reference_kernel>
void check(const combination& c, std::uint64_t seed, Kernel kernel = {}) {
  std::string const text = text_of(c, seed);
  CAPTURE(text);
  with_element(c, [&]<class T>(T) { check<T>(c, seed, kernel); });
}

}  // namespace gradients
