#pragma once

#include <ringfold/recurrence/channels.hpp>
#include <ringfold/recurrence/matrix.hpp>

/// \file
/// Elementwise linear recurrences, real and complex, on one rank's tokens, forward and backward.

namespace ringfold {

/// h_t = a_t h_(t-1) + x_t and out_t = h_t for each channel, with a_t = exp(gate), or exp(gate + i angle).
///
/// Real: HGRN, and RG-LRU with x its gated and normalised input. Complex: LRU; x and out hold the real parts of all
/// channels and then their imaginary parts. What is multiplied onto x and read off h is the caller's.
/// Of a problem, value_dim is the width of x. The state is [batch, heads, 1 or 2, channels], its rows real and imaginary
/// parts. Work is done token by token, on all channels of a head together; what the state that enters adds to `out`, and
/// the gradients of factors, wait for the scan. Backward keeps the states before all tokens of one head.
/// Source: HGRN (Qin et al., 2023), LRU (Orvieto et al., 2023), RG-LRU of Griffin (2024).
template <field Field, factors Factors = factors::of_tokens>
struct diagonal_recurrence {
  static constexpr extent parts = Field == field::complex ? 2 : 1;      ///< of a number
  static constexpr bool batches_apart = Factors == factors::of_tokens;  ///< no gradient is a sum over the batch
  template <class A>
  using algebra = std::conditional_t<Field == field::complex, complex_affine<A>, affine<A, transition::elementwise>>;

  template <class T, class Space = host_space>
  using inputs = diagonal_tensors<const T, Field, Factors, Space>;
  template <class T, class Space = host_space>
  using gradients = diagonal_tensors<T, Field, Factors, Space>;

  void check() const {}

  /// How wide the output of a token and head is.
  template <class P>
  static extent width(const P& p) {
    return p.value_dim;
  }

  /// The states of a problem, of which dim is not read.
  /// \throws shape_error when complex numbers lack a part.
  template <class P>
  auto algebra_for(const P& p, arena<host_space>&) const {
    if (p.value_dim % parts != 0) {
      throw shape_error(say("diagonal_recurrence: complex numbers in a width of %lld; it must be even",
                            static_cast<long long>(p.value_dim)));
    }
    return algebra<typename P::accumulate>{p.batch, p.heads, parts, p.value_dim / parts};
  }

  /// Rows of one head.
  template <class A>
  struct workspace {
    using row = detail::channels<A, Field>;
    row x, factor, state, left;
    detail::channels<double, Field> product;
    detail::matrix<A> before;  ///< the states before all tokens, for backward
  };
  template <class P>
  auto forward_workspace(const P& p, extent, arena<host_space>& memory) const {
    return backward_workspace_for(p, 0, memory);
  }
  template <class P>
  auto backward_workspace_for(const P& p, extent most_tokens, arena<host_space>& memory) const {
    using A = typename P::accumulate;
    extent const width = p.value_dim, count = width / parts;
    auto const row = [&] { return detail::channels<A, Field>{memory.take<A>(width), count}; };
    workspace<A> made{row(), row(), row(), row(), {memory.take<double>(width), count}, {}};
    made.before = detail::take_matrix<A>(memory, most_tokens, width);
    return made;
  }

  /// The element of some tokens: the product of their factors, and the state that they make of zero.
  template <class A, class P, class Operands>
  void summarize(workspace<A>& work, const P& p, const Operands& of, const affine_element<A>& into) const {
    for_each_head(p, [&](extent b, extent h) {
      detail::fill(work.state.data, A{0}, p.value_dim);
      for (extent t = 0; t < of.x.extents[row_axis]; ++t) {
        load(work, of, of.x, b, t, h);
        detail::step(work.factor, work.state, work.x);
      }
      store_state(work.state, b, h, into.value);
      store_product(work, of, b, h, A{1}, into.gate);
    });
  }

