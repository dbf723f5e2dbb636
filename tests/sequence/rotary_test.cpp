#include <ringfold/sequence/rotary.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <type_traits>
#include <vector>

#include <ringfold/sequence/shifted.hpp>

#include "support/oracle.hpp"
#include "support/sharded.hpp"

using namespace ringfold;

namespace {

constexpr extent batch = 2, heads = 3, dim = 10;

// One head's numbers turned by the definition, in double.
std::vector<double> turned(std::vector<double> x, double place, const rotary& how) {
  auto const half = static_cast<std::size_t>(how.dims / 2);
  for (std::size_t i = 0; i < half; ++i) {
    bool const split = how.pairs == pairing::half_split;
    double& a = x[split ? i : 2 * i];
    double& b = x[split ? i + half : 2 * i + 1];
    double const angle = place / std::pow(how.base, 2 * static_cast<double>(i) / static_cast<double>(how.dims)),
                 before = a;
    a = before * std::cos(angle) - b * std::sin(angle);
    b = b * std::cos(angle) + before * std::sin(angle);
  }
  return x;
}

template <class T>
std::vector<double> of_shard(const sharded::shard<T>& shard) {
  std::vector<double> made;
  auto const& v = shard.whole;
  for (extent b = 0; b < v.extents[0]; ++b) {
    for (extent row = 0; row < v.extents[1]; ++row) {
      for (extent h = 0; h < v.extents[2]; ++h) {
        for (extent d = 0; d < v.extents[3]; ++d) made.push_back(static_cast<double>(v(b, row, h, d)));
      }
    }
  }
  return made;
}

// A number that says where it belongs, exactly representable in bf16: no two neighbours are the same.
std::vector<double> coordinates(extent tokens) {
  std::vector<double> made;
  for (extent i = 0; i < batch * tokens * heads * dim; ++i) {
    made.push_back(static_cast<double>((i * 2654435761) % 255 - 127) / 64);
  }
  return made;
}

std::vector<layout> layouts(extent n, int ranks, const documents& parts) {
  std::vector<extent> lengths(static_cast<std::size_t>(ranks), 0);
  lengths.back() = n;
  return {contiguous(n, ranks), zigzag(n, ranks),        striped(n, ranks),
          striped(n, ranks, 3), zigzag(parts, n, ranks), uneven(n, lengths)};
}

template <class T>
struct arranged {
  using sum = accumulate_t<T>;
  extent tokens;
  documents parts;
  rotary how;
  extent offset;
  bool packed;

