#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include <ringfold/kernel/attention.hpp>

#include "../../examples/support/shards.hpp"

/// \file
/// Whole sequences cut into shards and put together again, and a kernel run over all blocks without any communication.

namespace sharded {

/// Puts an owner's rows back: `all` is dense [batch, token, ...] with `width` numbers per token.
template <class T>
void gather(std::vector<T>& all, const std::vector<T>& rows, const ringfold::layout& tokens, int owner, extent batch,
            extent width) {
  extent const count = tokens.rows(owner);
  tokens.for_each_position(owner, [&](extent row, extent position) {
    for (extent b = 0; b < batch; ++b) {
      for (extent i = 0; i < width; ++i) {
        all[static_cast<std::size_t>((b * tokens.tokens() + position) * width + i)] =
            rows[static_cast<std::size_t>((b * count + row) * width + i)];
      }
    }
  });
}

/// Memory for an arena, aligned as it wants, and full of numbers that are none: what is read unwritten shows.
class workspace {
 public:
  explicit workspace(extent bytes)
      : chunks_(static_cast<std::size_t>(bytes / 64 + 2)), arena_(chunks_.data(), (bytes + 63) / 64 * 64) {
    for (chunk& each : chunks_)
      std::fill(std::begin(each.bytes), std::end(each.bytes), static_cast<unsigned char>(0xff));
  }
  ringfold::arena<>& arena() { return arena_; }

 private:
  struct alignas(64) chunk {
    unsigned char bytes[64];
  };
  std::vector<chunk> chunks_;
  ringfold::arena<> arena_;
};

/// What a kernel computed, gathered: o is [batch, token, head, value_dim], lse is [batch, token, head].
template <class A>
struct result {
  std::vector<A> o, lse;
  friend bool operator==(const result&, const result&) = default;
};

/// How the work is cut: the order of blocks, the key heads per block (0: all), and memory.
struct cut {
  std::uint64_t seed = 0;  ///< of the order of blocks; 0 keeps it
  extent heads_per_block = 0;
  memory_order order = memory_order::bshd;
};

/// Runs a kernel as every owner of p's query layout over every block of its key layout.
/// The state is used twice, and must forget the first use; its measured and its real memory must agree.
template <class Base = ringfold::base_e, class Kernel, class P, class Number>
result<typename P::accumulate> run(Kernel kernel, P p, const std::vector<Number>& q, const std::vector<Number>& k,
                                   const std::vector<Number>& v, cut how = {}) {
  using T = typename P::element;
  using A = typename P::accumulate;
  extent const tokens = p.queries.tokens(), heads = p.head.query, key_heads = p.head.key;
  result<A> all{std::vector<A>(static_cast<std::size_t>(p.batch * tokens * heads * p.value_dim)),
                std::vector<A>(static_cast<std::size_t>(p.batch * tokens * heads))};
  extent const step = how.heads_per_block > 0 ? how.heads_per_block : key_heads;
  struct part {
    int owner;
    extent first;
  };
  std::vector<part> parts;
  std::vector<shard<T>> ks, vs;
  for (int owner = 0; owner < p.keys.ranks(); ++owner) {
    for (extent first = 0; first < key_heads; first += step) parts.push_back({owner, first});
    ks.push_back(scatter<T>(k, p.keys, owner, how.order, p.batch, key_heads, p.dim));
    vs.push_back(scatter<T>(v, p.keys, owner, how.order, p.batch, key_heads, p.value_dim));
  }
  std::mt19937_64 random(how.seed);
  for (int owner = 0; owner < p.queries.ranks(); ++owner) {
    if (how.seed != 0) std::shuffle(parts.begin(), parts.end(), random);
    p.owner = owner;
    ringfold::arena<> measuring;
    (void)kernel.state(p, measuring);
    workspace memory(measuring.used());
    auto state = kernel.state(p, memory.arena());
    if (memory.arena().used() != measuring.used()) throw ringfold::usage_error(ringfold::say("measured another size"));

    auto const mine = scatter<T>(q, p.queries, owner, how.order, p.batch, heads, p.dim);
    extent const rows = p.queries.rows(owner);
    std::vector<A> o(static_cast<std::size_t>(p.batch * rows * heads * p.value_dim)),
        lse(static_cast<std::size_t>(p.batch * rows * heads));
    ringfold::partial<A, ringfold::host_space, Base> const out{
        ringfold::dense(o.data(), p.batch, rows, heads, p.value_dim),
        ringfold::dense(lse.data(), p.batch, rows, heads)};
    auto const fold = [&](const part& each) {
      auto const index = static_cast<std::size_t>(each.owner);
      extent const count = std::min(step, key_heads - each.first);
      ringfold::block<T> kv{slice(ks[index].whole, ringfold::head_axis, each.first, count),
                            slice(vs[index].whole, ringfold::head_axis, each.first, count), each.owner,
                            p.head.first_key + each.first};
      kernel.accumulate(state, kv, ringfold::host_stream{});
    };
    kernel.prepare(state, mine, ringfold::host_stream{});
    if (!parts.empty()) fold(parts.front());
    kernel.prepare(state, mine, ringfold::host_stream{});
    for (const part& each : parts) {
      kernel.accumulate(state, ringfold::block<T>{}, ringfold::host_stream{});
      fold(each);
    }
    kernel.close(state, out, ringfold::host_stream{});
    gather(all.o, o, p.queries, owner, p.batch, heads * p.value_dim);
    gather(all.lse, lse, p.queries, owner, p.batch, heads);
  }
  return all;
}

}  // namespace sharded
