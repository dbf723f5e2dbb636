#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include <ringfold/algebra/softmax_merge.hpp>

using namespace ringfold;

namespace {

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T epsilon = std::numeric_limits<T>::epsilon();

template <class T>
bool same_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

template <class T>
std::vector<T> hard_lses() {
  T const most = std::numeric_limits<T>::max(), least = std::numeric_limits<T>::denorm_min();
  return {
      -infinity<T>, -most,      T(-1e30), T(-6e4),      T(-5e4), T(-1e4), T(-200), T(-100), T(-17.25),
      T(-1),        T(-0.7),    -least,   T(-0.0),      T(0),    least,   T(0.3),  T(1),    std::nextafter(T(1), T(2)),
      T(2.5),       T(16.6355), T(100),   T(100.00001), T(200),  T(1e4),  T(5e4),  T(1e30), most};
}

// Rows of a partial that stand apart in memory: [batch, head, row, padded dim] seen as [batch, row, head, dim].
template <class T, class Base = base_e>
struct storage {
  static constexpr extent batch = 2, row = 5, head = 3, dim = 4, padded = 7;
  std::vector<T> o = std::vector<T>(batch * head * row * padded, T(77));
  std::vector<T> lse = std::vector<T>(batch * row * head);

  partial<T, host_space, Base> get() {
    auto const whole = transposed(dense(o.data(), batch, head, row, padded), row_axis, head_axis);
    return {slice(whole, dim_axis, 0, dim), dense(lse.data(), batch, row, head)};
  }
};

template <class F>
void for_each_row(F f) {
  using s = storage<float>;
  for (extent b = 0; b < s::batch; ++b) {
    for (extent r = 0; r < s::row; ++r) {
      for (extent h = 0; h < s::head; ++h) f(b, r, h);
    }
  }
}

template <class T, class Base>
void fill(storage<T, Base>& to, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<T> value(-1, 1), lse(-10, 10);
  auto const p = to.get();
  for_each_row([&](extent b, extent r, extent h) {
    bool const empty = random() % 4 == 0;
    p.lse(b, r, h) = empty ? -infinity<T> : lse(random);
    for (extent d = 0; d < p.o.extents[3]; ++d) p.o(b, r, h, d) = empty ? T(0) : value(random);
  });
}

}  // namespace

TEST_CASE_TEMPLATE("weights and log-sum-exp of every hard pair, against long double", T, float, double) {
  for (T const a : hard_lses<T>()) {
    for (T const b : hard_lses<T>()) {
      CAPTURE(a);
      CAPTURE(b);
      auto const merged = merged_weights(a, b);
      if (a == -infinity<T> && b == -infinity<T>) {
        CHECK(merged.lse == -infinity<T>);
        CHECK(merged.weight_a == 0);
        CHECK(merged.weight_b == 0);
        continue;
      }
      long double const high = std::fmax(a, b), low = std::fmin(a, b);
      long double const ratio = std::exp(low - high);
      long double const exact = high + std::log1p(ratio);
      // Half a last place of the result, and what the logarithm of a number in [1, 2] was rounded by.
      long double const allowed = epsilon<T> * (std::fabs(exact) / 2 + 1);
      CHECK(std::fabs(merged.lse - exact) <= allowed);
      // The ratio is wrong by its exponent's rounding, |x| e^x epsilon / 2 <= 0.19 epsilon, and a few roundings.
      CHECK(std::fabs(merged.weight_a - (a >= b ? 1 : ratio) / (1 + ratio)) <= 2 * epsilon<T>);
      CHECK(std::fabs(merged.weight_b - (b >= a ? 1 : ratio) / (1 + ratio)) <= 2 * epsilon<T>);
    }
  }
}

