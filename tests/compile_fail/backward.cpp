// section 1: \[ringfold\] no backward pass for this problem: add +void prepare_backward\(my_state&, view q, cotangent, stream\) const; void accumulate_backward\(my_state&, block, block_gradient, stream\) const; void close_backward\(my_state&, view dq, stream\) const;
// section 2: \[ringfold\] no backward pass for this problem: add +void prepare_backward\(my_state&, view q, cotangent, stream\) const;
// section 3: \[ringfold\] backward_plan: only host memory is taken for you; pass memory of backward_workspace_bytes\(attend, problem\)
// section 4: \[ringfold\] not an attention for this problem: derive it from ringfold::local_attention, or add +bool needs\(const P&, int query_owner, int key_owner\) const;
#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/comm/self.hpp>

/// A kernel, but for what a section leaves out.
template <class Stream>
struct candidate : ringfold::local_attention {
  using stream = Stream;
  template <class P>
  int state(const P&, ringfold::arena<typename Stream::space>&) const {
    return 0;
  }
  template <class Q>
  void prepare(int&, Q, stream) const {}
  template <class B>
  void accumulate(int&, B, stream) const {}
  template <class Out>
  void close(int&, Out, stream) const {}

  template <class P>
  int backward_state(const P&, ringfold::arena<typename Stream::space>&) const {
    return 0;
  }
  template <class Q, class Cotangent>
  void prepare_backward(int&, Q, Cotangent, stream) const {}
#if RINGFOLD_SECTION == 1
#elif RINGFOLD_SECTION == 2
  template <class B>
  void accumulate_backward(int&, B, stream) const {}
#else
  template <class B, class G>
  void accumulate_backward(int&, B, G, stream) const {}
#endif
  template <class Q>
  void close_backward(int&, Q, stream) const {}
};

/// One that does not say which blocks it needs.
struct without_needs {
  using stream = ringfold::host_stream;
  int ranks() const { return 1; }
  int owner() const { return 0; }
  int owner_of(int) const { return 0; }
  ringfold::extent fewest_heads() const { return 1; }
};

int main() {
  using namespace ringfold;
  auto const problem = make_problem<float>(contiguous(4, 1), {.dim = 4});
#if RINGFOLD_SECTION == 3
  backward_plan back(ring(basic_self<phantom_stream>{}, candidate<phantom_stream>{}), problem);
#elif RINGFOLD_SECTION == 4
  plan run(without_needs{}, problem);
#else
  backward_plan back(ring(self{}, candidate<host_stream>{}), problem);
#endif
}
