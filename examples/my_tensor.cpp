// Tensors of one's own: a type that shows its memory by a member, somebody else's by a trait, and a packed qkv buffer.
// All three go through the same attention and must give the same bits.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/kernel/cpu/flash.hpp>
#include <ringfold/kernel/reference.hpp>

using ringfold::extent;

//! [member]
/// A tensor of ours, [token, head, dim]: one member more, and it is known.
class activations {
 public:
  activations(extent tokens, extent heads, extent dim)
      : memory_(static_cast<std::size_t>(tokens * heads * dim)), tokens_(tokens), heads_(heads), dim_(dim) {}

  auto ringfold_view() { return ringfold::dense(memory_.data(), 1, tokens_, heads_, dim_); }
  //! [member]

  std::vector<float>& memory() { return memory_; }

 private:
  std::vector<float> memory_;
  extent tokens_, heads_, dim_;
};

//! [trait]
/// A tensor that we may not change, with heads outside of tokens: [batch, head, token, dim].
namespace foreign {
struct tensor {
  float* first;
  extent sizes[4];
};
}  // namespace foreign

template <>
struct ringfold::tensor_traits<foreign::tensor> {
  static view<float, 4> as_view(const foreign::tensor& t) {
    return transposed(dense(t.first, t.sizes[0], t.sizes[1], t.sizes[2], t.sizes[3]), row_axis, head_axis);
  }
};
//! [trait]

namespace {

constexpr extent tokens = 200, heads = 4, dim = 24;

/// Causal attention of any tensors.
template <class Q, class K, class V, class Out, class Kernel = ringfold::flash_kernel>
void attend(Q&& q, K&& k, V&& v, Out&& out, Kernel kernel = {}) {
  auto const problem =
      ringfold::make_problem<float>(ringfold::contiguous(tokens, 1), {.heads = heads, .dim = dim}, ringfold::causal());
  ringfold::plan(ringfold::ring(ringfold::self(), kernel), problem).forward(q, k, v, out);
}

/// The largest difference between two tensors, whatever their memory order.
template <class A, class B>
float difference(A&& a, B&& b) {
  float most = 0;
  ringfold::host_stream().elementwise([&](float x, float y) { most = std::max(most, std::fabs(x - y)); },
                                      ringfold::as_view(a), ringfold::as_view(b));
  return most;
}

}  // namespace

int main() {
  activations q(tokens, heads, dim), k = q, v = q, out = q;
  std::mt19937 random(1);
  std::uniform_real_distribution<float> number(-1, 1);
  for (auto* each : {&q, &k, &v}) {
    std::generate(each->memory().begin(), each->memory().end(), [&] { return number(random); });
  }
  attend(q, k, v, out);

  // The same numbers in the foreign order.
  std::vector<float> memory[4];
  foreign::tensor theirs[4];
  for (int i = 0; i < 4; ++i) {
    memory[i].resize(out.memory().size());
    theirs[i] = {memory[i].data(), {1, heads, tokens, dim}};
  }
  activations* const ours[] = {&q, &k, &v};
  auto const copy = [](float& to, float from) { to = from; };
  for (int i = 0; i < 3; ++i) {
    ringfold::host_stream().elementwise(copy, ringfold::as_view(theirs[i]), ringfold::as_view(*ours[i]));
  }
  attend(theirs[0], theirs[1], theirs[2], theirs[3]);

  //! [packed]
  // The same numbers as one projection leaves them, [token, q k v, head, dim]: three views of one buffer.
  std::vector<float> buffer(static_cast<std::size_t>(tokens * 3 * heads * dim));
  auto const part = [&](extent which) {
    auto const packed = ringfold::dense(buffer.data(), tokens, 3, heads, dim);
    return ringfold::transposed(ringfold::slice(packed, 1, which, 1), 0, 1);
  };
  //! [packed]
  for (int i = 0; i < 3; ++i) ringfold::host_stream().elementwise(copy, part(i), ringfold::as_view(*ours[i]));
  activations unpacked(tokens, heads, dim);
  attend(part(0), part(1), part(2), unpacked);

  std::vector<float> expected(out.memory().size());
  auto const exact = ringfold::dense(expected.data(), 1, tokens, heads, dim);
  attend(q, k, v, exact, ringfold::reference_kernel{});

  float const member = difference(out, exact), trait = difference(out, theirs[3]), packed = difference(out, unpacked);
  std::printf("by a member: off by %.1e; by a trait: %s; packed qkv: %s\n", member,
              trait == 0 ? "the same" : "other bits", packed == 0 ? "the same" : "other bits");
  return member < 1e-6F && trait == 0 && packed == 0 ? 0 : 1;  // means of values up to 1: floats hold them to 6e-8
}