  rotary_table<sum> table(const layout& by, int owner) const {
    return packed ? rotary_table<sum>(by, owner, how, parts, offset) : rotary_table<sum>(by, owner, how, offset);
  }
};

template <class T>
void check(const arranged<T>& a) {
  auto const all = coordinates(a.tokens);
  layout const one = contiguous(a.tokens, 1);
  auto whole = sharded::scatter<T>(all, one, 0, sharded::memory_order::bshd, batch, heads, dim);
  auto const before = whole.memory;
  auto const whole_turned = sharded::make_shard<T>(sharded::memory_order::bshd, batch, a.tokens, heads, dim);
  rotate(a.table(one, 0).at(), whole.whole, whole_turned.whole);
  CHECK(std::memcmp(before.data(), whole.memory.data(), before.size() * sizeof(T)) == 0);
  auto const numbers = of_shard(whole_turned);

  // Against the definition.
  double worst = 0;
  for (extent token = 0; token < a.tokens; ++token) {
    double place = static_cast<double>(token);
    for (int d = 0; a.packed && d < a.parts.count() && a.parts.end(d) <= token; ++d) {
      place = static_cast<double>(token - a.parts.end(d));
    }
    for (extent row = 0; row < batch * heads; ++row) {
      auto const at = ((row / heads * a.tokens + token) * heads + row % heads) * dim;
      std::vector<double> const x(all.begin() + at, all.begin() + at + dim);
      auto const wanted = turned(x, place + static_cast<double>(a.offset), a.how);
      for (extent d = 0; d < dim; ++d) {
        double const got = numbers[static_cast<std::size_t>(at + d)], exact = wanted[static_cast<std::size_t>(d)];
        if (d >= a.how.dims) CHECK(got == exact);
        worst = std::max(worst, std::fabs(got - exact));
      }
    }
  }
  // Numbers and results are below 2 and 2 sqrt 2. An angle is rounded twice on either side, cosine, sine, two products
  // and a sum once each in the accumulation type, the element once.
  double const angle = 4 * static_cast<double>(a.tokens + a.offset) * 0x1p-53 * 3;
  double const sums = 9 * (std::is_same_v<accumulate_t<T>, double> ? 0x1p-53 : 0x1p-24);
  CHECK(worst <= angle + sums + (std::is_same_v<T, bf16> ? 0x1p-7 : 0));

  // Shards: the same bits, in place and not, in every order of memory, and back again.
  for (int const ranks : {1, 2, 3, 5}) {
    for (const layout& by : layouts(a.tokens, ranks, a.parts)) {
      for (int owner = 0; owner < ranks; ++owner) {
        auto const order = sharded::memory_orders[(owner + ranks) % 4];
        auto const shard = sharded::scatter<T>(all, by, owner, order, batch, heads, dim);
        auto const wanted = of_shard(sharded::scatter<T>(numbers, by, owner, order, batch, heads, dim));
        auto const table = a.table(by, owner);
        auto here = sharded::scatter<T>(all, by, owner, order, batch, heads, dim);
        auto const there = sharded::make_shard<T>(sharded::memory_order::bhsd, batch, by.rows(owner), heads, dim);
        rotate(table.at(), shard.whole, there.whole);
        REQUIRE(of_shard(there) == wanted);
        rotate(table.at(), here.whole, here.whole);
        REQUIRE(of_shard(here) == wanted);
        rotate_back(table.at(), here.whole, here.whole);
        auto const back = of_shard(here), origin = of_shard(shard);
        double const there_and_back = 2 * sums + (std::is_same_v<T, bf16> ? 3 * 0x1p-7 : 0);
        for (std::size_t i = 0; i < back.size(); ++i) REQUIRE(std::fabs(back[i] - origin[i]) <= there_and_back);
      }
    }
  }
}

}  // namespace

TEST_CASE("rotated shards are shards of what was rotated whole, bit for bit, and right by the definition") {
  documents const parts{7, 0, 1, 11};
  for (pairing const pairs : {pairing::half_split, pairing::interleaved}) {
    for (extent const dims : {2, 6, 10}) {
      for (bool const packed : {false, true}) {
        CAPTURE(dims);
        CAPTURE(packed);
        extent const offset = dims == 6 ? 1000 : 0;
        rotary const how{dims, dims == 2 ? 500.0 : 10000.0, pairs};
        check<double>({23, parts, how, offset, packed});
        check<float>({23, parts, how, offset, packed});
        check<bf16>({23, parts, how, offset, packed});
      }
    }
  }
}

TEST_CASE("scores of rotated rows depend on how far apart tokens are, whatever prefix and rank they have") {
  extent const cached = 9, more = 4;
  int const ranks = 2;
  layout const chunk = zigzag(more, ranks), keys = appended(striped(cached, ranks), chunk);
  rotary const how{dim};
  auto const x = oracle::uniform<double>(dim, 1), y = oracle::uniform<double>(dim, 2);
  auto const turn_row = [&](const rotary_table<double>& table, extent row, const std::vector<double>& of) {
    std::vector<double> rows;
    extent const count = table.at().cosine.extents[0];
    for (extent i = 0; i < count; ++i) rows.insert(rows.end(), of.begin(), of.end());
    auto const view = dense(rows.data(), 1, count, 1, dim);
    rotate(table.at(), view, view);
    return std::vector<double>(rows.begin() + row * dim, rows.begin() + (row + 1) * dim);
  };
  std::vector<double> first_at(20, NAN);
  for (int a = 0; a < ranks; ++a) {
    for (int b = 0; b < ranks; ++b) {
      rotary_table<double> const of_queries(chunk, a, how, cached), of_keys(keys, b, how);
      chunk.for_each_position(a, [&](extent row, extent query) {
        keys.for_each_position(b, [&](extent key_row, extent key) {
          auto const q = turn_row(of_queries, row, x), k = turn_row(of_keys, key_row, y);
          double dot = 0;
          for (std::size_t d = 0; d < dim; ++d) dot += q[d] * k[d];
          double& first = first_at[static_cast<std::size_t>(query + cached - key + more)];
          if (std::isnan(first)) first = dot;
          CHECK(dot == doctest::Approx(first).epsilon(1e-12));
        });
      });
    }
  }
}

