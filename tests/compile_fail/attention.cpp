// section 1: \[ringfold\] not an attention: derive a kernel from ringfold::local_attention
// section 2: \[ringfold\] not an attention for this problem: add +void accumulate\(my_state&, ringfold::block<T>, stream\) const;
// section 3: \[ringfold\] not an attention for this problem: add +void close\(my_state&, ringfold::partial<Sum>, stream\) const;
// section 4: \[ringfold\] not an attention for this problem: add +void prepare\(my_state&, ringfold::view<const T, 4> q, stream\) const;
// section 5: \[ringfold\] not an attention for this problem: add +template <class P> my_state state\(const P&, ringfold::arena<>&\) const;
// section 6: \[ringfold\] the attention and the communicator work on different streams; make both use one
// section 7: \[ringfold\] plan: only host memory is taken for you; pass memory of workspace_bytes\(attend, problem\)
// section 8: \[ringfold\] not a communicator: add +using stream = ringfold::host_stream;
// section 9: \[ringfold\] not a tensor: pass a ringfold::view, or add +auto ringfold_view\(\);
// section 10: \[ringfold\] this tensor has another element type, rank or space than the plan's problem
// section 11: \[ringfold\] no backward pass for this problem: add +template <class P> my_state backward_state\(const P&, ringfold::arena<>&\) const;
// section 12: \[ringfold\] not an executor: add +int workers\(\) const; template <class F> void run\(int count, F&& f\) const
#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/gather.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/attention/ring.hpp>
#include <ringfold/attention/ulysses.hpp>
#include <ringfold/comm/self.hpp>
#include <ringfold/kernel/cpu/flash.hpp>

template <class Stream>
struct candidate : ringfold::local_attention {
  using stream = Stream;
#if RINGFOLD_SECTION != 5
  template <class P>
  int state(const P&, ringfold::arena<typename Stream::space>&) const {
    return 0;
  }
#endif
#if RINGFOLD_SECTION != 4
  template <class Q>
  void prepare(int&, Q, stream) const {}
#endif
#if RINGFOLD_SECTION != 2
  template <class B>
  void accumulate(int&, B, stream) const {}
#endif
#if RINGFOLD_SECTION != 3
  template <class Out>
  void close(int&, Out, stream) const {}
#endif
};

int main() {
  using namespace ringfold;
  auto const problem = make_problem<float>(contiguous(4, 1), {.dim = 4});
#if RINGFOLD_SECTION == 1
  auto attend = ring(self{}, 3);
#elif RINGFOLD_SECTION == 6
  auto attend = gather(basic_self<phantom_stream>{}, candidate<host_stream>{});
#elif RINGFOLD_SECTION == 7
  plan run(ulysses(basic_self<phantom_stream>{}, candidate<phantom_stream>{}), problem);
#elif RINGFOLD_SECTION == 8
  auto attend = ulysses(3, candidate<host_stream>{});
#elif RINGFOLD_SECTION == 12
  auto attend = ring(self{}, flash_kernel{}.on(3));
#else
  plan run(ring(self{}, candidate<host_stream>{}), problem);
  plan alone(candidate<host_stream>{}, problem);
  view<float, 4> const fits{};
  alone.forward(fits, fits, fits, fits);
#if RINGFOLD_SECTION == 11
  backward_plan back(ring(self{}, candidate<host_stream>{}), problem);
#elif RINGFOLD_SECTION == 9
  alone.forward(fits, 3, fits, fits);
#elif RINGFOLD_SECTION == 10
  alone.forward(fits, fits, view<double, 4>{}, fits);
#endif
#endif
}