  /// Adds to `out` what the tokens make of zero. Calls meanwhile() for each head.
  template <class A, class P, class Operands, class F>
  void within(workspace<A>& work, const P& p, const Operands& of, const view<A, 4>& out, F meanwhile) const {
    for_each_head(p, [&](extent b, extent h) {
      detail::fill(work.state.data, A{0}, p.value_dim);
      for (extent t = 0; t < of.x.extents[row_axis]; ++t) {
        load(work, of, of.x, b, t, h);
        detail::step(work.factor, work.state, work.x);
        add(work.state, out, b, t, h);
      }
      meanwhile();
    });
  }

  /// Adds to `out` what is left at each token of the state that enters; without memory: 0.
  template <class A, class P, class Operands>
  void carry(workspace<A>& work, const P& p, const Operands& of, const view<const A, 4>& enters,
             const view<A, 4>& out) const {
    if (enters.data == nullptr) return;
    detail::fill(work.x.data, A{0}, p.value_dim);
    for_each_head(p, [&](extent b, extent h) {
      load_state(enters, b, h, work.state);
      for (extent t = 0; t < of.x.extents[row_axis]; ++t) {
        load_factors(work, of, b, t, h);
        detail::step(work.factor, work.state, work.x);
        add(work.state, out, b, t, h);
      }
    });
  }

  /// The element of some tokens for cotangents: the product of conjugate factors, and what they make of zero.
  template <class A, class P, class Operands>
  void summarize_backward(workspace<A>& work, const P& p, const Operands& of, const decltype(Operands::x)& dout,
                          const affine_element<A>& into) const {
    for_each_head(p, [&](extent b, extent h) {
      detail::fill(work.state.data, A{0}, p.value_dim);
      for (extent t = of.x.extents[row_axis] - 1; t >= 0; --t) {
        load(work, of, dout, b, t, h);
        detail::add_scaled(work.state.data, A{1}, work.x.data, p.value_dim);
        detail::step_back(work.factor, work.state);
      }
      store_state(work.state, b, h, into.value);
      store_product(work, of, b, h, A{-1}, into.gate);
    });
  }

  /// Adds to the gradient of x what the tokens' own cotangents make. Calls meanwhile() for each head.
  template <class A, class P, class Operands, class F>
  void within_backward(workspace<A>& work, const P& p, const Operands& of, const decltype(Operands::x)& dout,
                       const diagonal_rows<A>& to, F meanwhile) const {
    for_each_head(p, [&](extent b, extent h) {
      detail::fill(work.state.data, A{0}, p.value_dim);
      for (extent t = of.x.extents[row_axis] - 1; t >= 0; --t) {
        load(work, of, dout, b, t, h);
        detail::add_scaled(work.state.data, A{1}, work.x.data, p.value_dim);
        add(work.state, to.x, b, t, h);
        detail::step_back(work.factor, work.state);
      }
      meanwhile();
    });
  }

  /// Adds the rest of the gradient of x and those of the factors, from the state that enters and the cotangent of the
  /// one that leaves; without memory: 0. The states are made again.
  template <class A, class P, class Operands>
  void carry_backward(workspace<A>& work, const P& p, const Operands& of, const decltype(Operands::x)& dout,
                      const view<const A, 4>& enters, const view<const A, 4>& leaves,
                      const diagonal_rows<A>& to) const {
    extent const tokens = of.x.extents[row_axis], width = p.value_dim;
    auto const before = [&](extent t) { return detail::channels<A, Field>{work.before[t], width / parts}; };
    for_each_head(p, [&](extent b, extent h) {
      if (tokens > 0) load_state(enters, b, h, before(0));
      for (extent t = 0; t + 1 < tokens; ++t) {
        load(work, of, of.x, b, t, h);
        for (extent i = 0; i < width; ++i) work.before[t + 1][i] = work.before[t][i];
        detail::step(work.factor, before(t + 1), work.x);
      }
      load_state(leaves, b, h, work.state), load_state(leaves, b, h, work.left);
      for (extent t = tokens - 1; t >= 0; --t) {
        load(work, of, dout, b, t, h);
        add(work.left, to.x, b, t, h);
        detail::add_scaled(work.state.data, A{1}, work.x.data, width);
        detail::step_back(work.factor, work.state), detail::step_back(work.factor, work.left);
        add_slopes(work.state, before(t), to, b, t, h);
      }
    });
  }

