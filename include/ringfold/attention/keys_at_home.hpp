#pragma once

#include <ringfold/algebra/softmax_merge.hpp>
#include <ringfold/attention/needs.hpp>
#include <ringfold/collective/parcel.hpp>

/// \file
/// What travels where keys stay at home: queries there, and what was made of them back.

namespace ringfold {

namespace detail {

/// Forward, queries go there, and closed partials come back to be merged. As parcels, of which take_*() are empty ones.
///
/// A log-sum-exp's rounding is an error of the weight with which a partial counts, so base 2 is taken where A allows.
template <class A, class P, class Space>
struct query_traffic {
  using element = typename P::element;
  using sum = typename P::accumulate;
  static constexpr bool rounds_once = closes_in_any_base<A> && std::is_floating_point_v<sum>;
  using partial_type = partial<sum, Space, std::conditional_t<rounds_once, base_2, base_e>>;

  static parcel<1> there(const view<const element, 4, Space>& q) { return {{rows_of(q, role::query)}}; }
  static parcel<2> back(const partial_type& part) {
    return {{rows_of(part.o, role::output), rows_of(part.lse, role::lse)}};
  }
  static view<const element, 4, Space> queries(const parcel<1>& from) {
    return view_of<const element, 4, Space>(from.pieces[0]);
  }
  static partial_type result(const parcel<2>& from) {
    return {view_of<sum, 4, Space>(from.pieces[0]), numbers_of<sum, Space>(from.pieces[1])};
  }

  static parcel<1> take_there(const P& p, extent rows, arena<Space>& memory) {
    return there(memory.template take_view<element>(p.batch, rows, p.head.query, p.dim));
  }
  static parcel<2> take_back(const P& p, extent rows, arena<Space>& memory) {
    auto const o = memory.template take_view<sum>(p.batch, rows, p.head.query, p.value_dim);
    return back({o, memory.template take_view<sum>(p.batch, rows, p.head.query)});
  }

  template <class Stream>
  static void clear(Stream on, const parcel<2>& to) {
    set_identity(on, result(to));
  }
  template <class Stream>
  static void fold(Stream on, const parcel<2>& into, const parcel<2>& from) {
    merge(on, result(into), result(from));
  }
};

/// Backward, queries go with what is known of their results, and their gradients come back to be added.
template <class P, class Space>
struct gradient_traffic {
  using element = typename P::element;
  using sum = typename P::accumulate;

  static parcel<4> there(const view<const element, 4, Space>& q, const cotangent<element, Space>& of_out) {
    return {{rows_of(q, role::query), rows_of(of_out.dout, role::gradient), rows_of(of_out.lse, role::lse),
             rows_of(of_out.delta, role::lse)}};
  }
  static parcel<1> back(const view<sum, 4, Space>& of_q) { return {{rows_of(of_q, role::gradient)}}; }
  static view<const element, 4, Space> queries(const parcel<4>& from) {
    return view_of<const element, 4, Space>(from.pieces[0]);
  }
  static cotangent<element, Space> results(const parcel<4>& from) {
    return {view_of<const element, 4, Space>(from.pieces[1]), numbers_of<const sum, Space>(from.pieces[2]),
            numbers_of<const sum, Space>(from.pieces[3])};
  }
  static view<sum, 4, Space> result(const parcel<1>& from) { return view_of<sum, 4, Space>(from.pieces[0]); }

  static parcel<4> take_there(const P& p, extent rows, arena<Space>& memory) {
    auto const q = memory.template take_view<element>(p.batch, rows, p.head.query, p.dim);
    auto const dout = memory.template take_view<element>(p.batch, rows, p.head.query, p.value_dim);
    auto const lse = memory.template take_view<sum>(p.batch, rows, p.head.query);
    return there(q, {dout, lse, memory.template take_view<sum>(p.batch, rows, p.head.query)});
  }
  static parcel<1> take_back(const P& p, extent rows, arena<Space>& memory) {
    return back(memory.template take_view<sum>(p.batch, rows, p.head.query, p.dim));
  }

  template <class Stream>
  static void clear(Stream on, const parcel<1>& to) {
    on.elementwise(elementwise::set_zero{}, result(to));
  }
  template <class Stream>
  static void fold(Stream on, const parcel<1>& into, const parcel<1>& from) {
    on.elementwise(elementwise::add_to{}, result(into), result(from));
  }
};

}  // namespace detail

/// What every attention shares whose keys stay at home.
template <communicator C, class A>
class keys_at_home : public along_axis<C, A> {
  static_assert(!is_canonical<A>,
                "[ringfold] canonical() must see every key of its queries, but where queries travel each rank closes a "
                "partial over its own keys, and merging rounds; use ring, gather or ulysses");

 protected:
  using along_axis<C, A>::along_axis;
};

}  // namespace ringfold
