#pragma once

#include <algorithm>
#include <vector>

#include <ringfold/schedule/slots.hpp>
#include <ringfold/sequence/documents.hpp>

/// \file
/// The shards of a layout in the order of their tokens, as slots of a scan, cut where documents begin.

namespace ringfold {

/// Tokens that follow each other in the sequence and in the memory of the rank that holds them.
struct token_slot {
  extent first = 0, count = 0;  ///< tokens of the sequence
  int owner = 0;
  extent row = 0;  ///< the owner's row of the first of them
};

/// Every segment of a layout that steps by 1 is a slot, and of any other segment every token.
inline std::vector<token_slot> slots_in_order(const layout& tokens) {
  std::vector<token_slot> made;
  for (int owner = 0; owner < tokens.ranks(); ++owner) {
    extent row = 0;
    for (const segment& each : tokens.segments(owner)) {
      bool const whole = each.step == 1;
      for (extent i = 0; i < each.count; i += whole ? each.count : 1) {
        made.push_back({each.first + i * each.step, whole ? each.count : 1, owner, row + i});
      }
      row += each.count;
    }
  }
  std::sort(made.begin(), made.end(), [](const token_slot& a, const token_slot& b) { return a.first < b.first; });
  return made;
}

/// The rows of a slot by document, one after the other.
inline std::vector<range> rows_by_document(const token_slot& slot, const documents& packed) {
  std::vector<range> made;
  for (extent done = 0; done < slot.count;) {
    extent const left = packed.end(packed.at(slot.first + done)) - slot.first - done;
    extent const count = left < slot.count - done ? left : slot.count - done;
    made.push_back({slot.row + done, count});
    done += count;
  }
  return made;
}

/// The slots as a scan asks for them. The first document may have a seed, so the first slot is not a fresh one.
inline scan_slots scanned_slots(const std::vector<token_slot>& slots, const documents& packed) {
  std::vector<int> owners;
  std::vector<unsigned char> forgets, fresh;
  for (const token_slot& each : slots) {
    owners.push_back(each.owner);
    forgets.push_back(rows_by_document(each, packed).size() > 1);
    fresh.push_back(each.first > 0 && packed.first(packed.at(each.first)) == each.first);
  }
  return {static_cast<std::vector<int>&&>(owners), static_cast<std::vector<unsigned char>&&>(forgets),
          static_cast<std::vector<unsigned char>&&>(fresh)};
}

}  // namespace ringfold
