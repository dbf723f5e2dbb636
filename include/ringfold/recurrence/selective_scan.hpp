#pragma once

#include <ringfold/algebra/timed_affine.hpp>
#include <ringfold/recurrence/replay.hpp>
#include <ringfold/recurrence/selective_tensors.hpp>

/// \file
/// The selective state space of Mamba on one rank's tokens, forward and backward.

namespace ringfold {

/// h_t[n, d] = exp(time_d rates[n, d]) h_(t-1)[n, d] + time_d x_d write_n and out_d = the sum of read_n h_t[n, d].
///
/// Channels d that share write and read are one head, of Mamba's all of them. Softplus, skip and gate are the caller's.
/// The state is [batch, heads, state, channels]; elements send the time that passed, not its decays. Work is done token
/// by token, on all channels of a head together. Backward keeps the states before every chunk of one head, and those
/// before the tokens of one chunk; all of its work but the elements' waits for the scan.
/// Source: Mamba (Gu and Dao, 2023).
struct selective_scan {
  template <class A>
  using algebra = timed_affine<A>;

  template <class T, class Space = host_space>
  using inputs = selective_tensors<const T, Space>;
  template <class T, class Space = host_space>
  using gradients = selective_tensors<T, Space>;

  extent chunk = 64;  ///< tokens whose states are made again together, in backward

  /// \throws usage_error when the chunk is empty.
  void check() const {
    if (chunk < 1) {
      throw usage_error(
          say("selective_scan: a chunk of %lld tokens; at least 1 is needed", static_cast<long long>(chunk)));
    }
  }

  /// summarize() fills in the rates of the algebra.
  static constexpr bool tells_algebra = true;

  /// The algebra of its states, with memory for rates. A problem's dim is the state, its value_dim the channels.
  template <class P>
  auto algebra_for(const P& p, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    return algebra<A>{p.batch, p.heads, p.dim, p.value_dim,
                      memory.take_view<A>(extent{1}, p.heads, p.dim, p.value_dim)};
  }

  /// How wide the output of a token and head is.
  template <class P>
  static extent width(const P& p) {
    return p.value_dim;
  }

  /// Rows and states of one head, [state, channels].
  template <class A>
  struct workspace {
    detail::matrix<A> rates, factor, state, other;
    A *x, *time, *write, *read, *dout, *written, *dwritten;
    detail::replay<A> states;
  };
  template <class P>
  auto forward_workspace(const P& p, extent, arena<host_space>& memory) const {
    return backward_workspace_for(p, 0, memory);
  }
  template <class P>
  auto backward_workspace_for(const P& p, extent most_tokens, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    auto const state = [&] { return detail::take_matrix<A>(memory, p.dim, p.value_dim); };
    auto const row = [&](extent width) { return memory.take<A>(width); };
    return workspace<A>{
        state(),          state(),          state(),
        state(),          row(p.value_dim), row(p.value_dim),
        row(p.dim),       row(p.dim),       row(p.value_dim),
        row(p.value_dim), row(p.value_dim), detail::replay<A>(chunk, most_tokens, p.dim * p.value_dim, memory)};
  }

  /// The element of some tokens: the time that passes, and the state that they make of zero.
  template <class A, class P, class Operands>
  void summarize(workspace<A>& work, const P& p, const Operands& of, const timed_element<A>& into) const {
    describe(p, of, into);
    for_each_head(p, [&](extent b, extent h) {
      begin(work, p, of, h);
      detail::fill(work.state.data, A{0}, p.dim * p.value_dim);
      for (extent t = 0; t < of.x.extents[row_axis]; ++t) load(work, p, of, b, t, h), step(work, p, work.state);
      detail::store_state(work.state, b, h, into.value);
    });
  }

