#pragma once

#include <ringfold/collective/scan.hpp>
#include <ringfold/core/reject.hpp>
#include <ringfold/recurrence/shared_rule.hpp>

/// \file
/// A recurrence over a sequence that is spread over ranks: a rule for the tokens, a schedule for the states.

namespace ringfold {

/// What recurrence() makes, and a plan runs.
template <communicator C, class Schedule, class Rule>
struct recurrence_over {
  using stream = stream_t<C>;
  using space = space_t<C>;
  using rule_type = Rule;
  static_assert(std::is_same_v<space, host_space>,
                "[ringfold] recurrence: rules work on host memory only; use a communicator of a host stream");
  template <class A>
  using scan = scan_of<Schedule, typename Rule::template algebra<A>, C>;

  /// The same, its heads shared inside a rank among the workers of an executor, which must outlive the plans of it: to
  /// the same bits for every number of workers. See shared_rule.
  /// \snippet executor/thread_pool_test.cpp recurrence
  template <executor To>
  auto on(const To& to) const {
    return recurrence(comm, schedule, shared_rule(rule, to));
  }
  template <executor To>
  void on(const To&&) const = delete;
  template <class To>
    requires(!executor<To>)
  not_an_executor<To> on(const To& to) const;

  C comm;
  Schedule schedule;
  Rule rule;
};

/// Spreads a rule over the ranks of a communicator: each makes one element of the tokens of each of its slots, a scan
/// tells it which state enters them, and what needs no state is worked out meanwhile.
///
/// `schedule` is any of schedule/scan.hpp; a rule, such as decay, has an algebra (algebra/affine.hpp) and the verbs
/// summarize, within and carry, and for gradients the same once more. Where it has within_and_carry, tokens whose state is
/// there go by that. Elements that nobody asks for are not summarized, but by a rule whose `tells_algebra` is true.
/// One that goes through heads by for_each_head() may be shared among threads, by `recurrence(...).on(executor)`.
/// **Steps** the schedule's, over slots. **Bytes** a state (schedule::chain) or an element a message; no tokens travel.
/// **Memory** the scan's, and a chunk's for each worker. **Order** the schedule's between slots; along the sequence
/// within them.
/// **Overlap** the scan with all work within chunks.
/// \throws usage_error when the rule cannot be.
/// \snippet recurrence/plan_test.cpp recurrence
template <communicator C, class Schedule, class Rule>
recurrence_over<C, Schedule, Rule> recurrence(C comm, Schedule schedule, Rule rule) {
  rule.check();
  return {comm, schedule, rule};
}

template <class C, class Schedule, class Rule>
  requires(!communicator<C>)
not_a_communicator<C> recurrence(C, Schedule, Rule);

}  // namespace ringfold
