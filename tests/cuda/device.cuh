#pragma once

#include <cuda_runtime.h>

#include <ringfold/core/communicator.hpp>
#include <ringfold/kernel/attention.hpp>

/// \file
/// A device in its plainest form: a space, a stream, and a kernel with one thread for each query row. It shows that
/// combinators are fit for a device; it is not meant to be fast.

namespace device {

using ringfold::extent;

struct space {};

inline void check(cudaError_t code, const char* what) {
  if (code != cudaSuccess) throw ringfold::device_error(ringfold::say("%s: %s", what, cudaGetErrorString(code)));
}

constexpr int threads_per_block = 128;
inline unsigned blocks(extent items) {
  return static_cast<unsigned>((items + threads_per_block - 1) / threads_per_block);
}
__device__ inline extent thread_index() { return extent{blockIdx.x} * blockDim.x + threadIdx.x; }

struct strided {
  char* data;
  extent strides[4];
};

__global__ void copy_elements(strided to, strided from, extent e1, extent e2, extent e3, extent count, int bytes) {
  extent const i = thread_index();
  if (i >= count) return;
  extent const at[4] = {i / e3 / e2 / e1, i / e3 / e2 % e1, i / e3 % e2, i % e3};
  for (int axis = 0; axis < 4; ++axis)
    to.data += at[axis] * to.strides[axis], from.data += at[axis] * from.strides[axis];
  for (int byte = 0; byte < bytes; ++byte) to.data[byte] = from.data[byte];
}

template <class F, class First, class... Rest>
__global__ void apply(F f, extent count, First first, Rest... rest) {
  extent i = thread_index();
  if (i >= count) return;
  auto const move = [](auto& view, int axis, extent index) { view.data += index * view.strides[axis]; };
  for (int axis = First::rank - 1; axis >= 0; --axis) {
    extent const index = i % first.extents[axis];
    i /= first.extents[axis];
    move(first, axis, index);
    (move(rest, axis, index), ...);
  }
  f(*first.data, *rest.data...);
}

/// Work in order on a CUDA stream.
struct stream {
  using space = device::space;
  cudaStream_t handle = nullptr;

  void copy(const ringfold::piece& to, const ringfold::piece& from) const {
    extent const count = from.elements();
    if (count == 0) return;
    strided a{static_cast<char*>(to.data), {}}, b{static_cast<char*>(from.data), {}};
    for (int axis = 0; axis < 4; ++axis) a.strides[axis] = to.strides[axis], b.strides[axis] = from.strides[axis];
    copy_elements<<<blocks(count), threads_per_block, 0, handle>>>(
        a, b, from.extents[1], from.extents[2], from.extents[3], count, static_cast<int>(from.type.bytes()));
    check(cudaGetLastError(), "copy");
  }

