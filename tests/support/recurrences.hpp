#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <vector>

#include <ringfold/comm/threads.hpp>
#include <ringfold/recurrence/backward_plan.hpp>
#include <ringfold/recurrence/decay.hpp>
#include <ringfold/wrap/counted.hpp>

#include "chain_bytes.hpp"
#include "sharded.hpp"

/// \file
/// Recurrences with decay by their definition, token by token in fp64, and runs of the library on the same numbers.

namespace recurrences {

using namespace ringfold;

/// All tokens of a sequence: [batch, token, head, ...], gates as wide as `gate`, states [batch, head, dim, value_dim].
struct numbers {
  std::vector<double> q, k, v, gates, initial, out, final;
  friend bool operator==(const numbers&, const numbers&) = default;
};

struct extents {
  extent batch = 1, heads = 2, dim = 3, value_dim = 4;
};

/// One recurrence: its numbers, and what the definition makes of them.
struct experiment {
  layout tokens;
  documents packed;
  extents size;
  gating gates;
  double scale = 0.5;
  numbers in;        ///< inputs; out and final are the cotangents
  numbers made;      ///< out, final; the gradients of the inputs
  numbers absolute;  ///< the same of the sizes of all numbers: what rounding is held against

  extent count(extent width) const { return size.batch * tokens.tokens() * size.heads * width; }
  extent states() const { return size.batch * size.heads * size.dim * size.value_dim; }
  extent gate_width() const { return gates == gating::per_row ? size.dim : 1; }
  std::size_t gate_at(extent b, extent t, extent h, extent d) const {
    extent const place = gates == gating::per_head  ? h
                         : gates == gating::per_row ? ((b * tokens.tokens() + t) * size.heads + h) * size.dim + d
                                                    : (b * tokens.tokens() + t) * size.heads + h;
    return static_cast<std::size_t>(place);
  }

  /// Gates are drawn slow, zero and strong, another for each head, now and then one that forgets all.
  experiment(layout of, documents parts, extents s, gating g, std::uint64_t seed, bool resets = true)
      : tokens(std::move(of)), packed(std::move(parts)), size(s), gates(g) {
    std::mt19937_64 random(seed);
    auto const draw = [&](extent many) {
      std::vector<double> drawn(static_cast<std::size_t>(many));
      for (double& each : drawn) each = (static_cast<double>(random() % 33) - 16) / 16;  // exact in bf16
      return drawn;
    };
    in = {draw(count(s.dim)),       draw(count(s.dim)), draw(count(s.value_dim)), {}, draw(states()),
          draw(count(s.value_dim)), draw(states())};
    double const strengths[] = {0, 1e-3, 0.25, 5};
    std::size_t const first = random();
    if (g == gating::per_head) in.gates.resize(static_cast<std::size_t>(s.heads));
    if (g == gating::per_token || g == gating::per_row) in.gates.resize(static_cast<std::size_t>(count(gate_width())));
    std::size_t const heads = static_cast<std::size_t>(s.heads), width = static_cast<std::size_t>(gate_width());
    for (std::size_t i = 0; i < in.gates.size(); ++i) {
      std::size_t const head = g == gating::per_head ? i : i / width % heads;
      double const part = static_cast<double>(random() % 17) / 16;
      in.gates[i] = -static_cast<double>(static_cast<float>(strengths[(first + head) % 4] * part));
      if (resets && g != gating::per_head && random() % 23 == 0) in.gates[i] = -INFINITY;
    }
    define();
  }

  void define() {
    made = define(in);
    numbers sizes = in;
    for (auto* each : {&sizes.q, &sizes.k, &sizes.v, &sizes.initial, &sizes.out, &sizes.final}) {
      for (double& x : *each) x = std::fabs(x);
    }
    absolute = define(sizes);
  }

