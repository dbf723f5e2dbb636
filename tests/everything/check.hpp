#pragma once

#include <cmath>
#include <cstring>
#include <mutex>

#include "settings.hpp"

/// \file
/// Runs one case on thread ranks, forward and backward, and holds every number against the definition.

namespace everything {

template <class T>
inline constexpr double roundoff = sizeof(T) == 8   ? 0x1p-53
                                   : sizeof(T) == 4 ? 0x1p-24
                                                    : 0x1p-8;

/// Whole tensors of a case, and what came out of it.
template <class T>
struct bench {
  using A = ringfold::accumulate_t<T>;
  const settings& s;
  ringfold::shape shape = s.shape();
  layout queries, keys;
  any_score::bias_numbers bias;
  std::vector<double> q, k, v, dout, dlse, sinks;

  std::vector<T> o, dq, dk, dv;
  std::vector<A> lse;
  std::vector<double> dsinks, dbias;
  std::string wrong{};
  std::mutex guard{};

  explicit bench(const settings& of)
      : s(of),
        queries(make_layout(s.level[arrangement], s.queries, s.size(), s.seed)),
        keys(layout_of_keys()),
        bias(biases[s.level[everything::bias]],
             {std::max<extent>(1, shape.batch), shape.heads, std::max<extent>(1, s.queries),
              std::max<extent>(1, s.keys)},
             s.seed) {
    extent const rows = shape.batch * s.queries, key_rows = shape.batch * s.keys;
    q = oracle::uniform<T>(rows * shape.heads * shape.dim, s.seed, 1.7);
    k = oracle::uniform<T>(key_rows * shape.kv_heads * shape.dim, s.seed + 1, 1.7);
    v = oracle::uniform<T>(key_rows * shape.kv_heads * shape.value_dim, s.seed + 2, 1.7);
    dout = oracle::uniform<T>(rows * shape.heads * shape.value_dim, s.seed + 3, 1.7);
    dlse = oracle::uniform<A>(rows * shape.heads, s.seed + 4, 1.7);
    if (s.level[lse_gradient] == 0) dlse.assign(dlse.size(), 0.0);
    if (s.level[everything::sinks] != 0) sinks = oracle::uniform<A>(shape.heads, s.seed + 5, 1.7);
    o.resize(dout.size()), dq.resize(q.size()), dk.resize(k.size()), dv.resize(v.size()), lse.resize(dlse.size());
    dsinks.resize(sinks.size()), dbias.resize(bias.numbers.size());
  }

  layout layout_of_keys() const {
    int const kind = s.level[key_arrangement];
    switch (s.level[structure]) {
      case whole:
      case documents: return queries;
      case prefix: return ringfold::appended(make_layout(kind, s.keys - s.queries, s.size(), s.seed + 1), queries);
      default: return make_layout(kind, s.keys, s.size(), s.seed + 1);
    }
  }

  /// The same on every rank, but where the gradient of the bias goes.
  template <class Mask>
  auto problem(std::vector<double>& gradient, const Mask& mask) const {
    ringfold::scored<any_score::learned_part> const score{0, any_score::make(s.score(), shape.heads, bias, gradient)};
    return ringfold::make_problem<T>(queries, keys, shape, mask, score);
  }
};

/// One rank's part.
template <class T, class C, class Kernel, class Mask>
void run_rank(bench<T>& all, C comm, Kernel kernel, const Mask& mask) {
  using A = ringfold::accumulate_t<T>;
  using sharded::make_shard, sharded::scatter;
  auto const& s = all.s;
  auto const& shape = all.shape;
  int const me = comm.rank();
  extent const rows = all.queries.rows(me), key_rows = all.keys.rows(me), b = shape.batch;
  auto const order = sharded::memory_orders[s.level[everything::order]];
  auto const bshd = sharded::memory_order::bshd;
  auto const q = scatter<T>(all.q, all.queries, me, order, b, shape.heads, shape.dim);
  auto const k = scatter<T>(all.k, all.keys, me, order, b, shape.kv_heads, shape.dim);
  auto const v = scatter<T>(all.v, all.keys, me, order, b, shape.kv_heads, shape.value_dim);
  auto const dout = scatter<T>(all.dout, all.queries, me, order, b, shape.heads, shape.value_dim);
  auto dlse = scatter<A>(all.dlse, all.queries, me, bshd, b, shape.heads, 1);
  auto o = make_shard<T>(order, b, rows, shape.heads, shape.value_dim);
  auto dq = make_shard<T>(order, b, rows, shape.heads, shape.dim);
  auto dk = make_shard<T>(order, b, key_rows, shape.kv_heads, shape.dim);
  auto dv = make_shard<T>(order, b, key_rows, shape.kv_heads, shape.value_dim);
  std::vector<A> lse(static_cast<std::size_t>(b * rows * shape.heads) + 1), sinks, dsinks(all.sinks.size());
  for (double const each : all.sinks) sinks.push_back(static_cast<A>(each));
  std::vector<double> dbias(all.dbias.size(), 0.0);
  auto const lse_view = ringfold::dense(lse.data(), b, rows, shape.heads);
  auto const before = std::array{q.memory, k.memory, v.memory, dout.memory};
  schedules::with(s.which(), comm, kernel, [&](auto attend) {
    auto const p = all.problem(dbias, mask);
    ringfold::plan run(attend, p);
    ringfold::backward_plan back(attend, p);
    run.forward(q, k, v, o.whole, lse_view, schedules::per_head(sinks));
    back.backward(q, k, v, o.whole, lse_view, dout, dq.whole, dk.whole, dv.whole,
                  ringfold::dense(dlse.memory.data(), b, rows, shape.heads), schedules::per_head(sinks),
                  schedules::per_head(dsinks));
  });
  auto const same = [](const auto& x, const auto& y) {
    return x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(x[0])) == 0;
  };
  bool const kept = same(q.memory, before[0]) && same(k.memory, before[1]) && same(v.memory, before[2]) &&
                    same(dout.memory, before[3]);
  lse.pop_back();