  template <class F, class First, class... Rest>
  void elementwise(F f, First first, Rest... rest) const {
    extent const count = first.size();
    if (count == 0) return;
    apply<<<blocks(count), threads_per_block, 0, handle>>>(f, count, first, rest...);
    check(cudaGetLastError(), "elementwise");
  }
};

template <class T, int Rank>
using view = ringfold::view<T, Rank, space>;

/// A running softmax in device memory, in units of log2.
template <class Sum>
struct running {
  view<Sum, 4> q, o;
  view<Sum, 3> maximum, sum;
};

template <class Sum, class T>
__global__ void start(running<Sum> s, view<const T, 4> q, extent rows) {
  extent const i = thread_index(), heads = q.extents[2], dim = q.extents[3];
  if (i >= rows) return;
  extent const b = i / heads / q.extents[1], row = i / heads % q.extents[1], head = i % heads;
  for (extent d = 0; d < dim; ++d) s.q(b, row, head, d) = static_cast<Sum>(q(b, row, head, d));
  for (extent d = 0; d < s.o.extents[3]; ++d) s.o(b, row, head, d) = 0;
  s.maximum(b, row, head) = -INFINITY;
  s.sum(b, row, head) = 0;
}

/// Folds the keys of one segment into the queries of another.
template <class Sum, class T, class Mask>
__global__ void fold(running<Sum> s, view<const T, 4> k, view<const T, 4> v, ringfold::segment queries,
                     extent first_row, ringfold::segment keys, extent first_key_row, ringfold::heads head,
                     extent first_key, Mask mask, Sum scale) {
  extent const i = thread_index(), rows = s.q.extents[0] * queries.count * head.query;
  if (i >= rows) return;
  extent const b = i / head.query / queries.count, step = i / head.query % queries.count, h = i % head.query;
  extent const kv = (head.first_query + h) / head.group - first_key, row = first_row + step;
  if (kv < 0 || kv >= k.extents[2]) return;
  Sum largest = s.maximum(b, row, h), sum = s.sum(b, row, h);
  for (extent j = 0; j < keys.count; ++j) {
    if (!mask.allows(queries.first + step * queries.step, keys.first + j * keys.step)) continue;
    Sum score = 0;
    for (extent d = 0; d < k.extents[3]; ++d) {
      score += s.q(b, row, h, d) * static_cast<Sum>(k(b, first_key_row + j, kv, d));
    }
    score *= scale;
    Sum const top = score > largest ? score : largest, keep = exp2(largest - top), weight = exp2(score - top);
    sum = sum * keep + weight;
    for (extent d = 0; d < v.extents[3]; ++d) {
      s.o(b, row, h, d) = s.o(b, row, h, d) * keep + weight * static_cast<Sum>(v(b, first_key_row + j, kv, d));
    }
    largest = top;
  }
  s.maximum(b, row, h) = largest;
  s.sum(b, row, h) = sum;
}

template <class Sum>
__global__ void finish(running<Sum> s, view<Sum, 4> o, view<Sum, 3> lse, extent rows) {
  extent const i = thread_index(), heads = o.extents[2];
  if (i >= rows) return;
  extent const b = i / heads / o.extents[1], row = i / heads % o.extents[1], head = i % heads;
  Sum const sum = s.sum(b, row, head);
  lse(b, row, head) = sum > 0 ? Sum(0.69314718055994530942) * (s.maximum(b, row, head) + log2(sum)) : Sum(-INFINITY);
  for (extent d = 0; d < o.extents[3]; ++d) o(b, row, head, d) = sum > 0 ? s.o(b, row, head, d) / sum : Sum(0);
}

/// Attention on one device by its definition, one thread for each query row and head.
struct naive_kernel : ringfold::local_attention {
  using stream = device::stream;

  template <class P>
  struct open {
    P p;
    running<typename P::accumulate> run;
  };

  template <class P>
  open<P> state(const P& p, ringfold::arena<space>& memory) const {
    using sum = typename P::accumulate;
    extent const rows = p.queries.rows(p.owner);
    return {p,
            {memory.template take_view<sum>(p.batch, rows, p.head.query, p.dim),
             memory.template take_view<sum>(p.batch, rows, p.head.query, p.value_dim),
             memory.template take_view<sum>(p.batch, rows, p.head.query),
             memory.template take_view<sum>(p.batch, rows, p.head.query)}};
  }

  template <class P>
  void prepare(open<P>& s, view<const typename P::element, 4> q, stream on) const {
    extent const rows = q.extents[0] * q.extents[1] * q.extents[2];
    if (rows == 0) return;
    start<<<blocks(rows), threads_per_block, 0, on.handle>>>(s.run, q, rows);
    check(cudaGetLastError(), "prepare");
  }

  template <class P>
  void accumulate(open<P>& s, ringfold::block<typename P::element, space> kv, stream on) const {
    using sum = typename P::accumulate;
    if (!kv.present()) return;
    auto const scale = static_cast<sum>(s.p.score.scale * 1.44269504088896340736);
    extent row = 0;
    for (auto const& queries : s.p.queries.segments(s.p.owner)) {
      extent key_row = 0;
      for (auto const& keys : s.p.keys.segments(kv.owner)) {
        extent const rows = s.p.batch * queries.count * s.p.head.query;
        if (rows > 0 && s.p.mask_of.meets(queries, keys)) {
          fold<<<blocks(rows), threads_per_block, 0, on.handle>>>(s.run, kv.k, kv.v, queries, row, keys, key_row,
                                                                  s.p.head, kv.first_key, s.p.mask_of, scale);
          check(cudaGetLastError(), "accumulate");
        }
        key_row += keys.count;
      }
      row += queries.count;
    }
  }

  template <class P>
  void close(open<P>& s, ringfold::partial<typename P::accumulate, space> out, stream on) const {
    extent const rows = out.lse.size();
    if (rows == 0) return;
    finish<<<blocks(rows), threads_per_block, 0, on.handle>>>(s.run, out.o, out.lse, rows);
    check(cudaGetLastError(), "close");
  }
};

}  // namespace device
