#pragma once

#include <vector>

#include <ringfold/core/errors.hpp>

/// \file
/// Shards in the order of their tokens, who owns them, and where documents begin.

namespace ringfold {

/// Every rank knows all of it; a rank may own several slots, as under zigzag, or none.
struct scan_slots {
  std::vector<int> owners;
  std::vector<unsigned char> forgets{};  ///< a document begins in it: what enters leaves no trace behind it
  std::vector<unsigned char> fresh{};    ///< a document begins with it: what comes before is nothing to it

  /// Slots without documents.
  explicit scan_slots(std::vector<int> of)
      : owners(static_cast<std::vector<int>&&>(of)), forgets(owners.size()), fresh(owners.size()) {}
  /// What begins with a slot begins in it. Slot 0 begins with a document anyway: flag it where no seed may enter.
  /// \throws shape_error when there are not as many of each.
  scan_slots(std::vector<int> of, std::vector<unsigned char> forgetting, std::vector<unsigned char> beginning)
      : owners(static_cast<std::vector<int>&&>(of)),
        forgets(static_cast<std::vector<unsigned char>&&>(forgetting)),
        fresh(static_cast<std::vector<unsigned char>&&>(beginning)) {
    if (forgets.size() != owners.size() || fresh.size() != owners.size()) {
      throw shape_error(say("scan_slots: %d owners, %d slots that forget, %d fresh ones; give the same number of each",
                            count(), static_cast<int>(forgets.size()), static_cast<int>(fresh.size())));
    }
    for (std::size_t slot = 0; slot < fresh.size(); ++slot) forgets[slot] |= fresh[slot];
  }

  int count() const { return static_cast<int>(owners.size()); }
  int owner(int slot) const { return owners[static_cast<std::size_t>(slot)]; }
  bool forgets_at(int slot) const { return forgets[static_cast<std::size_t>(slot)] != 0; }
  bool fresh_at(int slot) const { return fresh[static_cast<std::size_t>(slot)] != 0; }

  /// Whether a slot hears of the one before it, and the one behind of it.
  bool enters(int slot) const { return slot > 0 && !fresh_at(slot); }
  bool leaves(int slot) const { return slot + 1 < count() && !fresh_at(slot + 1); }
  /// Whether what a slot leaves is known without what the slots before it make.
  bool begins(int slot) const { return slot == 0 || forgets_at(slot); }

  /// The ranks that own slots, by their first ones: the order in which most travels least.
  std::vector<int> circle() const {
    std::vector<int> made;
    for (int const rank : owners) {
      bool known = false;
      for (int const each : made) known = known || each == rank;
      if (!known) made.push_back(rank);
    }
    return made;
  }

  /// The slots of a rank, in order.
  std::vector<int> of(int rank) const {
    std::vector<int> made;
    for (int slot = 0; slot < count(); ++slot) {
      if (owner(slot) == rank) made.push_back(slot);
    }
    return made;
  }

  /// The same from the last to the first, as gradients travel: what begins with a slot ends the one before.
  scan_slots reversed() const {
    std::vector<unsigned char> beginning;
    for (int slot = count(); slot > 0; --slot) beginning.push_back(slot < count() && fresh_at(slot));
    return {{owners.rbegin(), owners.rend()}, {forgets.rbegin(), forgets.rend()}, beginning};
  }

  /// \throws usage_error when an owner is not one of so many ranks.
  void check(int ranks) const {
    for (int slot = 0; slot < count(); ++slot) {
      if (owner(slot) >= 0 && owner(slot) < ranks) continue;
      throw usage_error(say("scan: slot %d belongs to rank %d; there are ranks 0..%d", slot, owner(slot), ranks - 1));
    }
  }
};

}  // namespace ringfold
