#pragma once

#include <vector>

#include <ringfold/kernel/attention.hpp>

/// \file
/// Who needs whose keys, evaluated once by every rank for all of an axis.

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

  /// Whether `member` needs the block that `origin` holds while the caller holds the block of `owner`.
  bool operator()(int member, int origin, int owner) const {
    return needed_[index(member, owner_at(along_, owner, origin))] != 0;
  }

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

}  // namespace ringfold
