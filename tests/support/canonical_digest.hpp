#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <vector>

#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/canonical.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/comm/threads.hpp>
#include <ringfold/core/group.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/alibi.hpp>
#include <ringfold/sequence/dropout.hpp>

/// \file
/// All bits of one small training step, as one number. No C library has a say in its inputs.

namespace canonical_digest {

using namespace ringfold;

/// What the step must give with any compiler, at any optimisation level, on any number of ranks.
inline constexpr std::uint64_t wanted[] = {0x747b8253c8d2adab, 0x22127b9ce5a94232};

/// FNV-1a.
struct hash {
  std::uint64_t state = 0xcbf29ce484222325u;
  template <class T>
  void add(const std::vector<T>& numbers) {
    for (T const& number : numbers) {
      unsigned char bytes[sizeof(T)];
      std::memcpy(bytes, &number, sizeof bytes);
      for (unsigned char const each : bytes) state = (state ^ each) * 0x100000001b3u;
    }
  }
};

/// Numbers of 20 bits in [-2, 2), by position in the whole tensor.
template <class T>
T number(std::uint64_t tensor, extent index) {
  philox const drawn(static_cast<std::uint32_t>(index), 0, 0, 0, tensor);
  return static_cast<T>(static_cast<std::int32_t>(drawn.words[0] >> 12) - (1 << 19)) * static_cast<T>(0x1p-18);
}

/// Forward and backward of 45 tokens in chunks of 4, 4 heads that share 2, by a grid of ranks: all gradients and results.
template <class T, class Score>
std::uint64_t of_step(int rows, int columns, Score score) {
  constexpr extent tokens = 45, chunk = 4, heads = 4, kv_heads = 2, dim = 6, value_dim = 3;
  constexpr extent widths[] = {heads * dim, kv_heads * dim, kv_heads * value_dim, heads * value_dim, heads};
  auto const where = zigzag(tokens, rows * columns, chunk);
  auto const p = make_problem<T>(where, {.heads = heads, .kv_heads = kv_heads, .dim = dim, .value_dim = value_dim},
                                 window(30, 2), score);
  std::vector<T> all[5];  // out, lse, dq, dk, dv
  constexpr extent results[] = {widths[3], widths[4], widths[0], widths[1], widths[2]};
  for (int i = 0; i < 5; ++i) all[i].resize(static_cast<std::size_t>(tokens * results[i]));
  std::mutex guard;
  run_ranks(rows * columns, [&](threads comm) {
    int const me = comm.rank();
    extent const n = where.rows(me);
    std::vector<T> in[5], out[5];  // q, k, v, dout, dlse
    for (int i = 0; i < 5; ++i) {
      where.for_each_position(me, [&](extent, extent position) {
        for (extent j = 0; j < widths[i]; ++j) {
          in[i].push_back(number<T>(static_cast<std::uint64_t>(i), position * widths[i] + j));
        }
      });
      out[i].resize(static_cast<std::size_t>(n * results[i]));
    }
    auto const view_of = [&](std::vector<T>& numbers, extent of_heads, extent width) {
      return dense(numbers.data(), 1, n, of_heads, width / of_heads);
    };
    auto const q = view_of(in[0], heads, widths[0]), k = view_of(in[1], kv_heads, widths[1]),
               v = view_of(in[2], kv_heads, widths[2]), dout = view_of(in[3], heads, widths[3]),
               o = view_of(out[0], heads, widths[3]), dq = view_of(out[2], heads, widths[0]),
               dk = view_of(out[3], kv_heads, widths[1]), dv = view_of(out[4], kv_heads, widths[2]);
    auto const dlse = dense(in[4].data(), 1, n, heads), lse = dense(out[1].data(), 1, n, heads);
    auto const g = grid(comm, rows, columns);
    auto const attend = ulysses(g.row(), ring(g.col(), canonical(reference_kernel{}, chunk)));
    plan(attend, p).forward(q, k, v, o, lse);
    backward_plan(attend, p).backward(q, k, v, o, lse, dout, dq, dk, dv, dlse);
    std::lock_guard const lock(guard);
    for (int i = 0; i < 5; ++i) {
      where.for_each_position(me, [&](extent row, extent position) {
        for (extent j = 0; j < results[i]; ++j) {
          all[i][static_cast<std::size_t>(position * results[i] + j)] =
              out[i][static_cast<std::size_t>(row * results[i] + j)];
        }
      });
    }
  });
  hash bits;
  for (auto const& each : all) bits.add(each);
  return bits.state;
}

/// The two steps: float with plain scores; double with a cap, linear biases and dropout.
inline std::uint64_t of(int which, int rows, int columns) {
  if (which == 0) return of_step<float>(rows, columns, scaled{});
  return of_step<double>(rows, columns, softcap(3) | alibi(4) | dropout(0.25, 7));
}

}  // namespace canonical_digest
