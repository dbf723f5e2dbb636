#include <ringfold/kernel/cpu/rows.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

using namespace ringfold;

TEST_CASE("every half widens to the number it stands for") {
  int wrong = 0;
  for (unsigned bits = 0; bits < 65536; ++bits) {
    f16 half;
    half.bits = static_cast<std::uint16_t>(bits);
    float const wanted = static_cast<float>(half), got = detail::widen(half);
    wrong += std::isnan(wanted) ? !std::isnan(got) : (got != wanted || std::signbit(got) != std::signbit(wanted));
  }
  CHECK(wrong == 0);
}

TEST_CASE("rows are copied from any stride") {
  bf16 from[9];
  for (int i = 0; i < 9; ++i) from[i] = bf16(static_cast<float>(i));
  float to[3];
  detail::copy_row(from, 3, 3, 0.5f, to);
  CHECK(to[0] == 0);
  CHECK(to[1] == 1.5f);
  CHECK(to[2] == 3);
  detail::copy_row(from + 1, 1, 3, 2.0f, to);
  CHECK(to[2] == 6);
}

TEST_CASE_TEMPLATE("turning exchanges rows and columns, and touches nothing else", A, float, double) {
  for (extent const rows : {1, 3, 16, 17, 32, 47}) {
    for (extent const columns : {1, 5, 16, 31, 64}) {
      std::vector<A> from(static_cast<std::size_t>(rows * (columns + 3))),
          to(static_cast<std::size_t>(columns * (rows + 2)), A(-1));
      for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<A>(i);
      detail::turn(from.data(), columns + 3, rows, columns, to.data(), rows + 2);
      int wrong = 0;
      for (extent c = 0; c < columns; ++c) {
        for (extent r = 0; r < rows + 2; ++r) {
          A const wanted = r < rows ? from[static_cast<std::size_t>(r * (columns + 3) + c)] : A(-1);
          wrong += to[static_cast<std::size_t>(c * (rows + 2) + r)] != wanted;
        }
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE_TEMPLATE("a row is finite when all of it is", A, float, double) {
  A row[20] = {};
  row[3] = std::numeric_limits<A>::max();
  row[4] = std::numeric_limits<A>::denorm_min();
  CHECK(detail::finite(row, 20));
  for (A const bad :
       {std::numeric_limits<A>::infinity(), -std::numeric_limits<A>::infinity(), std::numeric_limits<A>::quiet_NaN()}) {
    row[19] = bad;
    CHECK(!detail::finite(row, 20));
    CHECK(detail::finite(row, 19));
  }
}
