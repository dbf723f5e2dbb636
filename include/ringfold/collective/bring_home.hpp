#pragma once

#include <ringfold/collective/parcel.hpp>
#include <ringfold/schedule/tree.hpp>

/// \file
/// What every rank has of everybody's, brought to its owners and folded together there.

namespace ringfold {

/// Straight to the owners at once, or from hand to hand in logarithmic time.
enum class reduction { all_to_all, tree };

/// Who hands whose parts on to whom, worked out once so that a call only walks along it.
///
/// `made(rank, owner)`: does that rank have a part of that owner's? A pure function that all ranks share.
class way_home {
 public:
  /// At a step, the caller hands on a part of an owner's, or is handed one.
  struct hop {
    int step, peer, owner;
    bool sends;
  };

  way_home() = default;

  template <class Made>
  way_home(reduction how, int me, int size, Made made) : how_(how) {
    using schedule::tree;
    bool const straight = how == reduction::all_to_all;
    auto const carries = [&](int rank, int owner) {
      int const ranks = straight ? 1 : tree::gathered(rank, size, owner);
      for (int i = 0; i < ranks; ++i) {
        if (made((rank + i) % size, owner)) return true;
      }
      return false;
    };
    steps_ = straight ? 1 : tree::steps(size);
    for (int step = 0; step < steps_; ++step) {
      for (int distance = 1; distance < size; ++distance) {
        int const owner = (me + size - distance) % size;
        if (!straight && tree::leaves(me, size, owner) != step) continue;
        if (carries(me, owner)) hops_.push_back({step, straight ? owner : tree::to(me, size, step), owner, true});
        int const rank = straight ? (me + distance) % size : tree::from(me, size, step);
        int const theirs = (rank + size - distance) % size;
        if (carries(rank, theirs)) hops_.push_back({step, rank, theirs, false});
      }
    }
  }

  pattern shape() const { return how_ == reduction::all_to_all ? pattern::all_to_all : pattern::pairs; }
  int steps() const { return steps_; }
  std::size_t most_pieces(int per_parcel) const { return hops_.size() * static_cast<std::size_t>(per_parcel); }

  /// Whether the caller hands on anything of an owner's.
  bool passes(int owner) const {
    for (const hop& each : hops_) {
      if (each.sends && each.owner == owner) return true;
    }
    return false;
  }

  /// Calls f(hop) for those of a step.
  template <class F>
  void at(int step, F f) const {
    for (const hop& each : hops_) {
      if (each.step == step) f(each);
    }
  }

  /// The bytes that arrive in one step at most, where part(owner) is what the caller has of an owner's.
  template <class Part>
  extent most_bytes(Part part) const {
    extent most = 0;
    for (int step = 0; step < steps_; ++step) {
      extent sum = 0;
      at(step, [&](const hop& each) { sum += each.sends ? 0 : bytes_of(part(each.owner)); });
      most = sum > most ? sum : most;
    }
    return most;
  }

 private:
  reduction how_ = reduction::all_to_all;
  int steps_ = 0;
  std::vector<hop> hops_;
};

/// Folds every rank's parts into their owners'.
///
/// `part(owner)` is a parcel: what the caller has of an owner's; its own becomes the result. What it only passes on must
/// be the identity of `fold(into, from)`, which works on the stream. `room` is memory for way.most_bytes(part), or none
/// where memory is lent. `lists` are the caller's scratch.
///
/// **Steps** 1, or with a tree log2 of the ranks, rounded up, with one peer each to send to and to hear from.
/// **Bytes** the parts of all other owners, once; with a tree also those that a rank without a part passes on.
/// **Memory** what arrives in one step, none where memory is lent. **Order** the own part, then by distance; with a tree,
/// by its steps. **Overlap** none.
/// Source: all-to-all: Helix (Bhatia et al., 2025); tree: Tree Attention (Shyam et al., 2024), which reduces to all.
/// \snippet collective/bring_home_test.cpp bring_home
template <communicator C, class Part, class Fold>
void bring_home(C& comm, const way_home& way, Part part, void* room, Fold fold, posting& lists, stream_t<C> on) {
  constexpr int count = decltype(part(0))::count;
  for (int step = 0; step < way.steps(); ++step) {
    char* next = static_cast<char*>(room);
    lists.clear();
    way.at(step, [&](const way_home::hop& each) {
      auto mine = part(each.owner);
      for (piece& one : mine.pieces) {
        one.peer = wire(comm, each.peer);
        if (each.sends) {
          lists.send(one);
          continue;
        }
        one = dense_rows(one, one.extents[row_axis]);
        one.data = next;
        if (next != nullptr) next += one.bytes();
        lists.receive(one);
      }
    });
    auto posted = lists.post(comm, on, way.shape());
    or_poison(comm, [&] {
      posted.arrived(on);
      int first = 0;
      way.at(step, [&](const way_home::hop& each) {
        if (each.sends) return;
        fold(part(each.owner), received<count, C>(posted, lists.receives.data(), first));
        first += count;
      });
      if constexpr (lends<C>) posted.release(on);
      posted.reusable(on);
    });
  }
}

}  // namespace ringfold
