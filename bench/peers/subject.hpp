#pragma once

/// \file
/// What is measured: a forward and a backward pass of one head, made ready once.

namespace peers {

/// Tensors are dense, in an order that is the same for all who do the same.
class subject {
 public:
  virtual ~subject() = default;
  virtual void forward(void* const* tensors) = 0;
  virtual void backward(void* const* tensors) = 0;
};

struct attention_case {
  long tokens, dim;
  bool is_causal;
};
/// Softmax attention: [tokens, dim] each, lse [tokens] in float.
namespace attention {
enum tensor : int { q, k, v, out, lse, dout, dq, dk, dv };
}

struct linear_case {
  long tokens, dim, chunk;
};
/// Linear attention: [tokens, dim] each, gates and their gradients [tokens].
namespace linear {
enum tensor : int { q, k, v, gates, out, dout, dq, dk, dv, dgates };
}

}  // namespace peers
