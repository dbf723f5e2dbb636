#pragma once

#include <type_traits>

#include <ringfold/core/executor.hpp>
#include <ringfold/core/workspace.hpp>
#include <ringfold/recurrence/heads.hpp>

/// \file
/// Threads inside a rank, for recurrences.

namespace ringfold {

/// A rule whose verbs share their heads among the workers of an executor, which must outlive it.
///
/// recurrence_over::on makes one of any rule that goes through heads by for_each_head(), which it calls from several
/// threads. A piece of work is one head of one batch, and a worker's until it is done: no sum is made in another order,
/// and results are the rule's own bits for every number of workers. Gradients that are sums over the batch, such as
/// those of gates per head, keep their order too: for gradients, one worker takes a head of all batches, unless the
/// rule's `batches_apart` says that it has no such sums. More workers than pieces are of no use.
/// meanwhile() is called by the caller's thread, after every round of a piece for each worker.
/// **Memory** the rule's for each worker. The first exception that a piece throws ends the call.
template <class Rule, executor E>
class shared_rule : public Rule {
  template <class P>
  using scratch = decltype(std::declval<const Rule&>().forward_workspace(std::declval<const P&>(), extent{},
                                                                         std::declval<arena<host_space>&>()));

 public:
  shared_rule(const Rule& rule, const E& on) : Rule(rule), on_(&on) {}

  /// What workers make their scratch of, anew for each piece.
  struct workspace {
    detail::arenas_of_workers arenas;
    extent most_tokens;
  };
  struct backward_workspace : workspace {};
  template <class P>
  workspace forward_workspace(const P& p, extent most_tokens, arena<host_space>& memory) const {
    return {{on_->workers(), memory, [&](auto& own) { (void)this->Rule::forward_workspace(p, most_tokens, own); }},
            most_tokens};
  }
  template <class P>
  backward_workspace backward_workspace_for(const P& p, extent most_tokens, arena<host_space>& memory) const {
    return {
        {{on_->workers(), memory, [&](auto& own) { (void)this->Rule::backward_workspace_for(p, most_tokens, own); }},
         most_tokens}};
  }

  template <class P, class... Views>
  void summarize(const workspace& work, const P& p, const Views&... views) const {
    share(work, heads_of_batches(p), [&](auto& own, const auto& some) { this->Rule::summarize(own, some, views...); });
  }
  template <class P, class Operands, class Out, class F>
  void within(const workspace& work, const P& p, const Operands& of, const Out& out, F meanwhile) const {
    auto const piece = [&](auto& own, const auto& some) { this->Rule::within(own, some, of, out, [] {}); };
    share_in_rounds(work, heads_of_batches(p), piece, meanwhile);
  }
  template <class P, class... Views>
  void carry(const workspace& work, const P& p, const Views&... views) const {
    share(work, heads_of_batches(p), [&](auto& own, const auto& some) { this->Rule::carry(own, some, views...); });
  }
  template <class P, class... Views>
    requires requires(const Rule& rule, scratch<P>& own, const some_heads<P>& some, const Views&... views) {
      rule.within_and_carry(own, some, views...);
    }
  void within_and_carry(const workspace& work, const P& p, const Views&... views) const {
    share(work, heads_of_batches(p),
          [&](auto& own, const auto& some) { this->Rule::within_and_carry(own, some, views...); });
  }

  template <class P, class... Views>
  void summarize_backward(const backward_workspace& work, const P& p, const Views&... views) const {
    share(work, heads_of_batches(p),
          [&](auto& own, const auto& some) { this->Rule::summarize_backward(own, some, views...); });
  }
  template <class P, class Operands, class V, class To, class F>
  void within_backward(const backward_workspace& work, const P& p, const Operands& of, const V& dout, const To& to,
                       F meanwhile) const {
    auto const piece = [&](auto& own, const auto& some) {
      this->Rule::within_backward(own, some, of, dout, to, [] {});
    };
    share_in_rounds(work, heads_of_sums(p), piece, meanwhile);
  }
  template <class P, class... Views>
  void carry_backward(const backward_workspace& work, const P& p, const Views&... views) const {
    share(work, heads_of_sums(p),
          [&](auto& own, const auto& some) { this->Rule::carry_backward(own, some, views...); });
  }

 private:
  /// All heads, in pieces.
  template <class P>
  struct pieces {
    const P& p;
    extent of_batch;  ///< into how many the batch is cut

    extent count() const { return of_batch * p.heads; }
    some_heads<P> operator[](extent i) const {
      extent const all = p.batch;
      return {p, of_batch == 1 ? range{0, all} : range{i / p.heads, 1}, {i % p.heads, 1}};
    }
  };
  template <class P>
  static pieces<P> heads_of_batches(const P& p) {
    return {p, p.batch};
  }
  template <class P>
  static pieces<P> heads_of_sums(const P& p) {
    bool const apart = requires { requires bool{Rule::batches_apart}; };
    return {p, apart ? p.batch : 1};
  }

  template <class P>
  auto scratch_of(const workspace& work, const P& p, arena<host_space>& own) const {
    return Rule::forward_workspace(p, work.most_tokens, own);
  }
  template <class P>
  auto scratch_of(const backward_workspace& work, const P& p, arena<host_space>& own) const {
    return Rule::backward_workspace_for(p, work.most_tokens, own);
  }

  /// Calls f(a worker's scratch, a piece) for some of the pieces, the workers' threads at once.
  template <class W, class P, class F>
  void share(const W& work, const pieces<P>& all, range some, F f) const {
    detail::hand_out(*on_, work.arenas.workers(), some.count, [&](extent index, int worker) {
      auto own = work.arenas[worker];
      auto at = scratch_of(work, all.p, own);
      f(at, all[some.first + index]);
    });
  }
  template <class W, class P, class F>
  void share(const W& work, const pieces<P>& all, F f) const {
    share(work, all, {0, all.count()}, f);
  }
  template <class W, class P, class F, class Between>
  void share_in_rounds(const W& work, const pieces<P>& all, F f, Between meanwhile) const {
    extent const count = all.count(), workers = work.arenas.workers();
    for (extent first = 0; first < count; first += workers) {
      share(work, all, range{first, workers}.within({0, count}), f);
      meanwhile();
    }
  }

  const E* on_;
};

/// Another executor takes the place of the one before.
template <class Rule, class Before, executor E>
shared_rule(const shared_rule<Rule, Before>&, const E&) -> shared_rule<Rule, E>;

}  // namespace ringfold
