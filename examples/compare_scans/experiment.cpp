#include "experiment.hpp"

#include <cmath>
#include <random>

namespace compare_scans {

tensors draw(const experiment& e, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  auto const uniform = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  auto const numbers = [&](extent rows, extent width) {
    extent const count = ringfold::checked_multiply(rows, width);
    std::vector<float> made;
    made.reserve(static_cast<std::size_t>(count));
    for (extent i = 0; i < count; ++i) made.push_back(static_cast<float>(2 * uniform() - 1));
    return made;
  };
  tensors made;
  made.q = numbers(e.rows(), e.dim), made.k = numbers(e.rows(), e.dim);
  made.v = numbers(e.rows(), e.value_dim), made.out = numbers(e.rows(), e.value_dim);
  if (e.gates == ringfold::gating::per_head) {
    for (extent h = 0; h < e.heads; ++h)
      made.gates.push_back(static_cast<float>(std::log1p(-std::exp2(-5.0 - static_cast<double>(h)))));
  } else if (e.gates != ringfold::gating::none) {
    for (extent i = 0; i < e.rows() * e.gate_width(); ++i) {
      double const slowest = i / e.gate_width() % e.heads % 2 == 0 ? 0.01 : 0.5;
      made.gates.push_back(static_cast<float>(-slowest * uniform()));
    }
  }
  return made;
}

namespace {

using matrix = std::vector<double>;  // [dim, value_dim]

/// One batch and head.
struct head {
  const experiment& e;
  exact_tensors& to;
  extent batch, number;

  extent row(extent token) const { return (batch * e.seq + token) * e.heads + number; }
  double decay(extent token, extent d) const {
    return e.gates == ringfold::gating::none ? 1 : std::exp(static_cast<double>(e.in.gates[e.gate_at(row(token), d)]));
  }
  static const float* at(const std::vector<float>& of, extent row, extent width) { return of.data() + row * width; }
  static double* at(std::vector<double>& of, extent row, extent width) { return of.data() + row * width; }

  void run(double scale) const {
    std::vector<matrix> states;  // after each token
    extent const n = e.value_dim;
    auto const places = static_cast<std::size_t>(e.dim * n);
    auto const first_of_its = [&](extent token) { return e.packed.first(e.packed.at(token)) == token; };
    for (extent t = 0; t < e.seq; ++t) {
      matrix const before = first_of_its(t) ? matrix(places) : states.back();
      matrix s(places);
      for (extent d = 0; d < e.dim; ++d) {
        double const key = static_cast<double>(at(e.in.k, row(t), e.dim)[d]), kept = decay(t, d);
        for (extent i = 0; i < n; ++i) {
          auto const place = static_cast<std::size_t>(d * n + i);
          s[place] = kept * before[place] + key * static_cast<double>(at(e.in.v, row(t), n)[i]);
          at(to.out, row(t), n)[i] += scale * static_cast<double>(at(e.in.q, row(t), e.dim)[d]) * s[place];
        }
      }
      states.push_back(std::move(s));
    }
    if (!e.backward) return;
    matrix after(places);  // the cotangent of a token's state, from the tokens behind it
    for (extent t = e.seq - 1; t >= 0; --t) {
      const float* const dout = at(e.in.out, row(t), n);
      bool const first = first_of_its(t);
      for (extent d = 0; d < e.dim; ++d) {
        double const query = static_cast<double>(at(e.in.q, row(t), e.dim)[d]), kept = decay(t, d);
        double const key = static_cast<double>(at(e.in.k, row(t), e.dim)[d]);
        for (extent i = 0; i < n; ++i) {
          auto const place = static_cast<std::size_t>(d * n + i);
          double const cotangent = after[place] + scale * query * static_cast<double>(dout[i]);
          double const state = states[static_cast<std::size_t>(t)][place];
          at(to.q, row(t), e.dim)[d] += scale * state * static_cast<double>(dout[i]);
          at(to.k, row(t), e.dim)[d] += cotangent * static_cast<double>(at(e.in.v, row(t), n)[i]);
          at(to.v, row(t), n)[i] += cotangent * key;
          if (e.gates != ringfold::gating::none && !first) {
            to.gates[e.gate_at(row(t), d)] += kept * states[static_cast<std::size_t>(t - 1)][place] * cotangent;
          }
          after[place] = first ? 0 : kept * cotangent;
        }
      }
    }
  }
};

}  // namespace

exact_tensors define(const experiment& e) {
  exact_tensors made;
  made.q.resize(e.in.q.size()), made.k.resize(e.in.k.size()), made.v.resize(e.in.v.size());
  made.gates.resize(e.in.gates.size()), made.out.resize(e.in.out.size());
  for (extent b = 0; b < e.batch; ++b) {
    for (extent h = 0; h < e.heads; ++h) head{e, made, b, h}.run(1 / std::sqrt(static_cast<double>(e.dim)));
  }
  return made;
}

}  // namespace compare_scans
