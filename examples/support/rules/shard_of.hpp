#pragma once

#include <algorithm>
#include <vector>

#include <ringfold/recurrence/mirrored.hpp>

#include "../shards.hpp"
#include "experiment.hpp"

/// \file
/// What one rank holds of a recurrence, as tensors of its rule.

namespace rules {

using namespace ringfold;

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

  /// The same rows, the last one first in memory.
  void turn(const Spec& spec) {
    auto const of = spec.inputs();
    auto const flip = [](auto& rows) { rows.whole = flipped(rows.whole); };
    auto const turned = [&](auto& rows) {
      auto const was = rows.memory;
      auto from = rows.whole;
      flip(rows);
      rows.memory.assign(was.size(), {});
      host_stream{}.elementwise(
          [&](auto& to, const auto& at) { to = was[static_cast<std::size_t>(&at - rows.memory.data())]; }, rows.whole,
          from);
    };
    for (std::size_t i = 0; i < of.size(); ++i) {
      if (!of[i].of_tokens) continue;
      turned(given[i]), turned(sums[i]), flip(slopes[i]), flip(slopes_of_sums[i]);
    }
    turned(dout), flip(out);
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
    for (std::size_t i = 0; e.what.gradients && i < slopes.size(); ++i) {
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

}  // namespace rules
