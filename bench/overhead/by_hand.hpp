#pragma once

#include <vector>

#include <ringfold/core/overlap.hpp>
#include <ringfold/sequence/problem.hpp>

#include "instant.hpp"

/// \file
/// A ring, Ulysses and a scan as they are written for one problem, without masks, groups, nesting or uneven shards.

namespace by_hand {

using namespace ringfold;
using instant::stream;
using wire = instant::communicator;
using pieces = std::vector<piece>;

/// What anybody checks before a call.
template <class V>
void check(const char* name, const V& given, std::initializer_list<extent> wanted) {
  extent const* each = wanted.begin();
  for (extent const measured : given.extents) {
    if (measured != *each++) throw shape_error(say("%s has another shape", name));
  }
  if (given.data == nullptr) throw usage_error(say("%s has no memory", name));
}
template <class V, class W>
void check_apart(const V& out, const W& in) {
  if (detail::overlap(out, in)) throw alias_error(say("an output lies in an input"));
}

/// What every rank has here.
struct sizes {
  extent rows, heads, kv_heads, dim;
};
using tensor = view<float, 4>;
using input = view<const float, 4>;

inline void check_call(const sizes& of, const input& q, const input& k, const input& v, const tensor& out) {
  check("q", q, {1, of.rows, of.heads, of.dim});
  check("k", k, {1, of.rows, of.kv_heads, of.dim});
  check("v", v, {1, of.rows, of.kv_heads, of.dim});
  check("out", out, {1, of.rows, of.heads, of.dim});
  check_apart(out, q), check_apart(out, k), check_apart(out, v);
}

class ring {
 public:
  ring(wire comm, sizes of) : comm_(comm), of_(of), memory_(static_cast<std::size_t>(4 * block_elements())) {}

  void forward(input q, input k, input v, tensor out, view<float, 3> lse, stream on) {
    check_call(of_, q, k, v, out);
    check("lse", lse, {1, of_.rows, of_.heads});
    kernel_.prepare(state_, q, on);
    or_poison(comm_, [&] { pass(k, v, on); });
    kernel_.close(state_, partial<float>{out, lse}, on);
  }

 private:
  extent block_elements() const { return of_.rows * of_.kv_heads * of_.dim; }

  void pass(const input& k, const input& v, stream on) {
    int const me = comm_.rank(), size = comm_.size(), next = (me + 1) % size, previous = (me + size - 1) % size;
    wire::request home, moving[2];
    piece held[2] = {piece_of(k, role::key, next), piece_of(v, role::value, next)}, arriving[2];
    for (int step = 0; step < size; ++step) {
      bool const last = step + 1 == size;
      wire::request& posted = step == 0 ? home : moving[step % 2];
      if (!last) {
        float* const buffer = memory_.data() + step % 2 * 2 * block_elements();
        auto const at = [&](float* data) { return dense(data, 1, of_.rows, of_.kv_heads, of_.dim); };
        arriving[0] = piece_of(at(buffer), role::key, previous);
        arriving[1] = piece_of(at(buffer + block_elements()), role::value, previous);
        posted = comm_.post({.sends = held, .receives = arriving}, on);
      }
      kernel_.accumulate(state_,
                         block<float>{view_of<const float, 4>(held[0]), view_of<const float, 4>(held[1]),
                                      (me + size - step) % size, 0},
                         on);
      if (last) break;
      posted.arrived(on);
      if (step > 0) posted.reusable(on);
      for (int i = 0; i < 2; ++i) held[i] = arriving[i], held[i].peer = next;
    }
    home.reusable(on);
  }

  wire comm_;
  sizes of_;
  std::vector<float> memory_;
  instant::kernel kernel_;
  instant::kernel::open state_;
};

class ulysses {
 public:
  ulysses(wire comm, sizes of)
      : comm_(comm),
        of_(of),
        memory_(static_cast<std::size_t>(
            comm.size() * of.rows *
            (2 * share(of.heads) * of.dim + share(of.heads) + 2 * share(of.kv_heads) * of.dim))) {
    float* at = memory_.data();
    auto const take = [&](extent heads, extent dim) {
      auto const made = dense(at, 1, comm_.size() * of_.rows, share(heads), dim);
      at += made.size();
      return made;
    };
    q_ = take(of.heads, of.dim), k_ = take(of.kv_heads, of.dim), v_ = take(of.kv_heads, of.dim);
    o_ = take(of.heads, of.dim), lse_ = first_of_rows(take(of.heads, 1));
    sends_.reserve(static_cast<std::size_t>(2 * comm.size())), receives_.reserve(sends_.capacity());
  }