TEST_CASE_TEMPLATE("exchanging the sides exchanges the weights and no bit changes", T, float, double) {
  auto const check = [](T a, T b) {
    auto const one = merged_weights(a, b), other = merged_weights(b, a);
    CAPTURE(a);
    CAPTURE(b);
    CHECK(same_bits(one.lse, other.lse));
    CHECK(same_bits(one.weight_a, other.weight_b));
    CHECK(same_bits(one.weight_b, other.weight_a));
  };
  for (T const a : hard_lses<T>()) {
    for (T const b : hard_lses<T>()) check(a, b);
  }
  std::mt19937 random(3);
  std::uniform_real_distribution<T> lse(-4, 4), value(-1, 1);
  softmax_monoid<T> const m;
  for (int i = 0; i < 2000; ++i) {
    typename softmax_monoid<T>::element const a{value(random), lse(random)},
        b{value(random), i % 5 ? lse(random) : a.lse};
    CHECK(same_bits(m.combine(a, b).o, m.combine(b, a).o));
    CHECK(same_bits(m.combine(a, b).lse, m.combine(b, a).lse));
  }
  // A tie over subnormal outputs, where one half rounds and which one does would decide.
  T const least = std::numeric_limits<T>::denorm_min();
  CHECK(same_bits(m.combine({3 * least, 1}, {-4 * least, 1}).o, m.combine({-4 * least, 1}, {3 * least, 1}).o));
}

TEST_CASE_TEMPLATE("an empty row changes no bit, whatever its output holds", T, float, double) {
  softmax_monoid<T> const m;
  auto const identity = m.identity();
  CHECK(same_bits(identity.o, T(0)));
  CHECK(identity.lse == -infinity<T>);
  for (T const lse : hard_lses<T>()) {
    for (T const o : {T(-0.0), T(0.0), T(1.25), T(-3e30)}) {
      for (T const left_over : {T(0), T(5), infinity<T>, std::numeric_limits<T>::quiet_NaN()}) {
        if (lse == -infinity<T>) continue;
        auto const left = m.combine({left_over, -infinity<T>}, {o, lse});
        auto const right = m.combine({o, lse}, {left_over, -infinity<T>});
        CHECK(same_bits(left.o, o));
        CHECK(same_bits(left.lse, lse));
        CHECK(same_bits(right.o, o));
        CHECK(same_bits(right.lse, lse));
      }
    }
  }
  auto const nothing = m.combine({infinity<T>, -infinity<T>}, {std::numeric_limits<T>::quiet_NaN(), -infinity<T>});
  CHECK(same_bits(nothing.o, T(0)));
  CHECK(nothing.lse == -infinity<T>);
}

TEST_CASE_TEMPLATE("a NaN is not taken for an empty row", T, float, double) {
  T const nan = std::numeric_limits<T>::quiet_NaN();
  for (T const other : {T(1), -infinity<T>, nan}) {
    CHECK(std::isnan(merged_weights(nan, other).lse));
    CHECK(std::isnan(merged_weights(other, nan).lse));
    CHECK(std::isnan(softmax_monoid<T>{}.combine({1, other}, {1, nan}).o));
  }
}

TEST_CASE_TEMPLATE("both bases weigh the same partials alike", T, float, double) {
  for (T const a : {T(-3), T(0), T(2.5)}) {
    for (T const b : {T(-7), T(0), T(3)}) {
      auto const two = merged_weights<base_2>(a, b);
      long double const sum = std::exp2(static_cast<long double>(a)) + std::exp2(static_cast<long double>(b));
      CHECK(two.lse == doctest::Approx(static_cast<double>(std::log2(sum))).epsilon(4 * epsilon<T>));
      CHECK(two.weight_a ==
            doctest::Approx(static_cast<double>(std::exp2(static_cast<long double>(a)) / sum)).epsilon(4 * epsilon<T>));
    }
  }
  CHECK(merged_weights<base_2>(T(5), T(5)).lse == 6);
  CHECK(same_bits(merged_weights<base_2>(-infinity<T>, T(-0.0)).lse, T(-0.0)));
}

