#pragma once

#include <ringfold/core/communicator.hpp>

/// \file
/// What every transport refuses: before anything is posted, and when two ranks disagree about a message.

namespace ringfold::detail {

/// "f32 [1, 2, 3, 4]".
inline line described(const piece& p) {
  char const kind = p.type.code == 2 ? 'f' : p.type.code == 4 ? 'b' : p.type.code == 1 ? 'u' : 'i';
  return say("%c%d [%lld, %lld, %lld, %lld]", kind, p.type.bits * p.type.lanes, static_cast<long long>(p.extents[0]),
             static_cast<long long>(p.extents[1]), static_cast<long long>(p.extents[2]),
             static_cast<long long>(p.extents[3]));
}

inline void check_piece(const piece& p, const char* verb, std::size_t index, int ranks) {
  int const at = static_cast<int>(index);
  if (p.peer < 0 || p.peer >= ranks) {
    throw usage_error(say("post: %s %d names peer %d; allowed are 0..%d", verb, at, p.peer, ranks - 1));
  }
  extent bytes = p.type.bytes();
  for (extent const each : p.extents) {
    if (each < 0) {
      throw usage_error(say("post: %s %d is %s; no extent may be negative", verb, at, described(p).text));
    }
    bytes = checked_multiply(bytes, each);
  }
}

/// Refuses an exchange that no transport of `ranks` ranks can carry. \throws usage_error, size_overflow
inline void check_exchange(const exchange& x, int ranks) {
  for (std::size_t i = 0; i < x.sends.size(); ++i) {
    check_piece(x.sends[i], "send", i, ranks);
    if (x.sends[i].data == nullptr && x.sends[i].bytes() > 0) {
      throw usage_error(say("post: send %d has no memory; only a receive may be without", static_cast<int>(i)));
    }
  }
  for (std::size_t i = 0; i < x.receives.size(); ++i) check_piece(x.receives[i], "receive", i, ranks);
}

/// Whether a receive asks to be lent the sender's memory; where there is nothing to read, there is nothing to lend.
inline bool borrows(const piece& receive) { return receive.data == nullptr && receive.bytes() > 0; }

/// Whether a message is what the receive expects: the same type and extents.
inline bool matches(const piece& sent, const piece& receive) {
  for (int axis = 0; axis < 4; ++axis) {
    if (sent.extents[axis] != receive.extents[axis]) return false;
  }
  return sent.type == receive.type;
}

}  // namespace ringfold::detail

namespace ringfold {
using detail::check_exchange;  // for communicators of your own
}
