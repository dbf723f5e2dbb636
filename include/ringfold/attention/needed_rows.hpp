#pragma once

#include <vector>

#include <ringfold/kernel/attention.hpp>
#include <ringfold/sequence/seen.hpp>

/// \file
/// Who needs which rows of whose keys along an axis, evaluated once, by both ends alike.

namespace ringfold {

/// The rows of keys that a rank fetches from the other members of its axis, and those that it lends to them.
///
/// What one rank of an inner attention needs is fetched for all of them, as they share one layout of keys: each row once,
/// by the one whose place in the inner attention is that of the row's owner.
class needed_rows {
 public:
  /// Ascending runs of a block's rows. Packed, they lie in `place` of all rows that come, or go, at once.
  struct part {
    std::vector<range> runs;
    range place;

    /// Calls f(rows of the block, the same rows among the packed ones of this part).
    template <class F>
    void for_each_run(F f) const {
      range packed;
      for (range const& run : runs) {
        packed = {packed.first + packed.count, run.count};
        f(run, packed);
      }
    }
  };

  /// How many rows, in how many runs.
  struct total {
    extent rows = 0, runs = 0;
    void raise_to(const total& other) {
      rows = other.rows > rows ? other.rows : rows;
      runs = other.runs > runs ? other.runs : runs;
    }
  };

  template <class A, class P>
  needed_rows(const A& inner, const P& p, axis along)
      : fetched_(static_cast<std::size_t>(p.keys.ranks())), lent_(fetched_) {
    auto const at = [](std::vector<part>& all, int owner) -> part& { return all[static_cast<std::size_t>(owner)]; };
    for (int owner = 0; owner < p.keys.ranks(); ++owner) {
      if (member_of(along, owner) != member_of(along, p.owner)) continue;
      // The caller may hold this block, own or brought; the other members then hold those of its peers.
      at(fetched_, owner).runs.push_back({0, p.keys.rows(owner)});
      total coming, going;
      for (int member = 0; member < along.count; ++member) {
        int const peer = owner_at(along, owner, member);
        if (peer == owner) continue;
        at(fetched_, peer) = packed(seen_by(inner, p, p.owner, peer), coming);
        at(lent_, peer) = packed(seen_by(inner, p, owner_at(along, p.owner, member), owner), going);
      }
      most_fetched_.raise_to(coming), most_lent_.raise_to(going);
    }
  }

  /// What is fetched of the block of `peer`; all of it, where the caller's own place in the axis holds it.
  const part& fetched(int peer) const { return fetched_[static_cast<std::size_t>(peer)]; }
  /// What the rank that holds the block of `peer` gets of the one that the caller then holds.
  const part& lent(int peer) const { return lent_[static_cast<std::size_t>(peer)]; }

  /// The most that comes, and that goes, at once.
  const total& most_fetched() const { return most_fetched_; }
  const total& most_lent() const { return most_lent_; }

  /// Of each owner the rows that are fetched.
  layout of(const layout& keys) const {
    return keys.selected([this](int owner) { return span<const range>(fetched(owner).runs); });
  }

 private:
  /// Some runs behind all that were packed before.
  static part packed(std::vector<range> runs, total& before) {
    part made{static_cast<std::vector<range>&&>(runs), {before.rows, 0}};
    for (range const& run : made.runs) made.place.count += run.count;
    before = {before.rows + made.place.count, before.runs + static_cast<extent>(made.runs.size())};
    return made;
  }

  /// The rows of a block that any rank sees which works together with the one at `query_owner` in the inner attention.
  template <class A, class P>
  static std::vector<range> seen_by(const A& inner, const P& p, int query_owner, int key_owner) {
    if (!inner.needs(p, query_owner, key_owner)) return {};
    seen_rows rows(p.keys.rows(key_owner));
    for (int index = 0; index < inner.ranks(); ++index) {
      int const reader = query_owner - inner.owner() + inner.owner_of(index);
      rows.add(p.mask_of, p.queries.segments(reader), p.keys.segments(key_owner));
    }
    return rows.runs();
  }

  std::vector<part> fetched_, lent_;
  total most_fetched_, most_lent_;
};

}  // namespace ringfold