  std::lock_guard const lock(all.guard);
  if (!kept) all.wrong = "an input was written";
  schedules::keep(all.o, o, all.queries, me);
  schedules::keep(all.dq, dq, all.queries, me);
  schedules::keep(all.dk, dk, all.keys, me);
  schedules::keep(all.dv, dv, all.keys, me);
  sharded::gather(all.lse, lse, all.queries, me, b, shape.heads);
  for (std::size_t i = 0; i < dsinks.size(); ++i) all.dsinks[i] += static_cast<double>(dsinks[i]);
  for (std::size_t i = 0; i < dbias.size(); ++i) all.dbias[i] += dbias[i];
}

/// Every number to within so many roundoffs of the sizes of its terms.
///
/// A score of size s carries s roundoffs into its weight, some times over: each part of the score, its unit, lse and the
/// definition itself round once; a rounded output carries its
/// own roundoff into every gradient through out * dout.
template <class T>
struct judge {
  using A = ringfold::accumulate_t<T>;
  double unit;
  std::string wrong{};

  explicit judge(const settings& s) {
    // Inputs are below 1.7, slopes of linear biases below 0.71.
    double const dim = static_cast<double>(s.shape().dim), apart = static_cast<double>(s.queries + s.keys);
    double const score = 1.7 * 1.7 * std::sqrt(dim) + (s.level[linear] != 0 ? 0.71 * apart : 0) + 2;
    unit = (24 + 6 * score) * roundoff<A> + (std::is_same_v<T, A> ? 0 : 2 * roundoff<T>);
  }

  template <class Number>
  void hold(const char* what, const std::vector<Number>& got, const std::vector<double>& wanted,
            const std::vector<double>& terms) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      double const g = static_cast<double>(got[i]);
      if (std::fabs(g - wanted[i]) <= unit * terms[i]) continue;
      wrong += fmt::format("{}{}[{}] is {:.9g}, by definition {:.9g}, of terms {:.3g}", wrong.empty() ? "" : "; ", what,
                           i, g, wanted[i], terms[i]);
      return;
    }
  }
};

template <class T, class Kernel, class Mask>
std::string run(const settings& s, Kernel kernel, const Mask& mask) {
  bench<T> all(s);
  try {
    ringfold::run_ranks(s.size(), [&](ringfold::threads comm) { run_rank(all, comm, kernel, mask); });
  } catch (const ringfold::usage_error& e) {
    bool const expected = std::strstr(e.what(), "query heads; use at most") != nullptr;
    return expected && refused(s) ? "" : e.what();
  }
  if (refused(s)) return "more ranks than heads were not refused";
  if (!all.wrong.empty()) return all.wrong;

  any_score::meaning const means{s.score(), all.shape.heads, &all.bias};
  any_score::keeping const keeps{s.score()};
  auto const allows = [&](extent i, extent j) { return allowed(s, i, j); };
  oracle::sizes const sizes{all.shape.batch, s.queries,           s.keys, all.shape.heads, all.shape.kv_heads,
                            all.shape.dim,   all.shape.value_dim, 0,      all.sinks};
  auto const forward = oracle::attention(sizes, all.q, all.k, all.v, allows, means, keeps);
  auto const back = oracle::backward(sizes, all.q, all.k, all.v, all.dout, all.dlse, allows, means, keeps);
  judge<T> j(s);
  j.hold("o", all.o, forward.o, forward.o_terms);
  for (std::size_t i = 0; i < forward.lse.size(); ++i) {
    double const got = static_cast<double>(all.lse[i]), wanted = forward.lse[i];
    bool const near = std::isfinite(wanted) && std::fabs(got - wanted) <= 2 * j.unit * (1 + std::fabs(wanted));
    if (got == wanted || near) continue;
    j.wrong += fmt::format(" lse[{}] is {:.9g}, by definition {:.9g}", i, got, wanted);
    break;
  }
  // Of bf16, outputs were rounded twice, gradients of scores are once more.
  if (!std::is_same_v<T, ringfold::accumulate_t<T>>) j.unit += 2 * roundoff<T>;
  j.hold("dq", all.dq, back.dq, back.dq_terms);
  j.hold("dk", all.dk, back.dk, back.dk_terms);
  j.hold("dv", all.dv, back.dv, back.dv_terms);
  j.hold("dsinks", all.dsinks, back.dsinks, back.dsinks_terms);
  std::vector<double> dbias(all.dbias.size()), terms = dbias;
  std::size_t pair = 0;
  for (extent b = 0; b < all.shape.batch && biases[s.level[bias]] >= 0; ++b) {
    for (extent h = 0; h < all.shape.heads; ++h) {
      for (extent i = 0; i < s.queries; ++i) {
        for (extent key = 0; key < s.keys; ++key, ++pair) {
          std::size_t const to = all.bias.index({b, h, i, key});
          dbias[to] += back.dscores[pair], terms[to] += back.dscores_terms[pair];
        }
      }
    }
  }
  j.hold("dbias", all.dbias, dbias, terms);
  return j.wrong;
}

}  // namespace everything
