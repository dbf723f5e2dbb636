#pragma once

#include <ringfold/algebra/window.hpp>
#include <ringfold/recurrence/matrix.hpp>
#include <ringfold/recurrence/tensors.hpp>

/// \file
/// A causal convolution over the last few tokens, on one rank's tokens, forward and backward.

namespace ringfold {

/// What a convolution reads of some tokens (const T), or its gradients; owns nothing.
template <class T, class Space = host_space>
struct convolution_rows {
  view<T, 4, Space> x;                          ///< [batch, row, head, channel]
  view<detail::sum_like<T>, 3, Space> weights;  ///< [head, channel, width], the last one is the token's own

  convolution_rows rows(range r) const { return {slice(x, row_axis, r), weights}; }
};

/// What a caller hands to a convolution (const T), or its gradients.
///
/// x [batch, rows, heads, channels], weights [heads, channels, width], the last one for the token itself. Gradients of
/// weights are of the caller's rows alone, as a data-parallel gradient: add them up over the ranks.
template <class T, class Space = host_space>
struct convolution_tensors {
  using element = T;
  static constexpr bool are_gradients = !std::is_const_v<T>;
  static constexpr std::array<const char*, 2> names = {"dx", "dweights"};
  static constexpr std::array<bool, 2> rounded = {true, false};  ///< which are of elements, not of sums

  argument<T, 4, Space> x;
  argument<detail::sum_like<T>, 3, Space> weights;

  auto members() { return std::tie(x, weights); }
  auto members() const { return std::tie(x, weights); }

  template <class P>
  static std::array<tensor_extents, 2> extents(const P& p, extent rows) {
    return {
        {{{p.batch, rows, p.heads, p.value_dim}}, {{p.heads, p.value_dim, p.dim}, {"heads", "channels", "taps", ""}}}};
  }
  void check_numbers(const char*) const {}
  template <class P>
  auto operands(const P&, extent) const {
    return convolution_rows<T, Space>{x.at, weights.at};
  }
};

/// out_t = the sum of weights_w x_(t - width + 1 + w) for w = 0 .. width - 1, a sum for each channel: a depthwise causal
/// convolution. Tokens before the first one of a document are 0, or the initial state.
///
/// Of a problem, dim is the width and value_dim the channels of a head. The state is the last width - 1 tokens, [batch,
/// heads, width - 1, channels]; a shard may be shorter than that. With width 2, weights {1, 0} make a token shift, {mu,
/// 1 - mu} one that is mixed in.
/// The sum of a token is made in one piece, so that `out` has the same bits however the sequence is cut; gradients of x
/// too where no shard is shorter than the state.
/// Source: the short convolutions of H3 and Mamba (2023), token shift of RWKV (2023).
struct short_convolution {
  template <class A>
  using algebra = token_window<A>;

  template <class T, class Space = host_space>
  using inputs = convolution_tensors<const T, Space>;
  template <class T, class Space = host_space>
  using gradients = convolution_tensors<T, Space>;

  void check() const {}

  /// The windows before tokens.
  template <class P>
  auto algebra_for(const P& p, arena<host_space>&) const {
    return algebra<typename P::accumulate>{p.batch, p.heads, p.dim - 1, p.value_dim};
  }
  /// How wide the output of a token and head is.
  template <class P>
  static extent width(const P& p) {
    return p.value_dim;
  }

  /// Nothing: tokens are worked on where they lie.
  template <class A>
  struct workspace {};
  template <class P>
  auto forward_workspace(const P&, extent, arena<host_space>&) const {
    return workspace<typename P::accumulate>{};
  }
  template <class P>
  auto backward_workspace_for(const P&, extent, arena<host_space>&) const {
    return workspace<typename P::accumulate>{};
  }

  /// The element of some tokens: how many they are, and the last of them.
  template <class A, class P, class Operands>
  void summarize(workspace<A>&, const P& p, const Operands& of, const affine_element<A>& into) const {
    extent const state = p.dim - 1, count = of.x.extents[row_axis], before = count - state;
    for_each_channel(p, [&](extent b, extent h, extent c) {
      into.gate(b, h, 0, 0) = static_cast<A>(count < state ? count : state);
      for (extent row = 0; row < state; ++row) {
        into.value(b, h, row, c) = before + row < 0 ? -A{0} : static_cast<A>(of.x(b, before + row, h, c));
      }
    });
  }

  /// Adds to `out` the sums that end on the tokens' own. Calls meanwhile() for each head.
  template <class A, class P, class Operands, class F>
  void within(workspace<A>&, const P& p, const Operands& of, const view<A, 4>& out, F meanwhile) const {
    for_each_head(p, [&](extent b, extent h) {
      add_outputs(p, of, b, h, p.dim - 1, of.x.extents[row_axis], {}, out);
      meanwhile();
    });
  }

  /// Adds to `out` the sums that reach back to the window that enters; without memory: 0.
  template <class A, class P, class Operands>
  void carry(workspace<A>&, const P& p, const Operands& of, const view<const A, 4>& enters,
             const view<A, 4>& out) const {
    for_each_head(p, [&](extent b, extent h) {
      extent const count = of.x.extents[row_axis];
      add_outputs(p, of, b, h, 0, count < p.dim - 1 ? count : p.dim - 1, enters, out);
    });
  }

