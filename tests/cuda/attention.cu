// Compiled, not run: every attention and some nestings over device memory, and the core as device code.
#include <ringfold/attention/canonical.hpp>
#include <ringfold/attention/direct.hpp>
#include <ringfold/attention/gather.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/query_ring.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/split_kv.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/collective/reduce_scatter.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/core/group.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/wrap/counted.hpp>

#include "device.cuh"

using namespace ringfold;

namespace {

using alone = basic_self<device::stream>;
static_assert(communicator<alone>);
static_assert(attention<device::naive_kernel, problem<bf16>, device::stream>);

template <class T, class A>
void run(A attend, T* memory, void* scratch, cudaStream_t handle) {
  auto const p = make_problem<T>(contiguous(64, 1), {.heads = 4, .kv_heads = 2, .dim = 32}, causal());
  extent const bytes = workspace_bytes(attend, p);
  plan forward(attend, p, scratch, bytes);
  auto const q = dense<device::space>(memory, 1, 64, 4, 32), out = dense<device::space>(memory + 16384, 1, 64, 4, 32);
  auto const k = dense<device::space>(memory + 8192, 1, 64, 2, 32),
             v = dense<device::space>(memory + 12288, 1, 64, 2, 32);
  forward.forward(q, k, v, out, {}, {}, device::stream{handle});
}

template <class T>
void run_all(T* memory, void* scratch, cudaStream_t handle) {
  counters book;
  counted comm(alone{}, book);
  auto const g = grid(comm, 1, 1);
  device::naive_kernel const kernel;
  run(ring(comm, kernel), memory, scratch, handle);
  run(gather(comm, kernel), memory, scratch, handle);
  run(direct(comm, kernel), memory, scratch, handle);
  run(ulysses(comm, kernel), memory, scratch, handle);
  run(query_ring(comm, kernel), memory, scratch, handle);
  run(split_kv(comm, kernel), memory, scratch, handle);
  run(ulysses(g.row(), ring(g.col(), kernel)), memory, scratch, handle);
  run(ring(g.col(), ring(g.row(), kernel)), memory, scratch, handle);
  run(ring(comm, canonical(kernel, 16)), memory, scratch, handle);
}

}  // namespace

void compile_for_device(float* floats, bf16* halves, void* scratch, cudaStream_t handle) {
  run_all(floats, scratch, handle);
  run_all(halves, scratch, handle);
  auto const sums = dense<device::space>(static_cast<binned_sum<float>*>(scratch), 1, 64, 4, 32);
  auto const terms = dense<device::space>(floats, 1, 64, 4, 32);
  device::stream const on{handle};
  on.elementwise(elementwise::set_zero{}, sums);
  on.elementwise(elementwise::add_to{}, sums, terms);
  on.elementwise(elementwise::add_to{}, sums, sums);
  on.elementwise(elementwise::round_to{}, terms, sums);
}

/// Host code beside it may use the CPU kernels.
void compile_for_host(view<float, 4> q, view<float, 4> k, view<float, 4> out) {
  auto const p = make_problem<float>(contiguous(64, 1), {.heads = 4, .kv_heads = 2, .dim = 32}, causal());
  plan run(ring(self{}, flash_kernel{}), p);
  run.forward(q, k, k, out);
}
