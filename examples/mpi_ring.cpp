// Causal ring attention on MPI ranks over a zigzag layout: mpirun -n 4 mpi_ring
// Every rank makes its own rows, and holds what it gets against the definition in double precision.

#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/mpi_environment.hpp>
#include <ringfold/kernel/cpu/flash.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

using namespace ringfold;

namespace {

constexpr extent tokens = 512, heads = 4, dim = 32;

/// Element d of a token's row, between -1 and 1; the same on every rank. `which` is 0 for q, 1 for k, 2 for v.
float number(int which, extent token, extent head, extent d) {
  auto x = static_cast<std::uint64_t>(((which * tokens + token) * heads + head) * dim + d) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u;
  return static_cast<float>(x >> 40) * 0x1p-23F - 1;
}

/// Attention of one query to all keys up to it, as the formula says.
std::vector<double> definition(extent query, extent head) {
  std::vector<double> weights, out(dim);
  for (extent key = 0; key <= query; ++key) {
    double score = 0;
    for (extent d = 0; d < dim; ++d) score += double{number(0, query, head, d)} * double{number(1, key, head, d)};
    weights.push_back(std::exp(score / std::sqrt(double{dim})));
  }
  double sum = 0;
  for (double const weight : weights) sum += weight;
  for (extent key = 0; key <= query; ++key) {
    for (extent d = 0; d < dim; ++d)
      out[static_cast<std::size_t>(d)] +=
          weights[static_cast<std::size_t>(key)] / sum * double{number(2, key, head, d)};
  }
  return out;
}

int attend(mpi& comm) {
  layout const rows = zigzag(tokens, comm.size());
  extent const mine = rows.rows(comm.rank());
  std::vector<float> memory[4];
  view<float, 4> all[4];  // q, k, v, out
  for (int which = 0; which < 4; ++which) {
    memory[which].resize(static_cast<std::size_t>(mine * heads * dim));
    all[which] = dense(memory[which].data(), 1, mine, heads, dim);
    rows.for_each_position(comm.rank(), [&](extent row, extent token) {
      for (extent head = 0; head < heads; ++head) {
        for (extent d = 0; d < dim; ++d) all[which](0, row, head, d) = number(which, token, head, d);
      }
    });
  }

  plan forward(ring(comm, flash_kernel{}), make_problem<float>(rows, {.heads = heads, .dim = dim}, causal()));
  forward.forward(all[0], all[1], all[2], all[3]);

  double worst = 0;
  rows.for_each_position(comm.rank(), [&](extent row, extent token) {
    for (extent head = 0; head < heads; ++head) {
      std::vector<double> const exact = definition(token, head);
      for (extent d = 0; d < dim; ++d) {
        worst = std::max(worst, std::fabs(double{all[3](0, row, head, d)} - exact[static_cast<std::size_t>(d)]));
      }
    }
  });
  std::printf("rank %d of %d: %lld rows, the largest error is %.1e\n", comm.rank(), comm.size(),
              static_cast<long long>(mine), worst);
  return worst < 1e-6 ? 0 : 1;  // outputs are means of values up to 1, which floats hold to 6e-8
}

}  // namespace

int main(int argc, char** argv) { return with_mpi(argc, argv, attend); }