  /// The element of some tokens for cotangents: what they make of those of the tokens before them.
  template <class A, class P, class Operands>
  void summarize_backward(workspace<A>&, const P& p, const Operands& of, const decltype(Operands::x)& dout,
                          const affine_element<A>& into) const {
    extent const state = p.dim - 1, count = of.x.extents[row_axis];
    for_each_channel(p, [&](extent b, extent h, extent c) {
      into.gate(b, h, 0, 0) = -static_cast<A>(count < state ? count : state);
      for (extent row = 0; row < state; ++row) {
        into.value(b, h, row, c) = read_by(of, dout, b, h, c, row - state, 0, count, -A{0});
      }
    });
  }

  /// Adds to the gradients what the tokens make of each other's. Calls meanwhile() for each head.
  template <class A, class P, class Operands, class F>
  void within_backward(workspace<A>&, const P& p, const Operands& of, const decltype(Operands::x)& dout,
                       const convolution_rows<A>& to, F meanwhile) const {
    extent const count = of.x.extents[row_axis];
    for_each_head(p, [&](extent b, extent h) {
      for (extent c = 0; c < p.value_dim; ++c) {
        for (extent t = 0; t + p.dim <= count; ++t) to.x(b, t, h, c) += read_by(of, dout, b, h, c, t, t, count, A{0});
      }
      add_weights(p, of, dout, b, h, {}, to);
      meanwhile();
    });
  }

  /// Adds what the windows make, from the one that enters and the cotangent of the one that leaves; without memory: 0.
  template <class A, class P, class Operands>
  void carry_backward(workspace<A>&, const P& p, const Operands& of, const decltype(Operands::x)& dout,
                      const view<const A, 4>& enters, const view<const A, 4>& leaves,
                      const convolution_rows<A>& to) const {
    extent const count = of.x.extents[row_axis], last = count - (p.dim - 1);
    for_each_head(p, [&](extent b, extent h) {
      for (extent c = 0; c < p.value_dim; ++c) {
        for (extent t = last < 0 ? 0 : last; t < count; ++t) {
          A const after = leaves.data == nullptr ? A{0} : leaves(b, h, t - last, c);
          to.x(b, t, h, c) += read_by(of, dout, b, h, c, t, t, count, after);
        }
      }
      if (enters.data != nullptr) add_weights(p, of, dout, b, h, enters, to);
    });
  }

 private:
  template <class P, class F>
  static void for_each_channel(const P& p, F f) {
    for_each_head(p, [&](extent b, extent h) {
      for (extent c = 0; c < p.value_dim; ++c) f(b, h, c);
    });
  }

  /// The sums of tokens first .. end - 1, from the oldest term on.
  template <class A, class P, class Operands>
  void add_outputs(const P& p, const Operands& of, extent b, extent h, extent first, extent end,
                   const view<const A, 4>& enters, const view<A, 4>& out) const {
    for (extent t = first; t < end; ++t) {
      for (extent c = 0; c < p.value_dim; ++c) {
        A sum = 0;
        for (extent w = 0; w < p.dim; ++w) {
          sum = detail::fused(of.weights(h, c, w), token(of, enters, b, h, c, t - (p.dim - 1) + w), sum);
        }
        out(b, t, h, c) += sum;
      }
    }
  }

  /// A token, or one before the first, of the window that enters.
  template <class A, class Operands>
  A token(const Operands& of, const view<const A, 4>& enters, extent b, extent h, extent c, extent t) const {
    if (t >= 0) return static_cast<A>(of.x(b, t, h, c));
    return enters.data == nullptr ? A{0} : enters(b, h, of.weights.extents[2] - 1 + t, c);
  }

  /// Adds to `sum` the cotangent of token t, which may lie before the first, from what tokens first .. count - 1 read of
  /// it, the last one first: a sum that begins on one rank goes on so on the one before.
  template <class A, class Operands>
  A read_by(const Operands& of, const decltype(Operands::x)& dout, extent b, extent h, extent c, extent t, extent first,
            extent count, A sum) const {
    extent const width = of.weights.extents[2];
    for (extent i = t + width <= count ? t + width - 1 : count - 1; i >= first; --i) {
      sum = detail::fused(of.weights(h, c, width - 1 + t - i), static_cast<A>(dout(b, i, h, c)), sum);
    }
    return sum;
  }

  /// Adds the gradients of weights from what the tokens read of the window that enters, or without one of themselves.
  template <class A, class P, class Operands>
  void add_weights(const P& p, const Operands& of, const decltype(Operands::x)& dout, extent b, extent h,
                   const view<const A, 4>& enters, const convolution_rows<A>& to) const {
    bool const own = enters.data == nullptr;
    extent const count = of.x.extents[row_axis];
    for (extent c = 0; c < p.value_dim; ++c) {
      for (extent w = 0; w < p.dim; ++w) {
        extent const back = p.dim - 1 - w, end = own || count < back ? count : back;
        A sum = 0;
        for (extent t = own ? back : 0; t < end; ++t) {
          sum = detail::fused(static_cast<A>(dout(b, t, h, c)), token(of, enters, b, h, c, t - back), sum);
        }
        to.weights(h, c, w) += sum;
      }
    }
  }
};

}  // namespace ringfold
