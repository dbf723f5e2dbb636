#pragma once

#include <ringfold/recurrence/gates.hpp>
#include <ringfold/recurrence/lines_ahead.hpp>
#include <ringfold/recurrence/matrix.hpp>
#include <ringfold/recurrence/problem.hpp>

/// \file
/// The verbs of a rule, from what a chunk of one head does with a state.

namespace ringfold {

/// A rule whose tokens are worked on in chunks, head by head: made ready by Terms, which say what a chunk is.
///
/// Sums are in float, in double for double. Any number of tokens is right, none included; `chunk` changes the order of
/// sums and the cost, and nothing else.
template <class Terms>
struct chunkwise {
  static constexpr gating gates = Terms::gates;
  static constexpr bool batches_apart = gates != gating::per_head;  ///< no gradient is a sum over the batch
  template <class A>
  using algebra = affine<A, Terms::kind>;
  template <class T, class Space = host_space>
  using inputs = typename Terms::template tensors<const T, Space>;
  template <class T, class Space = host_space>
  using gradients = typename Terms::template tensors<T, Space>;

  /// The states of a problem: [batch, heads, dim, value_dim].
  template <class P>
  static algebra<typename P::accumulate> algebra_for(const P& p, arena<host_space>&) {
    return {p.batch, p.heads, p.dim, p.value_dim};
  }
  /// How wide the output of a token and head is.
  template <class P>
  static extent width(const P& p) {
    return p.value_dim;
  }

  extent chunk = 64;

  /// \throws usage_error when the chunk is empty.
  void check() const {
    if (chunk < 1) {
      throw usage_error(
          say("%s: a chunk of %lld tokens; at least 1 is needed", Terms::name, static_cast<long long>(chunk)));
    }
  }

  /// Scratch for parts of at most so many tokens.
  template <class A>
  struct workspace {
    typename Terms::template chunk<A> tokens;
    detail::matrix<A> state;  ///< as wide as an element takes
  };
  template <class P>
  auto forward_workspace(const P& p, extent most_tokens, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    using tokens = typename Terms::template chunk<A>;
    tokens const taken(smaller(most_tokens), p.dim, p.value_dim, memory);
    return workspace<A>{taken, detail::take_matrix<A>(memory, p.dim, tokens::state_width(p.dim, p.value_dim))};
  }

  /// The element of some tokens: what they leave of a state, and the state that they make of zero.
  template <class A, class P, class Operands>
  void summarize(workspace<A>& work, const P& p, const Operands& of, const affine_element<A>& into) const {
    for_each_head(p, [&](extent b, extent h) {
      work.tokens.begin(work.state, p.dim);
      for_each_chunk(of, [&](detail::chunk_rows rows) {
        work.tokens.load(of, b, h, rows);
        work.tokens.enter(work.state);
        work.tokens.write(work.state);
      });
      work.tokens.store(work.state, of, b, h, into);
    });
  }

  /// Adds to `out` what the tokens of each chunk read of each other as far as it needs no state. Calls meanwhile() for
  /// each head.
  template <class A, class P, class Operands, class F>
  void within(workspace<A>& work, const P& p, const Operands& of, const view<A, 4>& out, F meanwhile) const {
    for_each_head(p, [&](extent b, extent h) {
      for_each_chunk(of, [&](detail::chunk_rows rows) {
        work.tokens.load(of, b, h, rows);
        work.tokens.add_to_outputs(out, b, h, rows, scale_of(p), [&] { work.tokens.read_each_other(); });
      });
      meanwhile();
    });
  }

  /// Adds to `out` what the state before their chunk makes of it, from the one that enters on; without memory: 0.
  template <class A, class P, class Operands>
  void carry(workspace<A>& work, const P& p, const Operands& of, const view<const A, 4>& enters,
             const view<A, 4>& out) const {
    add_outputs(work, p, of, enters, out, [&](auto state) { work.tokens.read(state); });
  }

  /// within() and carry() in one pass, of tokens whose state is there: the same sums in the same order.
  template <class A, class P, class Operands>
  void within_and_carry(workspace<A>& work, const P& p, const Operands& of, const view<const A, 4>& enters,
                        const view<A, 4>& out) const {
    add_outputs(work, p, of, enters, out, [&](auto state) { work.tokens.read_each_other(), work.tokens.read(state); });
  }

  /// Scratch for gradients of parts of at most so many tokens: with the states before all chunks of one head.
  template <class A>
  struct backward_workspace {
    typename Terms::template chunk_gradients<A> tokens;
    detail::matrix<A> states;  ///< one behind the other
    detail::matrix<A> dstate;  ///< as wide as an element takes
  };
  template <class P>
  auto backward_workspace_for(const P& p, extent most_tokens, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    using tokens = typename Terms::template chunk_gradients<A>;
    extent const chunks = most_tokens / chunk + (most_tokens % chunk == 0 ? 0 : 1);
    tokens const taken(most_tokens, smaller(most_tokens), p.dim, p.value_dim, memory);
    return backward_workspace<A>{taken,
                                 detail::take_matrix<A>(memory, checked_multiply(chunks + 1, p.dim), p.value_dim),
                                 detail::take_matrix<A>(memory, p.dim, tokens::state_width(p.dim, p.value_dim))};
  }

