#pragma once

#include <cstddef>
#include <cstdint>

#include <ringfold/core/dtype.hpp>
#include <ringfold/core/span.hpp>
#include <ringfold/core/view.hpp>

/// \file
/// The atom of communication: everything that one rank sends and receives in one step, posted together.

namespace ringfold {

/// What a piece carries; counters and traces sort bytes by it.
enum class role : std::uint8_t { other, query, key, value, output, lse, gradient, state };
inline constexpr int role_count = 8;

/// Strided memory of one element type, and the rank it goes to or comes from; owns nothing.
///
/// Peers are numbered as the wire numbers them: fill `peer` by wire(communicator, rank).
/// A send's memory is only read. A receive without memory asks to be lent the sender's; see request.
struct piece {
  void* data = nullptr;
  extent extents[4] = {1, 1, 1, 1};
  extent strides[4] = {};  ///< bytes
  dtype type{};
  role what = role::other;
  int peer = -1;
  void* lease = nullptr;  ///< set by the backend on borrowed memory; travels with it when it is sent on

  constexpr extent elements() const { return extents[0] * extents[1] * extents[2] * extents[3]; }
  constexpr extent bytes() const { return elements() * type.bytes(); }
};

/// Describes a view as a piece.
template <class T, int Rank, class Space>
piece piece_of(const view<T, Rank, Space>& from, role what, int peer = -1) {
  static_assert(Rank <= 4, "[ringfold] piece_of: a piece has at most 4 axes");
  piece made;
  made.data = const_cast<void*>(static_cast<const void*>(from.data));
  made.type = dtype_of<T>;
  made.what = what;
  made.peer = peer;
  for (int axis = 0; axis < Rank; ++axis) {
    made.extents[4 - Rank + axis] = from.extents[axis];
    made.strides[4 - Rank + axis] = from.strides[axis] * static_cast<extent>(sizeof(T));
  }
  return made;
}

/// A piece seen as a typed view again; T must be the type that the piece was made of.
template <class T, int Rank, class Space = host_space>
view<T, Rank, Space> view_of(const piece& from) {
  view<T, Rank, Space> made{static_cast<T*>(from.data), {}, {}};
  for (int axis = 0; axis < Rank; ++axis) {
    made.extents[axis] = from.extents[4 - Rank + axis];
    made.strides[axis] = from.strides[4 - Rank + axis] / static_cast<extent>(sizeof(T));
  }
  return made;
}

/// Who talks to whom in an exchange, so that a backend may use a native collective.
enum class pattern : std::uint8_t { pairs, all_gather, all_to_all };

/// All pieces that one rank sends and receives in one step. The k-th send a -> b meets the k-th receive b <- a.
struct exchange {
  span<const piece> sends{};
  span<const piece> receives{};
  pattern shape = pattern::pairs;
};

}  // namespace ringfold