  void forward(input q, input k, input v, tensor out, view<float, 3> lse, stream on) {
    check_call(of_, q, k, v, out);
    check("lse", lse, {1, of_.rows, of_.heads});
    add(q, head_axis, q_, row_axis, role::query, on);
    run(on);
    kernel_.prepare(state_, input(q_), on);
    add(k, head_axis, k_, row_axis, role::key, on);
    add(v, head_axis, v_, row_axis, role::value, on);
    run(on);
    kernel_.accumulate(state_, block<float>{k_, v_, comm_.rank(), comm_.rank() * share(of_.kv_heads)}, on);
    kernel_.close(state_, partial<float>{o_, lse_}, on);
    add(o_, row_axis, out, head_axis, role::output, on);
    add(lse_, row_axis, lse, head_axis, role::lse, on);
    run(on);
  }

 private:
  extent share(extent heads) const { return heads / comm_.size(); }

  /// The r-th share of an axis of `from` goes to rank r, whose part becomes the r-th share of an axis of `to`.
  template <class From, class To>
  void add(const From& from, int split, const To& to, int join, role what, stream on) {
    int const me = comm_.rank(), size = comm_.size();
    auto const part = [size](const auto& of, int axis, int rank) {
      extent const count = of.extents[axis] / size;
      return slice(of, axis, rank * count, count);
    };
    on.copy(piece_of(part(to, join, me), what), piece_of(part(from, split, me), what));
    for (int step = 1; step < size; ++step) {
      int const peer = (me + step) % size;
      sends_.push_back(piece_of(part(from, split, peer), what, peer));
      receives_.push_back(piece_of(part(to, join, peer), what, peer));
    }
  }
  void run(stream on) {
    auto posted = comm_.post({.sends = sends_, .receives = receives_, .shape = pattern::all_to_all}, on);
    or_poison(comm_, [&] {
      posted.arrived(on);
      posted.reusable(on);
    });
    sends_.clear(), receives_.clear();
  }

  wire comm_;
  sizes of_;
  std::vector<float> memory_;
  tensor q_, k_, v_, o_;
  view<float, 3> lse_;
  pieces sends_, receives_;
  instant::kernel kernel_;
  instant::kernel::open state_;
};

/// States [1, heads, dim, dim] go from rank to rank, in parts of some columns; this rank is neither first nor last.
template <int Parts>
class scan {
 public:
  scan(wire comm, sizes of) : comm_(comm), of_(of), memory_(static_cast<std::size_t>(3 * of.heads * of.dim * of.dim)) {
    auto const state = [&](int index) {
      return dense(memory_.data() + index * of.heads * of.dim * of.dim, 1, of.heads, of.dim, of.dim);
    };
    own_ = {{}, state(0)}, before_ = state(1), after_ = state(2);
  }

  void forward(input q, input k, input v, tensor out, stream on) {
    check_call(of_, q, k, v, out);
    recurrence_operands<float> const all{q, k, v, {}};
    rule_.summarize(work_, of_, all, own_);
    wire::request coming[Parts], going[Parts];
    or_poison(comm_, [&] {
      for (int part = 0; part < Parts; ++part) {
        piece const from = piece_of(algebra::part(before_, part, Parts), role::state, comm_.rank() - 1);
        coming[part] = comm_.post({.sends = {}, .receives = {&from, 1}}, on);
      }
      int next = 0;
      auto const hand_on = [&] {
        coming[next].arrived(on);
        tensor const after = algebra::part(after_, next, Parts);
        algebra::apply(on, algebra::part(before_, next, Parts), algebra::part(own_, next, Parts), after);
        piece const to = piece_of(after, role::state, comm_.rank() + 1);
        going[next] = comm_.post({.sends = {&to, 1}, .receives = {}}, on);
        ++next;
      };
      on.elementwise(elementwise::set_zero{}, out);
      rule_.within(work_, of_, all, out, [&] {
        while (next < Parts && coming[next].test()) hand_on();
      });
      while (next < Parts) hand_on();
      for (auto& each : going) each.arrived(on), each.reusable(on);
    });
    rule_.carry(work_, of_, all, input(before_), out);
  }

 private:
  using algebra = affine<float, transition::identity>;
  wire comm_;
  sizes of_;
  std::vector<float> memory_;
  algebra::element own_;
  tensor before_, after_;
  instant::rule rule_;
  instant::rule::workspace work_;
};

}  // namespace by_hand
