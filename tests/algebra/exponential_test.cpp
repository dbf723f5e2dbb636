#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <limits>

#include <ringfold/algebra/exponential.hpp>

namespace {

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();

// In units of the last place of the exact result, rounded to T.
template <class T>
long double error(T got, long double exact) {
  T const near = std::fabs(static_cast<T>(exact));
  return std::fabs(got - exact) / (static_cast<long double>(std::nextafter(near, infinity<T>)) - near);
}

// Sweeps `count` values over (low, high) in irregular steps; returns the worst error in units of the last place.
template <class T, class F, class Exact>
long double worst(T low, T high, int count, F f, Exact exact) {
  long double most = 0;
  for (int i = 0; i < count; ++i) {
    double const fraction = std::fmod(i * 0.6180339887498949, 1.0);
    T const x = static_cast<T>(low + (high - low) * fraction);
    long double const expected = exact(static_cast<long double>(x));
    if (expected == 0) continue;
    most = std::fmax(most, error(f(x), expected));
  }
  return most;
}

auto const power = [](auto x) { return ringfold::exponential::exp2(x); };
auto const exact_power = [](long double x) { return std::exp2(x); };
auto const logarithm = [](auto x) { return ringfold::exponential::log2(x); };
auto const exact_logarithm = [](long double x) { return std::log2(x); };

template <class T>
struct pair {
  T x, result;
};

// What every compiler must give, to the bit. Made by this implementation; the sweeps hold its accuracy.
// clang-format off
constexpr pair<float> float_powers[] = {
    {-0x1.89af82p-1f, 0x1.2c78ap-1f}, {-0x1.45284ep-1f, 0x1.49ae56p-1f},
    {-0x1.545ecep-1f, 0x1.42f5e8p-1f}, {0x1.5e882p-1f, 0x1.9b7782p+0f},
    {-0x1.a4b164p-1f, 0x1.21afp-1f}, {0x1.03dedp-1f, 0x1.6bf0cep+0f},
    {-0x1.28056p-3f, 0x1.cf307ep-1f}, {0x1.d9c88p-6f, 0x1.052edcp+0f},
    {0x1.639ac8p+6f, 0x1.de1854p+88f}, {0x1.e4df88p+6f, 0x1.29d1aep+121f},
    {0x1.29cddp+5f, 0x1.2b4f3cp+37f}, {0x1.db175p+5f, 0x1.4e9ee8p+59f},
    {0x1.942b3ap+4f, 0x1.32ac12p+25f}, {0x1.16c848p+6f, 0x1.9e9a66p+69f},
    {0x1.bd7172p+2f, 0x1.f2042cp+6f}, {-0x1.16416p+4f, 0x1.867658p-18f},
};
constexpr pair<float> float_logarithms[] = {
    {0x1.01e54cp+0f, 0x1.5cc726p-7f}, {0x1.fa8b02p-1f, -0x1.fa9012p-7f},
    {0x1.fd85e4p-1f, -0x1.ca85f4p-8f}, {0x1.fd81b4p-1f, -0x1.cd8f02p-8f},
    {0x1.00db4cp+0f, 0x1.3bd9b2p-8f}, {0x1.feb43p-1f, -0x1.df4faap-9f},
    {0x1.4a7d72p+0f, 0x1.794e56p-2f}, {0x1.c369ep+0f, 0x1.a2f9p-1f},
    {0x1.b4e604p-1f, -0x1.d4ad08p-3f}, {0x1.8b2bfcp+0f, 0x1.40af24p-1f},
    {0x1.89d396p+0f, 0x1.3e2a4cp-1f}, {0x1.cb0048p-1f, -0x1.42dc04p-3f},
    {0x1.07ff4cp+93f, 0x1.742d72p+6f}, {0x1.45812p-31f, -0x1.ea749ap+4f},
    {0x1.8d0112p-41f, -0x1.42ef98p+5f}, {0x1.e3cbfcp+123f, 0x1.efac4cp+6f},
};
constexpr pair<double> double_powers[] = {
    {-0x1.89af814aa240ap-1, 0x1.2c78a02e345acp-1}, {-0x1.45284dcd440a6p-1, 0x1.49ae55350f132p-1},
    {-0x1.545ece284d1ep-1, 0x1.42f5e766e51a4p-1}, {0x1.5e881f600273p-1, 0x1.9b778167d89ep+0},
    {-0x1.a4b16463852d8p-1, 0x1.21aeff27ace09p-1}, {0x1.03ded1f7e500cp-1, 0x1.6bf0cde7b6f22p+0},
    {-0x1.28055e730517p-3, 0x1.cf307e3db6e1ap-1}, {0x1.d9c84027101cp-6, 0x1.052edb49d1847p+0},
    {0x1.688b2909ae3d4p+9, 0x1.0ff2d39297efep+721}, {0x1.eb9b88cbc2bc6p+9, 0x1.2929ce8cbb4d1p+983},
    {0x1.2df0add1f96e9p+8, 0x1.eb31f07345fefp+301}, {0x1.e1b089ef8094p+8, 0x1.9ce32f67609ddp+481},
    {0x1.99c83e2be16f3p+7, 0x1.dac65483f6ce4p+204}, {0x1.1aa7812b655cep+9, 0x1.3d10565ade0e5p+565},
    {0x1.c3a14b4fc0dp+5, 0x1.5e9e3ffb14131p+56}, {-0x1.1a1eba01df93cp+7, 0x1.eb238b73dd264p-142},
};
constexpr pair<double> double_logarithms[] = {
    {0x1.01e54c2b864c6p+0, 0x1.5cc7456e508f5p-7}, {0x1.fa8b01e5fbed3p-1, -0x1.fa901b41518ecp-7},
    {0x1.fd85e4a5aed03p-1, -0x1.ca857c44418b5p-8}, {0x1.fd81b38161616p-1, -0x1.cd8f5e8bfee52p-8},
    {0x1.00db4ca86c387p+0, 0x1.3bdaa340b6baep-8}, {0x1.feb42f64e8107p-1, -0x1.df508b17cee0fp-9},
    {0x1.4a7d71447116ep+0, 0x1.794e5356eb779p-2}, {0x1.c369df08a04f4p+0, 0x1.a2f8ff2a3c835p-1},
    {0x1.b4e6030971654p-1, -0x1.d4ad0f6458092p-3}, {0x1.8b2bfacb93ef1p+0, 0x1.40af227a347e2p-1},
    {0x1.89d3963ab83fdp+0, 0x1.3e2a4b103775ep-1}, {0x1.cb00475593c85p-1, -0x1.42dc078a3a384p-3},
    {0x1.07ff4c70faed6p+763, 0x1.7d85ae3743d22p+9}, {0x1.45812031cf96ap-252, -0x1.f74e933281686p+7},
    {0x1.8d01123f013bp-328, -0x1.475df307b85dep+8}, {0x1.e3cbfbc064f1ap+1008, 0x1.f8758975c4093p+9},
};
// clang-format on

template <class T, std::size_t N, class F>
void check_bits(const pair<T> (&table)[N], F f) {
  for (const auto& [x, result] : table) {
    CAPTURE(x);
    CHECK(f(x) == result);
  }
}

constexpr int sweep = 400'000;

}  // namespace

