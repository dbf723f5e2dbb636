// section 1: \[ringfold\] no backward pass for this problem: a score_function lacks its derivative; give it a second function of \(score, token_pair\)
// section 2: \[ringfold\] a bias with a gradient stands before a part that bends scores; put it behind
// section 3: \[ringfold\] score_function: the first is no const function of \(score, token_pair\) that returns a score
// section 4: \[ringfold\] score_function: the second is no const function of \(score, token_pair\) that returns a slope
// section 5: \[ringfold\] score_function: it gives float where scores are double; take the score as auto
#include <ringfold/attention/backward_plan.hpp>
#include <ringfold/attention/plan.hpp>
#include <ringfold/kernel/reference.hpp>
#include <ringfold/sequence/bias.hpp>

int main() {
  using namespace ringfold;
  auto const attend = [](auto score) {
    backward_plan(reference_kernel{}, make_problem<float>(contiguous(4, 1), {.dim = 4}, causal(), score));
  };
  auto const same = [](auto s, const token_pair&) { return s; };
  auto const one = [](auto, const token_pair&) { return 1.0F; };
  view<float, 4> const numbers{};
  attend(score_function(same, one) | softcap(2) | bias(numbers, numbers));
#if RINGFOLD_SECTION == 1
  attend(score_function(same));
#elif RINGFOLD_SECTION == 2
  attend(bias(numbers, numbers) | softcap(2));
#elif RINGFOLD_SECTION == 3
  attend(score_function([](auto s) { return s; }, one));
#elif RINGFOLD_SECTION == 4
  attend(score_function(same, [](auto, const token_pair&) {}));
#elif RINGFOLD_SECTION == 5
  auto const narrow = score_function([](float s, const token_pair&) { return s; });
  plan(reference_kernel{}, make_problem<double>(contiguous(4, 1), {.dim = 4}, causal(), narrow))
      .forward({}, {}, {}, {});
#endif
}
