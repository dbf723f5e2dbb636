#pragma once

#include <memory>

#include <ringfold/core/dtype.hpp>
#include <ringfold/core/view.hpp>
#include <ringfold/kernel/cpu/instruction_set.hpp>

/// \file
/// What all parts of the program know of an attention, whatever it is compiled for.

/// Causal attention of one size: tensors of [1, tokens, heads, dim].
class engine {
 public:
  virtual ~engine() = default;
  virtual void attend(ringfold::view<const float, 4> q, ringfold::view<const float, 4> k,
                      ringfold::view<const float, 4> v, ringfold::view<float, 4> out) = 0;
  virtual void attend(ringfold::view<const ringfold::bf16, 4> q, ringfold::view<const ringfold::bf16, 4> k,
                      ringfold::view<const ringfold::bf16, 4> v, ringfold::view<ringfold::bf16, 4> out) = 0;
};

/// The entry of engine.cpp.
template <ringfold::instruction_set>
std::unique_ptr<engine> make_engine(ringfold::extent tokens, ringfold::extent heads, ringfold::extent dim);