  /// The element of some tokens for cotangents: what they leave of one, and what they make of zero.
  template <class A, class P, class Operands>
  void summarize_backward(backward_workspace<A>& work, const P& p, const Operands& of,
                          const decltype(Operands::v)& dout, const affine_element<A>& into) const {
    for_each_head(p, [&](extent b, extent h) {
      work.tokens.begin(work.dstate, p.dim);
      for_each_chunk_backward(of, [&](detail::chunk_rows rows) {
        work.tokens.load(of, dout, b, h, rows, scale_of(p));
        work.tokens.leave(work.dstate);
        work.tokens.read_backward(work.dstate);
      });
      work.tokens.store(work.dstate, of, b, h, into);
    });
  }

  /// Adds to the gradients what the tokens of each chunk make of each other's as far as it needs no state. Calls
  /// meanwhile() for each head.
  template <class A, class P, class Operands, class To, class F>
  void within_backward(backward_workspace<A>& work, const P& p, const Operands& of, const decltype(Operands::v)& dout,
                       const To& to, F meanwhile) const {
    for_each_head(p, [&](extent b, extent h) {
      for_each_chunk(of, [&](detail::chunk_rows rows) {
        work.tokens.load(of, dout, b, h, rows, scale_of(p));
        work.tokens.from_each_other();
        work.tokens.add_to(to, of, b, h, rows.first);
      });
      meanwhile();
    });
  }

  /// Adds what states and their cotangents make, from the state that enters and the cotangent of the one that leaves;
  /// without memory: 0. The states before the chunks are made again.
  template <class A, class P, class Operands, class To>
  void carry_backward(backward_workspace<A>& work, const P& p, const Operands& of, const decltype(Operands::v)& dout,
                      const view<const A, 4>& enters, const view<const A, 4>& leaves, const To& to) const {
    auto const before = [&](extent first) {
      return detail::matrix<A>{work.states[first / chunk * p.dim], p.value_dim};
    };
    detail::matrix<A> const dstate{work.dstate.data, p.value_dim};
    for_each_head(p, [&](extent b, extent h) {
      detail::load_state(enters, b, h, before(0), p.dim);
      for_each_chunk(of, [&](detail::chunk_rows rows) {
        auto const now = before(rows.first), next = before(rows.first + chunk);
        for (extent i = 0; i < p.dim * p.value_dim; ++i) next.data[i] = now.data[i];
        work.tokens.load(of, dout, b, h, rows, scale_of(p));
        work.tokens.keep_solved(rows.first);
        work.tokens.enter(now);
        work.tokens.write(next);
      });
      detail::load_state(leaves, b, h, dstate, p.dim);
      for_each_chunk_backward(of, [&](detail::chunk_rows rows) {
        work.tokens.load(of, dout, b, h, rows, scale_of(p));
        work.tokens.keep_solved(rows.first);
        work.tokens.from_states(before(rows.first), dstate);
        work.tokens.add_to(to, of, b, h, rows.first);
        work.tokens.read_backward(dstate);
      });
    });
  }

 private:
  /// From the state that enters on, chunk by chunk; read(state) adds to outputs.
  template <class A, class P, class Operands, class F>
  void add_outputs(workspace<A>& work, const P& p, const Operands& of, const view<const A, 4>& enters,
                   const view<A, 4>& out, F read) const {
    detail::matrix<A> const state{work.state.data, p.value_dim};
    for_each_head(p, [&](extent b, extent h) {
      detail::load_state(enters, b, h, state, p.dim);
      for_each_chunk(of, [&](detail::chunk_rows rows) {
        work.tokens.load(of, b, h, rows);
        work.tokens.enter(state);
        work.tokens.add_to_outputs(out, b, h, rows, scale_of(p), [&] { read(state); });
        work.tokens.write(state);
      });
    });
  }

  extent smaller(extent tokens) const { return tokens < chunk ? tokens : chunk; }
  template <class P>
  static typename P::accumulate scale_of(const P& p) {
    return static_cast<typename P::accumulate>(p.scale);
  }
  template <class Operands, class F>
  void for_each_chunk(const Operands& of, F f) const {
    extent const tokens = of.k.extents[row_axis];
    for (extent first = 0; first < tokens; first += chunk) {
      extent const count = smaller(tokens - first), next = first + count;
      f(detail::chunk_rows{first, count, {next, smaller(tokens - next)}});
    }
  }
  template <class Operands, class F>
  void for_each_chunk_backward(const Operands& of, F f) const {
    extent const tokens = of.k.extents[row_axis];
    for (extent first = (tokens - 1) / chunk * chunk; first >= 0 && tokens > 0; first -= chunk) {
      f(detail::chunk_rows{first, smaller(tokens - first), {first - chunk, first > 0 ? chunk : 0}});
    }
  }
};

}  // namespace ringfold
