// Compiled once for each instruction set.
#include "engine.hpp"

#include <ringfold/attention/plan.hpp>
#include <ringfold/kernel/cpu/flash.hpp>

using namespace ringfold;

namespace {

template <class T>
auto causal_problem(extent tokens, extent heads, extent dim) {
  return make_problem<T>(contiguous(tokens, 1), {.heads = heads, .dim = dim}, causal());
}

class flash_engine : public engine {
 public:
  flash_engine(extent tokens, extent heads, extent dim)
      : floats_(flash_kernel{}, causal_problem<float>(tokens, heads, dim)),
        bf16s_(flash_kernel{}, causal_problem<bf16>(tokens, heads, dim)) {}

  void attend(view<const float, 4> q, view<const float, 4> k, view<const float, 4> v, view<float, 4> out) override {
    floats_.forward(q, k, v, out);
  }
  void attend(view<const bf16, 4> q, view<const bf16, 4> k, view<const bf16, 4> v, view<bf16, 4> out) override {
    bf16s_.forward(q, k, v, out);
  }

 private:
  plan<flash_kernel, decltype(causal_problem<float>(0, 0, 0))> floats_;
  plan<flash_kernel, decltype(causal_problem<bf16>(0, 0, 0))> bf16s_;
};

}  // namespace

//! [entry]
template <>
std::unique_ptr<engine> make_engine<compiled_for>(extent tokens, extent heads, extent dim) {
  return std::make_unique<flash_engine>(tokens, heads, dim);
}
//! [entry]