TEST_CASE_TEMPLATE("merging views is merging their rows, strided or not", T, float, double) {
  storage<T> a, b;
  fill(a, 1);
  fill(b, 2);
  storage<T> const before = a, untouched = b;
  storage<T> old = before;
  merge(host_stream{}, a.get(), b.get());
  CHECK(b.o == untouched.o);
  CHECK(b.lse == untouched.lse);

  int different = 0, padding = 0;
  auto const was = old.get(), from = b.get(), is = a.get();
  for_each_row([&](extent i, extent r, extent h) {
    auto const merged = merged_weights(was.lse(i, r, h), from.lse(i, r, h));
    different += !same_bits(is.lse(i, r, h), merged.lse);
    for (extent d = 0; d < storage<T>::dim; ++d) {
      T const o = merged_output(merged.weight_a, was.o(i, r, h, d), merged.weight_b, from.o(i, r, h, d));
      different += !same_bits(is.o(i, r, h, d), o);
    }
    for (extent d = storage<T>::dim; d < storage<T>::padded; ++d) padding += (&is.o(i, r, h, 0))[d] != T(77);
  });
  CHECK(different == 0);
  CHECK(padding == 0);
}

TEST_CASE_TEMPLATE("softmax in parts is softmax, in any number of parts", T, float, double) {
  constexpr int keys = 48;
  std::mt19937 random(11);
  std::normal_distribution<double> normal;
  for (int parts : {1, 2, 3, 5, 8, 48}) {
    for (int round = 0; round < 20; ++round) {
      std::vector<double> score(keys), value(keys);
      for (int k = 0; k < keys; ++k)
        score[static_cast<std::size_t>(k)] = 4 * normal(random), value[static_cast<std::size_t>(k)] = normal(random);
      auto const closed = [&](int first, int last) {
        long double sum = 0, weighted = 0;
        for (auto k = static_cast<std::size_t>(first); k < static_cast<std::size_t>(last); ++k) {
          sum += std::exp(static_cast<long double>(score[k]));
          weighted += std::exp(static_cast<long double>(score[k])) * value[k];
        }
        return std::pair{weighted / sum, std::log(sum)};
      };
      softmax_monoid<T> const m;
      auto merged = m.identity();
      for (int part = 0; part < parts; ++part) {
        auto const [o, lse] = closed(keys * part / parts, keys * (part + 1) / parts);
        merged = m.combine(merged, {static_cast<T>(o), static_cast<T>(lse)});
      }
      auto const [o, lse] = closed(0, keys);
      // Each merge rounds weights and log-sum-exp (below 16) by up to 8 + 2 epsilon each, over outputs below 4.
      CHECK(std::fabs(merged.o - o) <= 40.0 * parts * epsilon<T>);
      CHECK(std::fabs(merged.lse - lse) <= 10.0 * parts * epsilon<T>);
    }
  }
}

TEST_CASE("the identity is outputs 0 and log-sum-exps -inf, and changes nothing") {
  storage<float> empty, a;
  empty.lse.assign(empty.lse.size(), 3.f);
  set_identity(host_stream{}, empty.get());
  auto const p = empty.get();
  for_each_row([&](extent b, extent r, extent h) {
    CHECK(p.lse(b, r, h) == -infinity<float>);
    for (extent d = 0; d < storage<float>::dim; ++d) CHECK(same_bits(p.o(b, r, h, d), 0.f));
    CHECK((&p.o(b, r, h, 0))[storage<float>::dim] == 77.f);
  });
  fill(a, 5);
  storage<float> const before = a;
  merge(host_stream{}, a.get(), empty.get());
  CHECK(a.o == before.o);
  CHECK(a.lse == before.lse);
  merge(host_stream{}, empty.get(), a.get());
  CHECK(empty.lse == before.lse);
}

TEST_CASE("merging touches data through the stream only") {
  auto const phantom = [](std::uintptr_t address) { return reinterpret_cast<float*>(address); };
  partial<float, phantom_space> const a{dense<phantom_space>(phantom(64), 2, 3, 4, 8),
                                        dense<phantom_space>(phantom(64), 2, 3, 4)};
  merge(phantom_stream{}, a, a);
  set_identity(phantom_stream{}, a);
  static_assert(std::is_same_v<decltype(convert<base_2>(phantom_stream{}, a)), partial<float, phantom_space, base_2>>);
  convert<base_2>(phantom_stream{}, a);
}

