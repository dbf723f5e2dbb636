#pragma once

#include <tuple>
#include <utility>

#include <ringfold/algebra/affine.hpp>

/// \file
/// Several algebras as one, so that their states travel together.

namespace ringfold {

/// The algebra of some algebras, side by side: one element of each, and one state of each.
///
/// States lie one behind the other, [batch, heads, 1, all their numbers]; so do gates. A message is as large as theirs
/// together, and there is one where there were several. Whatever mixes rows or columns, heads never mix: they may be cut.
/// All have the same batch and heads, or usage_error is thrown before there is a state. of_state() and of_element() show
/// what is one algebra's.
/// Source: the product of monoids.
template <class... Algebras>
struct product {
  using first = std::tuple_element_t<0, std::tuple<Algebras...>>;
  using number = typename first::number;
  using space = typename first::space;
  using state = view<number, 4, space>;
  using element = affine_element<number, space>;
  static_assert((std::is_same_v<element, typename Algebras::element> && ...),
                "[ringfold] product: algebras of one number and space, whose elements are a gate and a value");

  static constexpr bool holds_exponents = (requires { Algebras::holds_exponents; } || ...);

  std::tuple<Algebras...> of;

  /// \throws usage_error when the algebras are not side by side: of other batches or heads.
  state take_state(arena<space>& memory) const {
    each([&](auto at) {
      auto const& one = std::get<decltype(at)::value>(of);
      auto const& all = std::get<0>(of);
      if (one.batch == all.batch && one.heads == all.heads) return;
      auto const number_of = [](extent value) { return static_cast<long long>(value); };
      throw usage_error(
          say("product: batch %lld and %lld heads beside batch %lld and %lld heads; they must be the same",
              number_of(one.batch), number_of(one.heads), number_of(all.batch), number_of(all.heads)));
    });
    return take(memory, sizes().value[sizeof...(Algebras)]);
  }
  element take_element(arena<space>& memory) const {
    return {take(memory, sizes().gate[sizeof...(Algebras)]), take_state(memory)};
  }

  static std::array<state, 1> views(const state& s) { return {s}; }
  static std::array<state, 2> views(const element& e) { return {e.gate, e.value}; }
  static const state& value_of(const element& e) { return e.value; }

  /// Some heads, of `count` nearly equal parts.
  template <class Number>
  static view<Number, 4, space> part(const view<Number, 4, space>& s, int index, int count) {
    extent const heads = s.extents[1], small = heads / count, larger = heads % count;
    return slice(s, 1, index * small + (index < larger ? index : larger), small + (index < larger ? 1 : 0));
  }
  static element part(const element& e, int index, int count) {
    return {part(e.gate, index, count), part(e.value, index, count)};
  }
  extent most_parts() const { return std::get<0>(of).heads; }
  /// What takes memory for such a part.
  product of_part(int index, int count) const {
    product made = *this;
    extent const heads = part(state{nullptr, {0, most_parts(), 0, 0}, {}}, index, count).extents[1];
    each([&](auto at) { std::get<decltype(at)::value>(made.of).heads = heads; });
    return made;
  }

  /// The state of the I-th algebra.
  template <std::size_t I>
  state of_state(const state& whole) const {
    auto const& one = std::get<I>(of);
    return within(whole, sizes().value[I], one.rows, one.columns);
  }
  template <std::size_t I>
  element of_element(const element& whole) const {
    auto const gate = gate_of(std::get<I>(of));
    return {within(whole.gate, sizes().gate[I], gate.extents[2], gate.extents[3]), of_state<I>(whole.value)};
  }

  /// into = what the element makes of a state; into has memory of its own.
  template <class Stream>
  void apply(Stream on, const state& s, const element& e, const state& into) const {
    each([&](auto at) {
      constexpr std::size_t i = decltype(at)::value;
      std::get<i>(of).apply(on, of_state<i>(s), of_element<i>(e), of_state<i>(into));
    });
  }

  /// into = first, then the other; into has memory of its own.
  template <class Stream>
  void compose(Stream on, const element& first_one, const element& then, const element& into) const {
    each([&](auto at) {
      constexpr std::size_t i = decltype(at)::value;
      std::get<i>(of).compose(on, of_element<i>(first_one), of_element<i>(then), of_element<i>(into));
    });
  }

 private:
  template <class F>
  static void each(F f) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (f(std::integral_constant<std::size_t, I>{}), ...);
    }(std::index_sequence_for<Algebras...>{});
  }

  /// Where the numbers of each begin, and at last how many there are.
  struct beginnings {
    extent value[sizeof...(Algebras) + 1] = {}, gate[sizeof...(Algebras) + 1] = {};
  };
  beginnings sizes() const {
    beginnings made;
    each([&](auto at) {
      constexpr std::size_t i = decltype(at)::value;
      auto const& one = std::get<i>(of);
      auto const gate = gate_of(one);
      made.value[i + 1] = made.value[i] + one.rows * one.columns;
      made.gate[i + 1] = made.gate[i] + gate.extents[2] * gate.extents[3];
    });
    return made;
  }
  /// A gate as large as one algebra's; none has no rows.
  template <class Algebra>
  static state gate_of(const Algebra& one) {
    arena<space> nowhere;
    state made = one.take_element(nowhere).gate;
    if (made.extents[0] == 0) made.extents[2] = 0;
    return made;
  }

  state take(arena<space>& memory, extent numbers) const {
    return memory.template take_view<number>(std::get<0>(of).batch, std::get<0>(of).heads, extent{1}, numbers);
  }
  static state within(const state& whole, extent begin, extent rows, extent columns) {
    return {whole.data + begin,
            {whole.extents[0], whole.extents[1], rows, columns},
            {whole.strides[0], whole.strides[1], columns, 1}};
  }
};

}  // namespace ringfold