  /// S_t = Diag(exp(g_t)) S_(t-1) + k_t v_t^T, out_t = scale q_t S_t, and its gradients, by hand.
  numbers define(const numbers& x) const {
    extent const all = tokens.tokens(), K = size.dim, V = size.value_dim;
    auto const make = [](std::size_t n) { return std::vector<double>(n); };
    numbers y{make(x.q.size()),       make(x.k.size()),   make(x.v.size()),    make(x.gates.size()),
              make(x.initial.size()), make(x.out.size()), make(x.final.size())};
    std::vector<bool> begins(static_cast<std::size_t>(all) + 1);
    for (int document = 0; document < packed.count(); ++document) {
      if (packed.length(document) > 0) begins[static_cast<std::size_t>(packed.first(document))] = true;
    }
    for (extent b = 0; b < size.batch; ++b) {
      for (extent h = 0; h < size.heads; ++h) {
        auto const at = [&](extent t, extent i, extent width) {
          return static_cast<std::size_t>(((b * all + t) * size.heads + h) * width + i);
        };
        auto const state_at = [&](extent d, extent e) {
          return static_cast<std::size_t>(((b * size.heads + h) * K + d) * V + e);
        };
        auto const decay = [&](extent t, extent d) {
          return gates == gating::none ? 1.0 : std::exp(x.gates[gate_at(b, t, h, d)]);
        };
        // before[t]: the state that token t finds.
        std::vector<std::vector<double>> before, after;
        for (extent t = 0; t < all; ++t) {
          std::vector<double> s(static_cast<std::size_t>(K * V));
          if (t == 0) {
            for (extent i = 0; i < K * V; ++i) s[static_cast<std::size_t>(i)] = x.initial[state_at(0, i)];
          } else if (!begins[static_cast<std::size_t>(t)]) {
            s = after.back();
          }
          before.push_back(s);
          for (extent d = 0; d < K; ++d) {
            for (extent e = 0; e < V; ++e) {
              double& each = s[static_cast<std::size_t>(d * V + e)];
              each = decay(t, d) * each + x.k[at(t, d, K)] * x.v[at(t, e, V)];
              y.out[at(t, e, V)] += scale * x.q[at(t, d, K)] * each;
            }
          }
          after.push_back(s);
        }
        for (extent i = 0; all > 0 && i < K * V; ++i)
          y.final[state_at(0, i)] = after.back()[static_cast<std::size_t>(i)];

        std::vector<double> ds(static_cast<std::size_t>(K * V));
        for (extent i = 0; i < K * V; ++i) ds[static_cast<std::size_t>(i)] = x.final[state_at(0, i)];
        for (extent t = all; t-- > 0;) {
          if (t + 1 < all && begins[static_cast<std::size_t>(t + 1)]) ds.assign(ds.size(), 0.0);
          for (extent d = 0; d < K; ++d) {
            for (extent e = 0; e < V; ++e) {
              auto const i = static_cast<std::size_t>(d * V + e);
              double const dout = scale * x.out[at(t, e, V)];
              y.q[at(t, d, K)] += dout * after[static_cast<std::size_t>(t)][i];
              ds[i] += x.q[at(t, d, K)] * dout;
              y.k[at(t, d, K)] += ds[i] * x.v[at(t, e, V)];
              y.v[at(t, e, V)] += ds[i] * x.k[at(t, d, K)];
              ds[i] *= decay(t, d);
              if (gates != gating::none) y.gates[gate_at(b, t, h, d)] += ds[i] * before[static_cast<std::size_t>(t)][i];
            }
          }
        }
        for (extent i = 0; all > 0 && i < K * V; ++i) y.initial[state_at(0, i)] = ds[static_cast<std::size_t>(i)];
      }
    }
    return y;
  }

  /// The gates of an owner's rows, in memory of their own and as the library wants them.
  template <class A, gating Gates>
  auto gates_of(int owner, sharded::memory_order order, sharded::shard<A>& memory, bool gradient = false) const {
    using seen = view<A, gate_axes<Gates>>;
    if constexpr (Gates == gating::none) {
      return seen{};
    } else if constexpr (Gates == gating::per_head) {
      memory.memory.resize(in.gates.size());
      for (std::size_t i = 0; i < in.gates.size() && !gradient; ++i) memory.memory[i] = static_cast<A>(in.gates[i]);
      return dense(memory.memory.data(), size.heads);
    } else {
      memory = gradient ? sharded::make_shard<A>(order, size.batch, tokens.rows(owner), size.heads, gate_width())
                        : sharded::scatter<A>(in.gates, tokens, owner, order, size.batch, size.heads, gate_width());
      if constexpr (Gates == gating::per_token) {
        return first_of_rows(memory.whole);
      } else {
        return memory.whole;
      }
    }
  }
};

/// Puts an owner's rows [batch, row, head, width] into all of them, as numbers.
template <class V>
void put(std::vector<double>& all, const V& rows, const layout& tokens, int owner) {
  extent const heads = rows.extents[2], width = rows.extents[3];
  tokens.for_each_position(owner, [&](extent row, extent position) {
    for (extent b = 0; b < rows.extents[0]; ++b) {
      for (extent h = 0; h < heads; ++h) {
        for (extent d = 0; d < width; ++d) {
          all[static_cast<std::size_t>(((b * tokens.tokens() + position) * heads + h) * width + d)] =
              static_cast<double>(rows(b, row, h, d));
        }
      }
    }
  });
}

/// How far numbers are off, in units of `unit` times the size of their terms; infinity when one is none.
inline double off(const std::vector<double>& got, const std::vector<double>& wanted, const std::vector<double>& sizes,
                  double unit) {
  double most = got.size() == wanted.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < got.size() && i < wanted.size(); ++i) {
    double const apart = std::fabs(got[i] - wanted[i]);
    most = std::fmax(most, apart == 0 ? 0 : std::isfinite(apart) ? apart / (unit * sizes[i]) : INFINITY);
  }
  return most;
}

