#include "exact.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>
#include <type_traits>

namespace compare_schedules {

namespace {

/// The keys that a query sees: first .. end - 1.
struct seen {
  extent first, end;
};
seen keys_of(const experiment& e, extent query) {
  extent const n = e.tokens.tokens();
  return {std::max<extent>(0, query - e.mask.left()), std::min(n, query + e.mask.right() + 1)};
}

/// One key head's keys [dim][token] and values [token][dim].
struct panel {
  std::vector<double> k, v;
};

template <class T>
panel panel_of(const experiment& e, extent batch, extent head) {
  extent const n = e.tokens.tokens(), dim = e.shape.dim, value_dim = e.shape.value_dim;
  auto const k = e.k.as<T>(), v = e.v.as<T>();
  panel made{std::vector<double>(static_cast<std::size_t>(n * dim)),
             std::vector<double>(static_cast<std::size_t>(n * value_dim))};
  for (extent j = 0; j < n; ++j) {
    for (extent d = 0; d < dim; ++d)
      made.k[static_cast<std::size_t>(d * n + j)] = static_cast<double>(k(batch, j, head, d));
    for (extent d = 0; d < value_dim; ++d) {
      made.v[static_cast<std::size_t>(j * value_dim + d)] = static_cast<double>(v(batch, j, head, d));
    }
  }
  return made;
}

/// What the definition is computed in: double, and more where double itself is held against it.
template <class T>
using number_for = std::conditional_t<std::is_same_v<T, double>, long double, double>;

/// One row of the definition; scores has room for every key, and for a row of values behind them.
template <class T, class Number>
void attend(const experiment& e, const panel& p, const T* q, extent query, Number* scores, double* o) {
  extent const n = e.tokens.tokens(), value_dim = e.shape.value_dim;
  auto const [first, end] = keys_of(e, query);
  Number const scale = 1 / std::sqrt(static_cast<Number>(e.shape.dim));
  std::fill(scores + first, scores + end, Number(0));
  for (extent d = 0; d < e.shape.dim; ++d) {
    Number const factor = static_cast<Number>(q[d]);
    const double* const k = p.k.data() + d * n;
    for (extent j = first; j < end; ++j) scores[j] += factor * k[j];
  }
  Number const largest = *std::max_element(scores + first, scores + end) * scale;
  Number* const row = scores + n;
  std::fill(row, row + value_dim, Number(0));
  Number sum = 0;
  for (extent j = first; j < end; ++j) {
    Number const weight = std::exp(scores[j] * scale - largest);
    const double* const v = p.v.data() + j * value_dim;
    sum += weight;
    for (extent d = 0; d < value_dim; ++d) row[d] += weight * v[d];
  }
  for (extent d = 0; d < value_dim; ++d) o[d] = static_cast<double>(row[d] / sum);
}

}  // namespace

std::vector<extent> tokens_to_check(const experiment& e) {
  // A multiply and an add count 2, an exponential about 20.
  double const per_pair = static_cast<double>(2 * (e.shape.dim + e.shape.value_dim) + 20) *
                          static_cast<double>(e.shape.batch * e.shape.heads);
  constexpr double affordable = 3e10;
  extent const n = e.tokens.tokens();
  double all = 0;
  for (extent i = 0; i < n; ++i) all += static_cast<double>(keys_of(e, i).end - keys_of(e, i).first) * per_pair;
  extent const count =
      all <= affordable ? n : std::clamp<extent>(static_cast<extent>(affordable / all * static_cast<double>(n)), 16, n);
  std::vector<extent> chosen;
  for (extent i = 0; i < count; ++i) chosen.push_back(count == 1 ? 0 : i * (n - 1) / (count - 1));
  return chosen;
}

exact_rows exact(const experiment& e, std::vector<extent> positions, progress& show) {
  extent const rows = static_cast<extent>(positions.size()), heads = e.shape.heads, group = heads / e.shape.kv_heads;
  exact_rows made{std::move(positions), {}};
  made.o.resize(static_cast<std::size_t>(rows * e.shape.batch * heads * e.shape.value_dim));
  auto const cores = std::max(1u, std::thread::hardware_concurrency());
  with_element(e.type, [&]<class T>(T) {
    using number = number_for<T>;
    auto const room = static_cast<std::size_t>(e.tokens.tokens() + e.shape.value_dim);
    std::vector<std::vector<number>> scores(cores, std::vector<number>(room));
    auto const q = e.q.as<T>();
    for (extent b = 0; b < e.shape.batch; ++b) {
      for (extent kv = 0; kv < e.shape.kv_heads; ++kv) {
        panel const p = panel_of<T>(e, b, kv);
        std::atomic<extent> next = 0;
        auto const work = [&](unsigned core) {
          for (extent r; (r = next++) < rows;) {
            extent const query = made.positions[static_cast<std::size_t>(r)];
            for (extent h = kv * group; h < (kv + 1) * group; ++h) {
              extent const at = ((r * e.shape.batch + b) * heads + h) * e.shape.value_dim;
              attend(e, p, &q(b, query, h, 0), query, scores[core].data(), made.o.data() + at);
            }
            if (core == 0)
              show.tell("fp64 reference, rows", (b * e.shape.kv_heads + kv) * rows + r,
                        e.shape.batch * e.shape.kv_heads * rows);
          }
        };
        std::vector<std::thread> others;
        for (unsigned core = 1; core < cores; ++core) others.emplace_back(work, core);
        work(0);
        for (std::thread& each : others) each.join();
      }
    }
  });
  return made;
}

exact_rows rows_of(const tensor& o, const std::vector<extent>& positions) {
  exact_rows made{positions, {}};
  with_element(o.type, [&]<class T>(T) {
    auto const from = o.as<T>();
    for (extent const position : positions) {
      for (extent b = 0; b < o.extents[0]; ++b) {
        for (extent h = 0; h < o.extents[2]; ++h) {
          for (extent d = 0; d < o.extents[3]; ++d) made.o.push_back(static_cast<double>(from(b, position, h, d)));
        }
      }
    }
  });
  return made;
}

errors difference(const exact_rows& got, const exact_rows& wanted) {
  errors made;
  double squares = 0;
  for (std::size_t i = 0; i < wanted.o.size(); ++i) {
    double apart = std::fabs(got.o[i] - wanted.o[i]);
    if (!std::isfinite(apart)) apart = std::numeric_limits<double>::infinity();
    made.max_abs = std::max(made.max_abs, apart);
    squares += apart * apart;
  }
  made.rms = std::sqrt(squares / static_cast<double>(std::max<std::size_t>(1, wanted.o.size())));
  return made;
}

errors size_of(const exact_rows& rows) {
  return difference(rows, {rows.positions, std::vector<double>(rows.o.size(), 0.0)});
}

double roundoff(dtype type) {
  if (type == dtype_of<double>) return 0x1p-53;
  if (type == dtype_of<float>) return 0x1p-24;
  return type == dtype_of<ringfold::f16> ? 0x1p-11 : 0x1p-8;
}

}  // namespace compare_schedules
