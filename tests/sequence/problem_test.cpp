#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <type_traits>

#include <ringfold/core/dtype.hpp>
#include <ringfold/sequence/problem.hpp>

using namespace ringfold;

namespace {

std::string refusal(shape s) {
  try {
    make_problem<float>(contiguous(8, 2), s);
  } catch (const shape_error& e) {
    return e.what();
  }
  return "accepted";
}

std::string extents_refused(extent batch, extent heads, extent kv_heads, extent dim, extent value_dim) {
  return say("problem: batch %lld, heads %lld, kv heads %lld, dim %lld, value dim %lld; all but the batch must be "
             "positive",
             static_cast<long long>(batch), static_cast<long long>(heads), static_cast<long long>(kv_heads),
             static_cast<long long>(dim), static_cast<long long>(value_dim))
      .text;
}

}  // namespace

TEST_CASE("a problem fills in what was left out") {
  auto const p = make_problem<bf16>(zigzag(10, 2), {.batch = 3, .heads = 4, .dim = 16}, causal());
  static_assert(std::is_same_v<decltype(p)::element, bf16> && std::is_same_v<decltype(p)::accumulate, float>);
  CHECK(p.queries.ranks() == 2);
  CHECK(p.keys.tokens() == 10);
  CHECK(p.owner == 0);
  CHECK(p.batch == 3);
  CHECK(p.dim == 16);
  CHECK(p.value_dim == 16);
  CHECK(p.head.first_query == 0);
  CHECK(p.head.query == 4);
  CHECK(p.head.first_key == 0);
  CHECK(p.head.key == 4);
  CHECK(p.head.group == 1);
  CHECK(p.mask_of == causal());
  CHECK(p.score.scale == 0.25);
}

TEST_CASE("a problem keeps what was given") {
  auto const p =
      make_problem<double>(contiguous(10, 2), uneven(7, {7, 0}),
                           {.heads = 12, .kv_heads = 3, .dim = 24, .value_dim = 40}, window(2), {.scale = 3});
  CHECK(p.queries.tokens() == 10);
  CHECK(p.keys.tokens() == 7);
  CHECK(p.keys.rows(1) == 0);
  CHECK(p.batch == 1);
  CHECK(p.head.query == 12);
  CHECK(p.head.key == 3);
  CHECK(p.head.group == 4);
  CHECK(p.value_dim == 40);
  CHECK(p.score.scale == 3);
  CHECK(p.mask_of == window(2));
  CHECK(make_problem<float>(contiguous(1, 1), {.heads = 2, .dim = 2}).score.scale == 1 / std::sqrt(2.0));
}

TEST_CASE("extents that are not positive are refused") {
  CHECK(refusal({.batch = -1}) == extents_refused(-1, 1, 1, 64, 64));
  CHECK(refusal({.heads = 0}) == extents_refused(1, 0, 0, 64, 64));
  CHECK(refusal({.heads = -2}) == extents_refused(1, -2, -2, 64, 64));
  CHECK(refusal({.heads = 4, .kv_heads = -1}) == extents_refused(1, 4, -1, 64, 64));
  CHECK(refusal({.dim = 0}) == extents_refused(1, 1, 1, 0, 0));
  CHECK(refusal({.dim = -64}) == extents_refused(1, 1, 1, -64, -64));
  CHECK(refusal({.value_dim = -1}) == extents_refused(1, 1, 1, 64, -1));
  CHECK(refusal({.batch = 0}) == "accepted");
}

TEST_CASE("heads that do not share out over kv heads are refused") {
  CHECK(refusal({.heads = 6, .kv_heads = 4}) == "problem: 6 heads are not a multiple of 4 kv heads");
  CHECK(refusal({.heads = 2, .kv_heads = 4}) == "problem: 2 heads are not a multiple of 4 kv heads");
  CHECK(refusal({.heads = 6, .kv_heads = 1}) == "accepted");
  CHECK(refusal({.heads = 6, .kv_heads = 6}) == "accepted");
}

TEST_CASE("queries and keys on different numbers of ranks are refused") {
  CHECK_THROWS_WITH_AS(make_problem<float>(contiguous(8, 2), contiguous(8, 3), {}),
                       "problem: queries lie on 2 ranks, keys on 3; both need the same number, at least 1",
                       shape_error);
}

TEST_CASE("a block without memory is absent") {
  float memory[4] = {};
  block<float> b;
  CHECK_FALSE(b.present());
  b.k = dense(memory, 1, 1, 1, 4);
  CHECK(b.present());
}