  /// Adds to `out` what the tokens read of each other. Calls meanwhile() for each head.
  template <class A, class P, class Operands, class F>
  void within(workspace<A>& work, const P& p, const Operands& of, const view<A, 4>& out, F meanwhile) const {
    for_each_head(p, [&](extent b, extent h) {
      begin(work, p, of, h);
      detail::fill(work.state.data, A{0}, p.dim * p.value_dim);
      for (extent t = 0; t < of.x.extents[row_axis]; ++t) {
        load(work, p, of, b, t, h);
        step(work, p, work.state);
        read(work, p, out, b, t, h);
      }
      meanwhile();
    });
  }

  /// Adds to `out` what the tokens read of the state that enters; without memory: 0.
  template <class A, class P, class Operands>
  void carry(workspace<A>& work, const P& p, const Operands& of, const view<const A, 4>& enters,
             const view<A, 4>& out) const {
    if (enters.data == nullptr) return;
    for_each_head(p, [&](extent b, extent h) {
      begin(work, p, of, h);
      detail::load_state(enters, b, h, work.state, p.dim);
      for (extent t = 0; t < of.x.extents[row_axis]; ++t) {
        load(work, p, of, b, t, h);
        fade(work, p, work.state);
        read(work, p, out, b, t, h);
      }
    });
  }

  /// The element of some tokens for cotangents: the time that passes, and what they make of zero.
  template <class A, class P, class Operands>
  void summarize_backward(workspace<A>& work, const P& p, const Operands& of, const decltype(Operands::x)& dout,
                          const timed_element<A>& into) const {
    describe(p, of, into);
    for_each_head(p, [&](extent b, extent h) {
      begin(work, p, of, h);
      detail::fill(work.state.data, A{0}, p.dim * p.value_dim);
      for (extent t = of.x.extents[row_axis] - 1; t >= 0; --t) {
        load(work, p, of, b, t, h);
        load_row(dout, b, t, h, work.dout);
        read_backward(work, p);
        fade(work, p, work.state);
      }
      detail::store_state(work.state, b, h, into.value);
    });
  }

  /// Nothing but meanwhile() for each head: gradients need the states.
  template <class A, class P, class Operands, class F>
  void within_backward(workspace<A>&, const P& p, const Operands&, const decltype(Operands::x)&,
                       const selective_rows<A>&, F meanwhile) const {
    for_each_head(p, [&](extent, extent) { meanwhile(); });
  }

  /// Adds to the gradients, from the state that enters and the cotangent of the one that leaves; without memory: 0. The
  /// states are made again.
  template <class A, class P, class Operands>
  void carry_backward(workspace<A>& work, const P& p, const Operands& of, const decltype(Operands::x)& dout,
                      const view<const A, 4>& enters, const view<const A, 4>& leaves,
                      const selective_rows<A>& to) const {
    for_each_head(p, [&](extent b, extent h) {
      begin(work, p, of, h);
      detail::load_state(enters, b, h, work.other, p.dim);
      detail::load_state(leaves, b, h, work.state, p.dim);
      auto const forward = [&](extent t) { load(work, p, of, b, t, h), step(work, p, work.other); };
      work.states(of.x.extents[row_axis], work.other.data, forward, [&](extent t, A* before) {
        load(work, p, of, b, t, h);
        load_row(dout, b, t, h, work.dout);
        read_backward(work, p);
        add_gradients(work, p, {before, p.value_dim}, to, b, t, h);
      });
    });
  }

 private:
  /// The time that passes, summed in double as all sums of whole shards are, and the rates.
  template <class A, class P, class Operands>
  static void describe(const P& p, const Operands& of, const timed_element<A>& into) {
    for_each_head(p, [&](extent b, extent h) {
      for (extent d = 0; d < p.value_dim; ++d) {
        double sum = 0;
        for (extent t = 0; t < of.x.extents[row_axis]; ++t) sum += static_cast<double>(of.time(b, t, h, d));
        into.gate(b, h, 0, d) = static_cast<A>(sum);
        for (extent n = 0; n < p.dim && b == 0; ++n) into.rates(0, h, n, d) = of.rates(h, n, d);
      }
    });
  }

