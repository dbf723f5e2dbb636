#include "exact.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "definition.hpp"

namespace compare_schedules {

namespace {

/// Seconds' worth of floating-point operations.
constexpr double affordable = 3e10;

double visible_pairs(const experiment& e) {
  double pairs = 0;
  for (extent i = 0; i < e.tokens.tokens(); ++i) {
    pairs += static_cast<double>(keys_of(e, i).end - keys_of(e, i).first);
  }
  return pairs * static_cast<double>(e.shape.batch * e.shape.heads);
}

unsigned cores() { return std::max(1u, std::thread::hardware_concurrency()); }

/// Calls work(core, row) for every row, on all cores.
template <class Work>
void on_all_cores(extent rows, Work work) {
  std::atomic<extent> next = 0;
  auto const some = [&](unsigned core) {
    for (extent r; (r = next++) < rows;) work(core, r);
  };
  std::vector<std::thread> others;
  for (unsigned core = 1; core < cores(); ++core) others.emplace_back(some, core);
  some(0);
  for (std::thread& each : others) each.join();
}

/// One core's sums of one key head's gradients: of keys [dim][token], of values [token][dim].
template <class Number>
struct sums {
  std::vector<Number> k, v, sinks, o, gains;
  std::vector<double> k_terms, v_terms, sink_terms, o_terms, sizes;
  row<Number> weighed;

  explicit sums(const experiment& e)
      : k(static_cast<std::size_t>(e.keys.tokens() * e.shape.dim)),
        v(static_cast<std::size_t>(e.keys.tokens() * e.shape.value_dim)),
        sinks(static_cast<std::size_t>(e.shape.heads)),
        o(static_cast<std::size_t>(e.shape.value_dim)),
        gains(static_cast<std::size_t>(e.keys.tokens())),
        k_terms(k.size()),
        v_terms(v.size()),
        sink_terms(sinks.size()),
        o_terms(o.size()),
        sizes(gains.size()),
        weighed(e.keys.tokens()) {}

