#pragma once

#include <vector>

#include <ringfold/core/view.hpp>
#include <ringfold/sequence/layout.hpp>

/// \file
/// Whole sequences cut into shards, in any memory.

namespace sharded {

using ringfold::extent;

/// How a shard lies in memory: batch, sequence, head, dim, the first one outermost. Packed rows have room for a neighbour
/// before and behind; in `planar` the dim is outermost.
enum class memory_order { bshd, bhsd, sbhd, packed, planar };
inline constexpr memory_order memory_orders[] = {memory_order::bshd, memory_order::bhsd, memory_order::sbhd,
                                                 memory_order::packed, memory_order::planar};

/// One owner's rows of a tensor, and their memory.
template <class T>
struct shard {
  std::vector<T> memory;
  ringfold::view<T, 4> whole;
  operator ringfold::view<const T, 4>() const { return whole; }
};

template <class T>
shard<T> make_shard(memory_order order, extent batch, extent rows, extent heads, extent dim) {
  shard<T> made;
  extent const width = heads * dim, padded = order == memory_order::packed ? width + 8 : width;
  made.memory.resize(static_cast<std::size_t>(batch * rows * padded + 1));
  auto& to = made.whole;
  T* const data = made.memory.data();
  switch (order) {
    case memory_order::bshd: to = {data, {batch, rows, heads, dim}, {rows * width, width, dim, 1}}; break;
    case memory_order::bhsd: to = {data, {batch, rows, heads, dim}, {rows * width, dim, rows * dim, 1}}; break;
    case memory_order::sbhd: to = {data, {batch, rows, heads, dim}, {width, batch * width, dim, 1}}; break;
    case memory_order::packed: to = {data + 5, {batch, rows, heads, dim}, {rows * padded, padded, dim, 1}}; break;
    case memory_order::planar:
      to = {data, {batch, rows, heads, dim}, {rows * heads, heads, 1, batch * rows * heads}};
      break;
  }
  return made;
}

/// A number as a T, through float: inputs are drawn so that this is exact.
template <class T, class Number>
T rounded(const Number& number) {
  if constexpr (std::is_same_v<T, Number>) {
    return number;
  } else {
    return static_cast<T>(static_cast<float>(number));
  }
}

/// Takes an owner's rows out of a dense [batch, token, head, dim] tensor.
template <class T, class Number>
shard<T> scatter(const std::vector<Number>& all, const ringfold::layout& tokens, int owner, memory_order order,
                 extent batch, extent heads, extent dim) {
  auto made = make_shard<T>(order, batch, tokens.rows(owner), heads, dim);
  auto const from = ringfold::dense(all.data(), batch, tokens.tokens(), heads, dim);
  tokens.for_each_position(owner, [&](extent row, extent position) {
    for (extent b = 0; b < batch; ++b) {
      for (extent h = 0; h < heads; ++h) {
        for (extent d = 0; d < dim; ++d) made.whole(b, row, h, d) = rounded<T>(from(b, position, h, d));
      }
    }
  });
  return made;
}

}  // namespace sharded
