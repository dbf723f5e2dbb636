#pragma once

#include <ringfold/algebra/partial.hpp>
#include <ringfold/sequence/problem.hpp>

/// \file
/// What every kernel asks of its operands, and which query heads a block of key heads concerns.

namespace ringfold::detail {

/// Some consecutive heads of the problem, counted from its first query head.
struct head_range {
  extent first, count;
};

/// The query heads of a problem that read one of the key heads first_key .. first_key + count - 1.
constexpr head_range readers(const heads& h, extent first_key, extent count) {
  extent const before = first_key * h.group - h.first_query, after = before + count * h.group;
  extent const first = before > 0 ? before : 0, last = after < h.query ? after : h.query;
  return {first, last > first ? last - first : 0};
}

template <int Rank, class T, class Space>
void check_extents(const char* what, const view<T, Rank, Space>& given, const extent (&wanted)[Rank]) {
  for (int axis = 0; axis < Rank; ++axis) {
    if (given.extents[axis] == wanted[axis]) continue;
    constexpr const char* names[] = {"batch", "row", "head", "dim"};
    throw shape_error(say("%s: extent %lld along the %s axis; the problem has %lld", what,
                          static_cast<long long>(given.extents[axis]), names[axis],
                          static_cast<long long>(wanted[axis])));
  }
}

template <class P, class T, class Space>
void check_queries(const P& p, const view<T, 4, Space>& q) {
  check_extents("q", q, {p.batch, p.queries.rows(p.owner), p.head.query, p.dim});
}

template <class P, class T, class Space>
void check_block(const P& p, const block<T, Space>& kv) {
  if (kv.owner < 0 || kv.owner >= p.keys.ranks()) {
    throw usage_error(say("block: owner %d; the keys lie on ranks 0..%d", kv.owner, p.keys.ranks() - 1));
  }
  extent const heads = kv.k.extents[head_axis], rows = p.keys.rows(kv.owner);
  extent const first = kv.first_key - p.head.first_key;
  if (first < 0 || first + heads > p.head.key) {
    throw shape_error(say("block: key heads %lld..%lld; the problem has %lld..%lld",
                          static_cast<long long>(kv.first_key), static_cast<long long>(kv.first_key + heads - 1),
                          static_cast<long long>(p.head.first_key),
                          static_cast<long long>(p.head.first_key + p.head.key - 1)));
  }
  check_extents("k", kv.k, {p.batch, rows, heads, p.dim});
  check_extents("v", kv.v, {p.batch, rows, heads, p.value_dim});
}

template <class P, class A, class Space, class Base>
void check_partial(const P& p, const partial<A, Space, Base>& out) {
  extent const rows = p.queries.rows(p.owner);
  check_extents("o", out.o, {p.batch, rows, p.head.query, p.value_dim});
  check_extents("lse", out.lse, {p.batch, rows, p.head.query});
}

/// A row's log-sum-exp in the base that a partial asks for, from its running maximum and log2 of its sum.
template <class Base, class A>
A log_sum(A maximum, A log_of_sum) {
  if constexpr (std::is_same_v<Base, base_2>) {
    return maximum + log_of_sum;
  } else {
    return A(0.693147180559945309417) * (maximum + log_of_sum);
  }
}

inline constexpr double log2_of_e = 1.44269504088896340736;

}  // namespace ringfold::detail