  template <class A, class P, class Operands>
  static void begin(workspace<A>& work, const P& p, const Operands& of, extent h) {
    for (extent n = 0; n < p.dim; ++n) {
      for (extent d = 0; d < p.value_dim; ++d) work.rates[n][d] = of.rates(h, n, d);
    }
  }
  template <class T, class A>
  static void load_row(const view<const T, 4>& from, extent b, extent t, extent h, A* to) {
    for (extent i = 0; i < from.extents[dim_axis]; ++i) to[i] = static_cast<A>(from(b, t, h, i));
  }
  template <class A, class P, class Operands>
  static void load(workspace<A>& work, const P& p, const Operands& of, extent b, extent t, extent h) {
    load_row(of.x, b, t, h, work.x), load_row(of.time, b, t, h, work.time);
    load_row(of.write, b, t, h, work.write), load_row(of.read, b, t, h, work.read);
    for (extent d = 0; d < p.value_dim; ++d) work.written[d] = work.time[d] * work.x[d];
    for (extent n = 0; n < p.dim; ++n) {
      for (extent d = 0; d < p.value_dim; ++d) {
        work.factor[n][d] = exponential::exp2(work.time[d] * work.rates[n][d], detail::floating<A>::log2_e);
      }
    }
  }

  template <class A, class P>
  static void fade(workspace<A>& work, const P& p, detail::matrix<A> state) {
    detail::multiply_by(state.data, work.factor.data, p.dim * p.value_dim);
  }
  template <class A, class P>
  static void step(workspace<A>& work, const P& p, detail::matrix<A> state) {
    fade(work, p, state);
    for (extent n = 0; n < p.dim; ++n) detail::add_scaled(state[n], work.write[n], work.written, p.value_dim);
  }
  template <class A, class P>
  static void read(workspace<A>& work, const P& p, const view<A, 4>& out, extent b, extent t, extent h) {
    detail::fill(work.dout, A{0}, p.value_dim);
    for (extent n = 0; n < p.dim; ++n) detail::add_scaled(work.dout, work.read[n], work.state[n], p.value_dim);
    for (extent d = 0; d < p.value_dim; ++d) out(b, t, h, d) += work.dout[d];
  }
  /// state, a cotangent here, gains what the token reads.
  template <class A, class P>
  static void read_backward(workspace<A>& work, const P& p) {
    for (extent n = 0; n < p.dim; ++n) detail::add_scaled(work.state[n], work.read[n], work.dout, p.value_dim);
  }

  /// From the cotangent of the state after a token, which becomes that of the one before, and the state before.
  template <class A, class P>
  static void add_gradients(workspace<A>& work, const P& p, detail::matrix<A> before, const selective_rows<A>& to,
                            extent b, extent t, extent h) {
    for (extent n = 0; n < p.dim; ++n) {
      A dread = 0;
      for (extent d = 0; d < p.value_dim; ++d) {
        A const after = detail::fused(work.factor[n][d], before[n][d], work.written[d] * work.write[n]);
        dread = detail::fused(work.dout[d], after, dread);
      }
      to.read(b, t, h, n) += dread;
      to.write(b, t, h, n) += detail::dot(work.state[n], work.written, p.value_dim);
    }
    detail::fill(work.dwritten, A{0}, p.value_dim);  // of what is written
    for (extent n = 0; n < p.dim; ++n) detail::add_scaled(work.dwritten, work.write[n], work.state[n], p.value_dim);
    fade(work, p, work.state);
    for (extent d = 0; d < p.value_dim; ++d) {
      A dtime = work.dwritten[d] * work.x[d];
      for (extent n = 0; n < p.dim; ++n) {
        A const slope = work.state[n][d] * before[n][d];  // of time x rate
        dtime = detail::fused(slope, work.rates[n][d], dtime);
        to.rates(h, n, d) += slope * work.time[d];
      }
      to.x(b, t, h, d) += work.dwritten[d] * work.time[d];
      to.time(b, t, h, d) += dtime;
    }
  }
};

}  // namespace ringfold