TEST_CASE_TEMPLATE("exp2 is within 1 ulp over its whole range", T, float, double) {
  T const low = std::numeric_limits<T>::min_exponent - 1, high = std::numeric_limits<T>::max_exponent;
  CHECK(worst<T>(-1, 1, sweep, power, exact_power) <= 1);
  CHECK(worst<T>(low, high, sweep, power, exact_power) <= 1);
  CHECK(worst<T>(T(-1e-3), T(1e-3), sweep, power, exact_power) <= 1);
}

TEST_CASE_TEMPLATE("exp2 of a product does not round the product", T, float, double) {
  T const factor = T(1.4426950408889634L);
  auto const scaled = [factor](T x) { return ringfold::exponential::exp2(x, factor); };
  // The product of two floats is exact in long double; that of two doubles is exact to 2^-64, times the exponent.
  auto const exact = [factor](long double x) { return std::exp2(x * factor); };
  CHECK(worst<T>(T(-80), T(80), sweep, scaled, exact) <= 1);
  // The rounded product alone would cost more than that.
  auto const rounded = [factor](T x) { return ringfold::exponential::exp2(T(x * factor)); };
  CHECK(worst<T>(T(-80), T(80), sweep, rounded, exact) > 4);
}

TEST_CASE_TEMPLATE("exp2 of an integer is exact, and flushed below the smallest normal number", T, float, double) {
  int const low = std::numeric_limits<T>::min_exponent - 1, high = std::numeric_limits<T>::max_exponent;
  for (int n = low; n < high; ++n) CHECK(ringfold::exponential::exp2(T(n)) == std::ldexp(T(1), n));
  CHECK(ringfold::exponential::exp2(T(0.0)) == 1);
  CHECK(ringfold::exponential::exp2(T(-0.0)) == 1);
  CHECK(ringfold::exponential::exp2(T(high)) == infinity<T>);
  CHECK(ringfold::exponential::exp2(std::nextafter(T(high), T(0))) <= std::numeric_limits<T>::max());
  CHECK(ringfold::exponential::exp2(std::nextafter(T(low), -infinity<T>)) == 0);
}