TEST_CASE("q and k are rotated by their positions in documents, gradients are rotated back") {
  int const ranks = 2;
  documents const parts{5, 3};
  layout const tokens = zigzag(parts, 8, ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    std::vector<float> memory(4 * 2 * 6, 1.0F), other(memory.size());
    auto const q = dense(memory.data(), 1, 4, 2, 6), dq = q, rotated = dense(other.data(), 1, 4, 2, 6);
    //! [rotary]
    rotary_table<float> const turns(tokens, rank, {.dims = 6}, parts);
    rotate(turns.at(), q, rotated);
    rotate_back(turns.at(), rotated, dq);
    //! [rotary]
    for (float const each : memory) CHECK(each == doctest::Approx(1.0F));
    CHECK(other.front() == (rank == 0 ? 1.0F : other.front()));
  }
}

TEST_CASE("places of one's own: queries that are the last tokens of their documents of keys") {
  std::vector<double> one(2, 1.0), same(2, 1.0);
  layout const query = contiguous(1, 1);
  rotary_table<double> const last(query, 0, {.dims = 2}, [](extent) { return extent{41}; });
  rotary_table<double> const offset(query, 0, {.dims = 2}, 41);
  auto const a = dense(one.data(), 1, 1, 1, 2), b = dense(same.data(), 1, 1, 1, 2);
  rotate(last.at(), a, a), rotate(offset.at(), b, b);
  CHECK(one == same);
  CHECK(one[0] == doctest::Approx(std::cos(41.0) - std::sin(41.0)));
}

TEST_CASE("a phantom stream touches nothing") {
  rotation<float, phantom_space> const by{dense<phantom_space>(static_cast<const float*>(nullptr), 5, 3),
                                          dense<phantom_space>(static_cast<const float*>(nullptr), 5, 3),
                                          pairing::interleaved};
  auto const x = dense<phantom_space>(static_cast<bf16*>(nullptr), 2, 5, 4, 8);
  rotate(by, x, x, phantom_stream{});
  rotate_back(by, x, x, phantom_stream{});
}

TEST_CASE("what does not fit is refused in one line") {
  layout const tokens = contiguous(6, 2);
  CHECK_THROWS_WITH_AS(rotary_table<float>(tokens, 0, {.dims = 3}),
                       "rotary: 3 dims turn; an even number of them, at least 2", shape_error);
  CHECK_THROWS_AS(rotary_table<float>(tokens, 0, {}), shape_error);
  CHECK_THROWS_WITH_AS(rotary_table<float>(tokens, 2, {.dims = 2}), "rotary: owner 2; the tokens lie on ranks 0..1",
                       usage_error);
  CHECK_THROWS_WITH_AS(rotary_table<float>(tokens, 0, {.dims = 2, .base = 0}),
                       "rotary: a base of 0; it must be positive and finite", usage_error);
  rotary_table<float> const table(tokens, 0, {.dims = 4});
  std::vector<float> memory(64, 2.0F);
  auto const fits = dense(memory.data(), 1, 3, 1, 4), few = dense(memory.data(), 1, 2, 1, 4),
             narrow = dense(memory.data(), 1, 3, 1, 3), aside = dense(memory.data() + 1, 1, 3, 1, 4);
  CHECK_THROWS_WITH_AS(rotate(table.at(), few, few), "rotate: 2 rows of 4 dims; the table has 3 rows, and turns 4 dims",
                       shape_error);
  CHECK_THROWS_AS(rotate(table.at(), narrow, narrow), shape_error);
  CHECK_THROWS_WITH_AS(rotate(table.at(), fits, few),
                       "rotate: the output has other extents than the input; both need the same", shape_error);
  CHECK_THROWS_WITH_AS(rotate(table.at(), fits, aside),
                       "rotate: the output overlaps the input; it must be the input itself, or memory of its own",
                       alias_error);
  for (float const each : memory) CHECK(each == 2.0F);
}