/// A rounding of an element, or of a sum where that is coarser; what results are held against is a few of these.
template <class T>
inline constexpr double roundoff = std::is_same_v<T, double>  ? 0x1p-53
                                   : std::is_same_v<T, float> ? 0x1p-24
                                   : std::is_same_v<T, bf16>  ? 0x1p-8
                                                              : 0x1p-11;

/// Which states are handed over.
struct with_states {
  bool initial = true, final = true;
};

struct run_result {
  numbers made;  ///< as experiment::made
  std::vector<counters> forward, backward;
};

/// Runs a schedule as every rank of the experiment's layout, forward and then backward unless only half is wanted; each
/// twice, and the second time counts. Gradients of gates by head are added up over the ranks.
template <class T, gating Gates, class Schedule>
run_result run(const experiment& e, Schedule schedule, extent chunk = 4, with_states with = {},
               sharded::memory_order order = sharded::memory_order::bshd, bool gradients = true) {
  using A = accumulate_t<T>;
  auto const& s = e.size;
  int const ranks = e.tokens.ranks();
  run_result all;
  all.forward.resize(static_cast<std::size_t>(ranks)), all.backward = all.forward;
  all.made = e.in;
  for (auto* each : {&all.made.q, &all.made.k, &all.made.v, &all.made.gates, &all.made.initial, &all.made.out}) {
    each->assign(each->size(), 0.0);
  }
  std::mutex guard;
  run_ranks(ranks, [&](threads comm) {
    int const me = comm.rank();
    counters book;
    auto const p = make_recurrence<T>(
        e.tokens, {.batch = s.batch, .heads = s.heads, .dim = s.dim, .value_dim = s.value_dim}, e.packed, e.scale);
    auto const over = recurrence(counted(comm, book), schedule, decay<Gates>{chunk});
    auto const mine = [&](const std::vector<double>& from, extent dim) {
      return sharded::scatter<T>(from, e.tokens, me, order, s.batch, s.heads, dim);
    };
    auto const empty = [&](extent dim) {
      return sharded::make_shard<T>(order, s.batch, e.tokens.rows(me), s.heads, dim);
    };
    auto const q = mine(e.in.q, s.dim), k = mine(e.in.k, s.dim), v = mine(e.in.v, s.value_dim);
    auto const dout = mine(e.in.out, s.value_dim);
    sharded::shard<A> gate_memory, dgate_memory;
    auto const gates = e.template gates_of<A, Gates>(me, order, gate_memory);
    auto const dgates = e.template gates_of<A, Gates>(me, order, dgate_memory, true);
    auto const out = empty(s.value_dim), dq = empty(s.dim), dk = empty(s.dim), dv = empty(s.value_dim);
    std::vector<A> initial(e.in.initial.begin(), e.in.initial.end()), final(e.in.final.begin(), e.in.final.end()),
        made_final(final.size(), A(7)), made_initial(final.size(), A(7));
    auto const state = [&](std::vector<A>& of, bool given, extent slots = 1) {
      return dense(given ? of.data() : nullptr, slots * s.batch, s.heads, s.dim, s.value_dim);
    };

    recurrence_plan forward(over, p);
    extent const slots = forward.slots();
    std::vector<A> entered(initial.size() * static_cast<std::size_t>(slots));
    for (int i = 0; i < 2; ++i) {
      book = {};
      forward.forward({q, k, v, gates}, out.whole,
                      {state(initial, with.initial), state(made_final, with.final), state(entered, gradients, slots)});
    }
    auto const forward_book = book;
    if (gradients) {
      recurrence_backward_plan backward(over, p);
      for (int i = 0; i < 2; ++i) {
        book = {};
        backward.backward({q, k, v, gates}, state(entered, true, slots), dout, {dq.whole, dk.whole, dv.whole, dgates},
                          {state(final, with.final), state(made_initial, with.initial)});
      }
    }

    std::lock_guard const lock(guard);
    all.forward[static_cast<std::size_t>(me)] = forward_book, all.backward[static_cast<std::size_t>(me)] = book;
    put(all.made.out, out.whole, e.tokens, me), put(all.made.q, dq.whole, e.tokens, me);
    put(all.made.k, dk.whole, e.tokens, me), put(all.made.v, dv.whole, e.tokens, me);
    if constexpr (Gates == gating::per_head) {
      for (std::size_t i = 0; i < all.made.gates.size(); ++i)
        all.made.gates[i] += static_cast<double>(dgate_memory.memory[i]);
    } else if constexpr (Gates != gating::none) {
      put(all.made.gates, dgate_memory.whole, e.tokens, me);
    }
    e.tokens.for_each_position(me, [&](extent, extent position) {
      if (position == 0) all.made.initial.assign(made_initial.begin(), made_initial.end());
      if (position + 1 == e.tokens.tokens()) all.made.final.assign(made_final.begin(), made_final.end());
    });
  });
  return all;
}