 private:
  /// The factors of a token, and a row of x or of cotangents.
  template <class A, class Operands>
  static void load(workspace<A>& work, const Operands& of, const decltype(Operands::x)& from, extent b, extent t,
                   extent h) {
    load_factors(work, of, b, t, h);
    for (extent i = 0; i < from.extents[dim_axis]; ++i) work.x.data[i] = static_cast<A>(from(b, t, h, i));
  }
  template <class A, class Operands>
  static void load_factors(workspace<A>& work, const Operands& of, extent b, extent t, extent h) {
    for (extent c = 0; c < work.factor.count; ++c) {
      A const size = exponential::exp2(of.gates(b, t, h, c), detail::floating<A>::log2_e);
      if constexpr (Field == field::complex) {
        double const angle = static_cast<double>(of.angles(b, t, h, c));
        work.factor.set(c, {size * static_cast<A>(__builtin_cos(angle)), size * static_cast<A>(__builtin_sin(angle))});
      } else {
        work.factor.set(c, size);
      }
    }
  }

  template <class Row, class V>
  static void add(Row from, const V& to, extent b, extent t, extent h) {
    for (extent i = 0; i < to.extents[dim_axis]; ++i) to(b, t, h, i) += from.data[i];
  }

  /// From the cotangents of the states before a token and those states.
  template <class A, class Row>
  static void add_slopes(Row cotangent, Row state, const diagonal_rows<A>& to, extent b, extent t, extent h) {
    for (extent c = 0; c < cotangent.count; ++c) {
      auto const slope = detail::slope_of(state[c], cotangent[c]);
      if constexpr (Field == field::complex) {
        to.gates(b, t, h, c) += slope.real, to.angles(b, t, h, c) += slope.imaginary;
      } else {
        to.gates(b, t, h, c) += slope;
      }
    }
  }

  template <class Row, class A>
  static void load_state(const view<const A, 4>& from, extent b, extent h, Row to) {
    detail::load_state(from, b, h, detail::matrix<A>{to.data, to.count}, parts);
  }
  template <class Row, class A>
  static void store_state(Row from, extent b, extent h, const view<A, 4>& to) {
    detail::store_state(detail::matrix<A>{from.data, from.count}, b, h, to);
  }

  /// The product of all factors or the sum of their logarithms, in double as all sums of whole shards are.
  template <class A, class Operands>
  static void store_product(workspace<A>& work, const Operands& of, extent b, extent h, A turn, const view<A, 4>& to) {
    auto const& product = work.product;
    detail::fill(product.data, 0.0, parts * product.count);
    if (Field == field::complex) detail::fill(product.data, 1.0, product.count);
    for (extent t = 0; t < of.x.extents[row_axis]; ++t) {
      if constexpr (Field == field::complex) load_factors(work, of, b, t, h);
      for (extent c = 0; c < product.count; ++c) {
        if constexpr (Field == field::complex) {
          auto const factor = work.factor[c];
          product.set(c, fused(product[c], {static_cast<double>(factor.real), static_cast<double>(factor.imaginary)},
                               complex_number<double>{}));
        } else {
          product.set(c, product[c] + static_cast<double>(of.gates(b, t, h, c)));
        }
      }
    }
    for (extent c = 0; c < product.count; ++c) {
      for (extent part = 0; part < parts; ++part) {
        to(b, h, part, c) = static_cast<A>(product.data[part * product.count + c]) * (part == 0 ? A{1} : turn);
      }
    }
  }
};

}  // namespace ringfold
