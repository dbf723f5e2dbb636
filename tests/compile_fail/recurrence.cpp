// section 1: \[ringfold\] recurrence: rules work on host memory only; use a communicator of a host stream
// section 2: \[ringfold\] not a communicator: add +using stream = ringfold::host_stream;
// section 3: \[ringfold\] not a tensor: pass a ringfold::view, or add +auto ringfold_view\(\);
// section 4: \[ringfold\] not an executor: add +int workers\(\) const; template <class F> void run\(int count, F&& f\) const
#include <ringfold/comm/self.hpp>
#include <ringfold/recurrence/decay.hpp>
#include <ringfold/recurrence/plan.hpp>

struct elsewhere {
  using stream = ringfold::phantom_stream;
  struct request {
    request() = default;
    request(request&&) = default;
    request& operator=(request&&) = default;
    void arrived(stream) {}
    void reusable(stream) {}
    bool test() { return true; }
  };
  int rank() const noexcept { return 0; }
  int size() const noexcept { return 1; }
  request post(ringfold::exchange, stream) { return {}; }
};

int main() {
  using namespace ringfold;
  auto const rule = decay<gating::none>{};
#if RINGFOLD_SECTION == 1
  (void)recurrence(elsewhere{}, schedule::chain{}, rule);
#elif RINGFOLD_SECTION == 2
  (void)recurrence(1, schedule::chain{}, rule);
#elif RINGFOLD_SECTION == 4
  (void)recurrence(self{}, schedule::chain{}, rule).on(3);
#else
  recurrence_plan run(recurrence(self{}, schedule::chain{}, rule),
                      make_recurrence<float>(contiguous(4, 1), {.heads = 1, .dim = 1}));
  float numbers[4] = {};
  auto const some = dense(numbers, 1, 4, 1, 1);
#if RINGFOLD_SECTION == 3
  run.forward({1, some, some, {}}, some);
#else
  run.forward({some, some, some, {}}, some);
#endif
#endif
}