  /// Adds one query's part, and writes the gradient of the query.
  template <class T>
  void add(const experiment& e, const panel& p, const T* q, const T* dout, extent batch, extent head, extent query,
           double* dq, double* dq_terms) {
    seen const keys = weighed.attend(e, p, q, batch, head, query);
    weighed.weigh(e, p, keys, o.data(), o_terms.data());
    extent const n = e.keys.tokens(), value_dim = e.shape.value_dim;
    Number const scale = 1 / std::sqrt(static_cast<Number>(e.shape.dim));
    Number delta = 0;
    double delta_size = 0;
    for (extent d = 0; d < value_dim; ++d) {
      delta += o[static_cast<std::size_t>(d)] * static_cast<Number>(dout[d]);
      delta_size += o_terms[static_cast<std::size_t>(d)] * std::fabs(static_cast<double>(dout[d]));
    }
    sinks[static_cast<std::size_t>(head)] -= weighed.sink * delta;
    sink_terms[static_cast<std::size_t>(head)] += static_cast<double>(weighed.sink) * delta_size;
    for (extent j = keys.first; j < keys.end; ++j) {
      auto const at = static_cast<std::size_t>(j);
      const double* const value = p.v.data() + j * value_dim;
      Number* const dv = v.data() + j * value_dim;
      double* const dv_terms = v_terms.data() + j * value_dim;
      Number const kept = weighed.weights[at] * weighed.keeps[at];
      Number gain = 0;
      double gain_size = 0;
      for (extent d = 0; d < value_dim; ++d) {
        Number const of_out = static_cast<Number>(dout[d]);
        gain += of_out * value[d];
        dv[d] += kept * of_out;
        double const size = std::fabs(static_cast<double>(dout[d]));
        gain_size += size * std::fabs(value[d]);
        dv_terms[d] += static_cast<double>(kept) * size;
      }
      // A slope made from a tanh carries a roundoff of 1, however small it is.
      double const slope = static_cast<double>(weighed.slopes[at]) + (e.softcap > 0 ? 0.1 : 0);
      sizes[at] = static_cast<double>(weighed.weights[at] * scale) * slope *
                  (static_cast<double>(weighed.keeps[at]) * gain_size + delta_size);
      gains[at] = weighed.weights[at] * (weighed.keeps[at] * gain - delta) * weighed.slopes[at] * scale;
    }
    for (extent d = 0; d < e.shape.dim; ++d) {
      const double* const key = p.k.data() + d * n;
      Number* const dk = k.data() + d * n;
      Number const factor = static_cast<Number>(q[d]);
      double* const dk_terms = k_terms.data() + d * n;
      double const factor_size = std::fabs(static_cast<double>(q[d]));
      Number sum = 0;
      double terms = 0;
      for (extent j = keys.first; j < keys.end; ++j) {
        sum += gains[static_cast<std::size_t>(j)] * key[j];
        dk[j] += gains[static_cast<std::size_t>(j)] * factor;
        terms += sizes[static_cast<std::size_t>(j)] * std::fabs(key[j]);
        dk_terms[j] += sizes[static_cast<std::size_t>(j)] * factor_size;
      }
      dq[d] = static_cast<double>(sum), dq_terms[d] = terms;
    }
  }
};

/// Calls copy(to, from) for every token of one batch and some heads.
template <class Copy>
void for_each_number(const tensor& of, extent batch, extent first_head, extent heads, Copy copy) {
  with_element(of.type, [&]<class T>(T) {
    auto const from = of.as<T>();
    for (extent i = 0; i < of.extents[1]; ++i) {
      for (extent h = first_head; h < first_head + heads; ++h) {
        for (extent d = 0; d < of.extents[3]; ++d) copy(static_cast<double>(from(batch, i, h, d)));
      }
    }
  });
}

}  // namespace

std::vector<extent> tokens_to_check(const experiment& e) {
  // A multiply and an add count 2, an exponential about 20.
  double const all = visible_pairs(e) * static_cast<double>(2 * (e.shape.dim + e.shape.value_dim) + 20);
  extent const n = e.tokens.tokens();
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
  made.terms.resize(made.o.size());
  with_element(e.type, [&]<class T>(T) {
    using number = number_for<T>;
    std::vector<row<number>> weighed(cores(), row<number>(e.keys.tokens()));
    std::vector<std::vector<number>> o(cores(), std::vector<number>(static_cast<std::size_t>(e.shape.value_dim)));
    auto const q = e.q.as<T>();
    for (extent b = 0; b < e.shape.batch; ++b) {
      for (extent kv = 0; kv < e.shape.kv_heads; ++kv) {
        panel const p = panel_of<T>(e, b, kv);
        on_all_cores(rows, [&](unsigned core, extent r) {
          extent const query = made.positions[static_cast<std::size_t>(r)];
          for (extent h = kv * group; h < (kv + 1) * group; ++h) {
            extent const at = ((r * e.shape.batch + b) * heads + h) * e.shape.value_dim;
            seen const keys = weighed[core].attend(e, p, &q(b, query, h, 0), b, h, query);
            weighed[core].weigh(e, p, keys, o[core].data(), made.terms.data() + at);
            double* const to = made.o.data() + at;
            std::transform(o[core].begin(), o[core].end(), to, [](number each) { return static_cast<double>(each); });
          }
          if (core == 0)
            show.tell("fp64 reference, rows", (b * e.shape.kv_heads + kv) * rows + r,
                      e.shape.batch * e.shape.kv_heads * rows);
        });
      }
    }
    for (auto const& each : weighed) made.largest_score = std::max(made.largest_score, each.largest_score);
  });
  return made;
}

exact_gradients exact_slopes(const experiment& e, progress& show) {
  // Six products, of which three with keys and three with values, and as many for the sizes of terms.
  double const all = visible_pairs(e) * static_cast<double>(12 * (e.shape.dim + e.shape.value_dim) + 40);
  extent const heads =
      std::clamp<extent>(static_cast<extent>(affordable / std::max(all, 1.0) * static_cast<double>(e.shape.kv_heads)),
                         1, e.shape.kv_heads);
  extent const group = e.shape.heads / e.shape.kv_heads, n = e.tokens.tokens();
  exact_gradients made;
  made.key_heads = heads;
  std::vector<double> sinks(static_cast<std::size_t>(e.shape.heads), 0.0), terms = sinks;
  with_element(e.type, [&]<class T>(T) {
    using number = number_for<T>;
    auto const q = e.q.as<T>(), dout = e.dout.as<T>();
    for (extent kv = 0; kv < heads; ++kv) {
      for (extent b = 0; b < e.shape.batch; ++b) {
        panel const p = panel_of<T>(e, b, kv);
        std::vector<sums<number>> part(cores(), sums<number>(e));
        std::size_t const first = made.q.size();
        made.q.resize(first + static_cast<std::size_t>(n * group * e.shape.dim)), made.q_terms.resize(made.q.size());
        on_all_cores(n, [&](unsigned core, extent query) {
          for (extent h = 0; h < group; ++h) {
            part[core].add(e, p, &q(b, query, kv * group + h, 0), &dout(b, query, kv * group + h, 0), b, kv * group + h,
                           query, made.q.data() + first + (query * group + h) * e.shape.dim,
                           made.q_terms.data() + first + (query * group + h) * e.shape.dim);
          }
          if (core == 0)
            show.tell("fp64 gradients, rows", (kv * e.shape.batch + b) * n + query, heads * e.shape.batch * n);
        });
        auto const sum_of = [&](auto member, std::size_t at) {
          auto sum = (part.front().*member)[at];
          for (std::size_t core = 1; core < part.size(); ++core) sum += (part[core].*member)[at];
          return static_cast<double>(sum);
        };
        for (extent j = 0; j < e.keys.tokens(); ++j) {
          for (extent d = 0; d < e.shape.dim; ++d) {
            made.k.push_back(sum_of(&sums<number>::k, static_cast<std::size_t>(d * e.keys.tokens() + j)));
            made.k_terms.push_back(sum_of(&sums<number>::k_terms, static_cast<std::size_t>(d * e.keys.tokens() + j)));
          }
          for (extent d = 0; d < e.shape.value_dim; ++d) {
            made.v.push_back(sum_of(&sums<number>::v, static_cast<std::size_t>(j * e.shape.value_dim + d)));
            made.v_terms.push_back(sum_of(&sums<number>::v_terms, static_cast<std::size_t>(j * e.shape.value_dim + d)));
          }
        }
        for (std::size_t h = 0; h < sinks.size(); ++h) {
          sinks[h] += sum_of(&sums<number>::sinks, h), terms[h] += sum_of(&sums<number>::sink_terms, h);
        }
      }
    }
  });
  if (e.sinks.empty()) return made;
  made.sinks.assign(sinks.begin(), sinks.begin() + heads * group);
  made.sink_terms.assign(terms.begin(), terms.begin() + heads * group);
  return made;
}

exact_gradients slopes_of(const experiment& e, const gradients& all, extent key_heads) {
  exact_gradients made;
  made.key_heads = key_heads;
  extent const group = e.shape.heads / e.shape.kv_heads;
  for (extent kv = 0; kv < key_heads; ++kv) {
    for (extent b = 0; b < e.shape.batch; ++b) {
      for_each_number(all.q, b, kv * group, group, [&](double each) { made.q.push_back(each); });
      for_each_number(all.k, b, kv, 1, [&](double each) { made.k.push_back(each); });
      for_each_number(all.v, b, kv, 1, [&](double each) { made.v.push_back(each); });
    }
  }
  if (!e.sinks.empty()) made.sinks.assign(all.sinks.begin(), all.sinks.begin() + key_heads * group);
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

double of_roundoffs(const experiment& e, const std::vector<double>& got, const std::vector<double>& wanted,
                    const std::vector<double>& terms, double largest_score, int roundings) {
  // A score carries its size in roundoffs into its weight some times over.
  double const rounded = e.type == e.sum_type() ? 0 : roundings * roundoff(e.type);
  double const unit = (24 + 6 * largest_score) * roundoff(e.sum_type()) + rounded;
  return most_of(got, wanted, [&](std::size_t i) { return unit * terms[i] + std::fabs(wanted[i]) * 0x1p-52; });
}

double roundoff(dtype type) {
  if (type == dtype_of<double>) return 0x1p-53;
  if (type == dtype_of<float>) return 0x1p-24;
  return type == dtype_of<ringfold::f16> ? 0x1p-11 : 0x1p-8;
}

}  // namespace compare_schedules