TEST_CASE_TEMPLATE("exp2 of what is no number or out of range", T, float, double) {
  T const most = std::numeric_limits<T>::max(), least = std::numeric_limits<T>::denorm_min();
  for (T const x : {T(-1e4), T(-1e30), -most, -infinity<T>}) {
    CAPTURE(x);
    CHECK(ringfold::exponential::exp2(x) == 0);
    CHECK_FALSE(std::signbit(ringfold::exponential::exp2(x)));
    CHECK(ringfold::exponential::exp2(x, T(1.5)) == 0);
  }
  for (T const x : {T(1e4), T(1e30), most, infinity<T>}) {
    CAPTURE(x);
    CHECK(ringfold::exponential::exp2(x) == infinity<T>);
    CHECK(ringfold::exponential::exp2(x, T(1.5)) == infinity<T>);
  }
  CHECK(ringfold::exponential::exp2(least) == 1);
  CHECK(ringfold::exponential::exp2(-least) == 1);
  CHECK(std::isnan(ringfold::exponential::exp2(std::numeric_limits<T>::quiet_NaN())));
  CHECK(std::isnan(ringfold::exponential::exp2(-std::numeric_limits<T>::quiet_NaN())));
  CHECK(std::isnan(ringfold::exponential::exp2(std::numeric_limits<T>::quiet_NaN(), T(2))));
  for (char const* const payload : {"1", "2", "255", "12345"}) {
    CHECK(std::isnan(
        ringfold::exponential::exp2(static_cast<T>(sizeof(T) == 4 ? std::nanf(payload) : std::nan(payload)))));
  }
}

TEST_CASE_TEMPLATE("log2 is within 1 ulp, near 1 too", T, float, double) {
  T const least = std::numeric_limits<T>::min(), most = std::numeric_limits<T>::max();
  CHECK(worst<T>(T(0.5), T(2), sweep, logarithm, exact_logarithm) <= 1);
  CHECK(worst<T>(T(0.99), T(1.01), sweep, logarithm, exact_logarithm) <= 1);
  CHECK(worst<T>(T(1 - 64 * std::numeric_limits<T>::epsilon()), T(1 + 64 * std::numeric_limits<T>::epsilon()), 1000,
                 logarithm, exact_logarithm) <= 1);
  CHECK(worst<T>(T(0.6), T(0.8), sweep, logarithm, exact_logarithm) <= 1);
  CHECK(worst<T>(T(1.3), T(1.5), sweep, logarithm, exact_logarithm) <= 1);
  CHECK(worst<T>(least, 1000 * least, sweep, logarithm, exact_logarithm) <= 1);
  CHECK(worst<T>(T(1), most, sweep, logarithm, exact_logarithm) <= 1);
  CHECK(worst<T>(T(0), least, 1000, logarithm, exact_logarithm) <= 1);
}

TEST_CASE_TEMPLATE("log2 of a power of two is exact, subnormal ones too", T, float, double) {
  int const low = std::numeric_limits<T>::min_exponent - std::numeric_limits<T>::digits;
  int const high = std::numeric_limits<T>::max_exponent;
  for (int n = low; n < high; ++n) CHECK(ringfold::exponential::log2(std::ldexp(T(1), n)) == n);
}

TEST_CASE_TEMPLATE("log2 of what has no logarithm", T, float, double) {
  CHECK(ringfold::exponential::log2(T(0.0)) == -infinity<T>);
  CHECK(ringfold::exponential::log2(T(-0.0)) == -infinity<T>);
  CHECK(ringfold::exponential::log2(infinity<T>) == infinity<T>);
  CHECK(std::isnan(ringfold::exponential::log2(T(-1))));
  CHECK(std::isnan(ringfold::exponential::log2(-std::numeric_limits<T>::denorm_min())));
  CHECK(std::isnan(ringfold::exponential::log2(-infinity<T>)));
  CHECK(std::isnan(ringfold::exponential::log2(std::numeric_limits<T>::quiet_NaN())));
}

TEST_CASE("the same bits from every compiler, level and instruction set") {
  check_bits(float_powers, power);
  check_bits(float_logarithms, logarithm);
  check_bits(double_powers, power);
  check_bits(double_logarithms, logarithm);
}