TEST_CASE("partials of different extents are refused before anything is written") {
  storage<float> a, b;
  fill(a, 1);
  storage<float> const before = a;
  auto shorter = b.get();
  shorter.o = slice(shorter.o, row_axis, 0, 4);
  CHECK_THROWS_WITH_AS(merge(host_stream{}, a.get(), shorter),
                       "merge: axis 1 of the outputs has 5 and 4 elements; they must be equal", shape_error);
  shorter = b.get();
  shorter.lse = slice(shorter.lse, head_axis, 0, 2);
  CHECK_THROWS_WITH_AS(merge(host_stream{}, a.get(), shorter),
                       "merge: axis 2 of the log-sum-exps has 3 and 2 elements; they must be equal", shape_error);
  auto const small = shorter.lse;
  CHECK_THROWS_WITH_AS(merge(host_stream{}, partial<float>{a.get().o, small}, shorter),
                       "merge: axis 2 of an output and its log-sum-exp has 2 and 3 elements; they must be equal",
                       shape_error);
  CHECK(a.o == before.o);
  CHECK(a.lse == before.lse);
}

TEST_CASE_TEMPLATE("foreign empty rows become -inf", T, float, double) {
  CHECK(adapt_lse(infinity<T>) == -infinity<T>);
  CHECK(adapt_lse(-infinity<T>) == -infinity<T>);
  CHECK(adapt_lse(std::numeric_limits<T>::quiet_NaN()) == -infinity<T>);
  for (T const lse : {T(-1e30), T(-0.0), T(3), std::numeric_limits<T>::max()}) CHECK(same_bits(adapt_lse(lse), lse));
}

TEST_CASE_TEMPLATE("a log-sum-exp in another base", T, float, double) {
  CHECK(convert<base_e, base_2>(T(10)) == doctest::Approx(6.931471805599453).epsilon(epsilon<T>));
  CHECK(convert<base_2, base_e>(T(10)) == doctest::Approx(14.426950408889634).epsilon(epsilon<T>));
  CHECK(convert<base_2, base_2>(T(10)) == 10);
  CHECK(convert<base_e, base_2>(-infinity<T>) == -infinity<T>);
  CHECK(convert<base_2, base_e>(-infinity<T>) == -infinity<T>);

  storage<T, base_2> a, b;
  fill(a, 21);
  fill(b, 22);
  storage<T, base_2> natural_a = a, natural_b = b;
  merge(host_stream{}, a.get(), b.get());
  auto const into = convert<base_e>(host_stream{}, natural_a.get());
  merge(host_stream{}, into, convert<base_e>(host_stream{}, natural_b.get()));
  auto const back = convert<base_2>(host_stream{}, into), expected = a.get();
  for_each_row([&](extent i, extent r, extent h) {
    if (expected.lse(i, r, h) == -infinity<T>) {
      CHECK(back.lse(i, r, h) == -infinity<T>);
    } else {
      CHECK(std::fabs(back.lse(i, r, h) - expected.lse(i, r, h)) <= 32 * epsilon<T>);
    }
    for (extent d = 0; d < storage<T>::dim; ++d) {
      CHECK(std::fabs(back.o(i, r, h, d) - expected.o(i, r, h, d)) <= 32 * epsilon<T>);
    }
  });
}

TEST_CASE("a long fold has the same bits from every compiler, level and instruction set") {
  auto const fold = []<class T>(T) {
    softmax_monoid<T> const m;
    auto merged = m.identity();
    std::uint32_t word = 1;
    auto const next = [&] {
      word = word * 1664525u + 1013904223u;
      return static_cast<T>(word >> 8) * T(0x1p-24);
    };
    for (int i = 0; i < 1000; ++i) {
      T const o = next(), lse = 20 * next();
      merged = m.combine({o, lse}, merged);
    }
    return merged;
  };
  CHECK(fold(0.f).o == 0x1.d52134p-2f);
  CHECK(fold(0.f).lse == 0x1.7f2bfcp+4f);
  CHECK(fold(0.).o == 0x1.d521557a83046p-2);
  CHECK(fold(0.).lse == 0x1.7f2c23623db4bp+4);
}