/// Holds a run against the definition. A sum of n terms is off by at most n roundings of their sizes; chunks and scans
/// make about so many as is allowed here.
template <class T>
bool right(const experiment& e, const numbers& got, with_states with, bool gradients) {
  double const sums = 30 * roundoff<accumulate_t<T>>, rounded = sums + (sizeof(T) == 2 ? roundoff<T> : 0);
  auto const near = [&](auto member, double unit) {
    return off(got.*member, e.made.*member, e.absolute.*member, unit) <= 1;
  };
  bool const states = e.tokens.tokens() > 0;
  if (!near(&numbers::out, rounded) || (states && with.final && !near(&numbers::final, sums))) return false;
  if (!gradients) return true;
  return near(&numbers::q, rounded) && near(&numbers::k, rounded) && near(&numbers::v, rounded) &&
         near(&numbers::gates, sums) && (!states || !with.initial || near(&numbers::initial, sums));
}

/// Bytes of one state of all heads, and of one element.
template <class T>
extent state_bytes(const experiment& e) {
  return e.states() * static_cast<extent>(sizeof(accumulate_t<T>));
}
template <class T>
extent element_bytes(const experiment& e) {
  extent const gates = e.gates == gating::none ? 0 : e.size.batch * e.size.heads * e.gate_width();
  return state_bytes<T>(e) + gates * static_cast<extent>(sizeof(accumulate_t<T>));
}

/// Every schedule. Sanitizers see the others in the tests of scans: each makes a plan of its own, which takes long to
/// compile for them.
template <class F>
void for_each_schedule(F f) {
  f(schedule::chain{}), f(schedule::chain{3});
#ifndef RINGFOLD_SANITIZED
  f(schedule::hillis_steele{}), f(schedule::doubling_123{});
#endif
  f(schedule::recursive_doubling{});
}

inline constexpr int layouts = 8;
inline layout layout_of(int kind, extent tokens, int ranks, const documents& packed, std::mt19937_64& random) {
  switch (kind) {
    case 0: return contiguous(tokens, ranks);
    case 1: return zigzag(tokens, ranks);
    case 2: return striped(tokens, ranks, 3);
    case 3: return striped(tokens, ranks);
    case 4: return zigzag(packed, tokens, ranks);
    default: {  // any lengths: empty ones, of one token, all on one rank
      std::vector<extent> lengths(static_cast<std::size_t>(ranks), 0);
      std::size_t const among = kind == 7 ? 1 : 1 + random() % lengths.size();
      for (extent i = 0; i < tokens; ++i) ++lengths[lengths.size() - 1 - random() % among];
      return uneven(tokens, lengths);
    }
  }
}

}  // namespace recurrences
