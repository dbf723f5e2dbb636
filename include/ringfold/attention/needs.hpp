#pragma once

#include <vector>

#include <ringfold/kernel/attention.hpp>

/// \file
/// Who needs whose keys, evaluated once by every rank for all of an axis; and what follows where only keys move.

namespace ringfold {

/// For the members of one axis: which of them need which owner's keys, inner attentions included.
class need_table {
 public:
  template <class A, class P>
  need_table(const A& inner, const P& p, axis along)
      : along_(along), needed_(static_cast<std::size_t>(along.count) * static_cast<std::size_t>(p.keys.ranks())) {
    for (int member = 0; member < along.count; ++member) {
      for (int owner = 0; owner < p.keys.ranks(); ++owner) {
        needed_[index(member, owner)] = inner.needs(p, owner_at(along, p.owner, member), owner);
      }
    }
  }

  /// Whether `member` needs the block of `owner`.
  bool operator()(int member, int owner) const { return needed_[index(member, owner)] != 0; }
  /// Whether `member` needs the block that `origin` holds while the caller holds the block of `owner`.
  bool operator()(int member, int origin, int owner) const { return (*this)(member, owner_at(along_, owner, origin)); }

 private:
  std::size_t index(int member, int owner) const {
    return static_cast<std::size_t>(owner) * static_cast<std::size_t>(along_.count) + static_cast<std::size_t>(member);
  }

  axis along_;
  std::vector<unsigned char> needed_;
};

/// Whether any member of an axis needs a block, when asked for the member at `query_owner`.
template <class A, class P>
bool any_member_needs(const A& inner, const P& p, axis along, int query_owner, int key_owner) {
  for (int member = 0; member < along.count; ++member) {
    if (inner.needs(p, owner_at(along, query_owner, member), key_owner)) return true;
  }
  return false;
}

/// What every attention shares whose ranks, along one axis, each have an inner attention.
template <communicator C, class A>
class along_axis {
  static_assert((require_same_stream<C, A>(), true));

 public:
  using stream = stream_t<C>;
  using space = space_t<C>;
  template <class P>
  using gradient_sum = gradient_sum_t<A, P>;
  static constexpr bool is_canonical = ringfold::is_canonical<A>;
  static constexpr bool closes_in_any_base = ringfold::closes_in_any_base<A>;

  int ranks() const { return comm_.size() * inner_.ranks(); }
  int owner() const { return comm_.rank() * axis_of(comm_).stride + inner_.owner(); }
  int owner_of(int index) const {
    return index % comm_.size() * axis_of(comm_).stride + inner_.owner_of(index / comm_.size());
  }
  extent fewest_heads() const { return inner_.fewest_heads(); }

  template <class P>
  bool needs(const P& p, int query_owner, int key_owner) const {
    return any_member_needs(inner_, p, axis_of(comm_), query_owner, key_owner);
  }

 protected:
  along_axis(C comm, A inner) : comm_(comm), inner_(inner) {}

  mutable C comm_;
  A inner_;
};

/// What every attention shares whose queries stay at home: all but how keys reach them. Its states have a part `inner`.
template <communicator C, class A>
class queries_at_home : public along_axis<C, A> {
 protected:
  using along_axis<C, A>::along_axis, along_axis<C, A>::inner_;

 public:
  using typename along_axis<C, A>::stream;

  template <class S, class Q>
  void prepare(S& s, Q q, stream on) const {
    inner_.prepare(s.inner, q, on);
  }
  template <class S, class Out>
  void close(S& s, Out out, stream on) const {
    inner_.close(s.inner, out, on);
  }
  template <class S, class Q, class Cotangent>
  void prepare_backward(S& s, Q q, Cotangent of_out, stream on) const {
    inner_.prepare_backward(s.inner, q, of_out, on);
  }
  template <class S, class Q>
  void close_backward(S& s, Q of_q, stream on) const {
    inner_.close_backward(s.inner, of_q, on);
  }
};

}  // namespace ringfold
