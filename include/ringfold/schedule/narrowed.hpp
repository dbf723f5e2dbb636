#pragma once

namespace ringfold::schedule {

/// A schedule whose states travel as numbers of T, e.g. bf16: opt-in, since what is sent is rounded.
///
/// Rounded is a state wherever a slot hands it on, and the value of an element before it leaves home; gates travel as they
/// are, and own tokens see their own sums. Schedules of the serial order round alike, and stay bitwise equal.
/// Each hop adds at most 2^-8 (bf16; float: 2^-24) of the state and of the value that it rounds to what is off; of
/// delta and selective rules over 2 to 10 slots, outputs and gradients were off by 0.5 % of the largest at most.
/// It goes around schedule::two_level, not into it.
/// **Steps, Order** those of `of`. **Bytes** those of `of` for states of such numbers.
/// Source: the bf16 states of LASP-2 and ZeCO.
template <class T, class Schedule>
struct narrowed {
  using number = T;
  Schedule of;
};

/// The same schedule with states of T in transit.
/// \snippet recurrence/narrow_test.cpp narrow
template <class T, class Schedule>
constexpr narrowed<T, Schedule> narrow(Schedule of) {
  return {of};
}

}  // namespace ringfold::schedule
