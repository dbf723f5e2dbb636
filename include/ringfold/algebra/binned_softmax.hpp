#pragma once

#include <ringfold/algebra/binned_sum.hpp>
#include <ringfold/algebra/softmax_merge.hpp>

/// \file
/// Softmax partials added up so that neither order nor grouping decides a bit.

namespace ringfold {

/// For each row the sums of 2^lse * o and of 2^lse over partials, both in units of 2^level; owns nothing.
///
/// level is [batch, row, head]: the first multiple of 32 above every lse so far. When it rises, sums are moved down by
/// whole bins, so no bit tells when it rose. Outputs have adjacent dims.
template <class A, class Space = host_space>
struct binned_partial {
  view<A, 3, Space> level;
  view<binned_sum<A>, 3, Space> weights;
  view<binned_sum<A>, 4, Space> outputs;
};

/// The part of rows first .. first + count - 1 and of one head.
template <class A, class Space>
binned_partial<A, Space> slice(const binned_partial<A, Space>& whole, range rows, extent head) {
  auto const cut = [&](auto of) { return slice(slice(of, 1, rows), 2, head, 1); };
  return {cut(whole.level), cut(whole.weights), cut(whole.outputs)};
}

namespace detail {

inline RINGFOLD_HD float floor(float value) { return __builtin_floorf(value); }
inline RINGFOLD_HD double floor(double value) { return __builtin_floor(value); }

template <class A>
struct add_partial_row {
  static constexpr A bin = 32, most = 0x1p20;
  extent dim;

  RINGFOLD_HD void operator()(A& level, binned_sum<A>& weights, binned_sum<A>& outputs, const A& lse,
                              const A& o) const {
    if (lse == -floating<A>::infinity) return;
    if (!(lse < floating<A>::infinity)) {
      weights += floating<A>::not_a_number;
      return;
    }
    A const above = floor(lse) + 1, needed = (floor(above / bin) + 1) * bin;
    binned_sum<A>* __restrict const to = &outputs;
    const A* __restrict const from = &o;
    if (level < needed) {
      A const bins = (needed - level) / bin;
      auto const count = static_cast<std::int64_t>(bins < most ? bins : most);
      weights.lower(count);
      for (extent d = 0; d < dim; ++d) to[d].lower(count);
      level = needed;
    }
    A const weight = exponential::exp2(lse - above), down = above - level;
    auto const exponent = static_cast<std::int64_t>(down > -most ? down : -most);
    weights.add(weight, exponent);
    for (extent d = 0; d < dim; ++d) to[d].add(from[d] * weight, exponent);
  }
};

template <class A, class Base>
struct close_row {
  extent dim, stride;

  RINGFOLD_HD void operator()(A& lse, A& o, const A& level, const binned_sum<A>& weights,
                              const binned_sum<A>& outputs) const {
    using word = typename floating<A>::word;
    A* const to = &o;
    const binned_sum<A>* const from = &outputs;
    A const total = weights.value();
    if (total == 0) {
      lse = -floating<A>::infinity;
      for (extent d = 0; d < dim; ++d) to[d * stride] = 0;
      return;
    }
    // total = sum * 2^exponent with 1/2 <= sum < 1, so that outputs are rounded at their own size and do not overflow.
    int const exponent =
        static_cast<int>(__builtin_bit_cast(word, total) >> floating<A>::mantissa) - floating<A>::largest_exponent + 1;
    A const sum = weights.value(-exponent);
    lse = logarithm_of<Base, A>::from_2 * (level + static_cast<A>(exponent) + exponential::log2(sum));
    for (extent d = 0; d < dim; ++d) to[d * stride] = from[d].value(-exponent) / sum;
  }
};

}  // namespace detail

/// Makes the sums those of no partials.
template <class Stream, class A, class Space>
void set_identity(Stream on, const binned_partial<A, Space>& to) {
  on.elementwise(detail::assign<A>{-detail::floating<A>::infinity}, to.level);
  on.elementwise(elementwise::set_zero{}, to.weights);
  on.elementwise(elementwise::set_zero{}, to.outputs);
}

/// Adds a partial with adjacent dims. Rows of lse -inf change nothing; one of +inf or NaN makes the row NaN.
template <class Stream, class A, class Space>
void merge(Stream on, const binned_partial<A, Space>& into, const partial<A, Space, base_2>& from) {
  on.elementwise(detail::add_partial_row<A>{into.outputs.extents[dim_axis]}, into.level, into.weights,
                 first_of_rows(into.outputs), from.lse, first_of_rows(from.o));
}

/// Writes the closed partial of all that was added. Rows without any: 0 and -inf.
template <class Stream, class A, class Space, class Base>
void close(Stream on, const binned_partial<A, Space>& from, const partial<A, Space, Base>& to) {
  on.elementwise(detail::close_row<A, Base>{to.o.extents[dim_axis], to.o.strides[dim_axis]}, to.lse,
                 first_of_rows(to.o), from.level, from.weights, first_of_rows(from.outputs));
}

}  // namespace ringfold
