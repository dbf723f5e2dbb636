#pragma once

#include <vector>

#include <ringfold/core/group.hpp>
#include <ringfold/testing/law.hpp>

/// \file
/// Messages whose every element says where it belongs; what the laws of communicators send.

namespace ringfold::laws {

/// A value of its own for every element of every message.
inline double mark(int from, int to, int message, extent element) {
  return static_cast<double>(((extent{from} * 64 + to) * 4096 + message) * (extent{1} << 20) + element);
}

/// Memory on one end of a message: some elements, with whatever lies between them.
class marked {
 public:
  static constexpr double untouched = -1;

  explicit marked(extent count) : marked(1, count, 0) {}

  /// rows x columns elements; `gap` more between them, and columns first in memory where it is odd.
  marked(extent rows, extent columns, int gap)
      : memory_(static_cast<std::size_t>((rows + gap) * (columns + gap)), untouched),
        elements_{memory_.data(), {rows, columns}, {columns + gap, 1}} {
    if (gap % 2 == 1) elements_.strides[0] = 1, elements_.strides[1] = rows + gap;
  }

  marked(marked&&) = default;  // the elements stay where they are
  marked& operator=(marked&&) = default;

  marked& filled(int from, int to, int message) {
    each([&](double& value, extent i) { value = mark(from, to, message, i); });
    return *this;
  }
  void overwrite() {
    each([](double& value, extent) { value = -2; });
  }

  piece to(int peer) { return piece_of(elements_, role::other, peer); }
  /// A receive that asks to be lent the memory.
  piece without_memory(int peer) {
    piece asked = to(peer);
    asked.data = nullptr;
    return asked;
  }

  void expect(const char* law, int from, int me, int message) { expect(law, elements_, from, me, message); }

  /// \throws law_violation when an element is not what was sent, or one between them was touched
  void expect(const char* law, view<double, 2> found, int from, int me, int message) {
    extent at = 0, touched = 0;
    for (extent row = 0; row < found.extents[0]; ++row) {
      for (extent column = 0; column < found.extents[1]; ++column, ++at) {
        double const value = found(row, column), expected = mark(from, me, message, at);
        if (value == expected) continue;
        throw law_violation(say("%s: rank %d, message %d from rank %d, element %lld is %.17g instead of %.17g", law, me,
                                message, from, static_cast<long long>(at), value, expected));
      }
    }
    for (double const value : memory_) touched += value != untouched;
    if (found.data == memory_.data() && touched != at) {
      throw law_violation(
          say("%s: rank %d, message %d from rank %d wrote outside of its elements", law, me, message, from));
    }
  }

 private:
  template <class F>
  void each(F f) {
    extent at = 0;
    for (extent row = 0; row < elements_.extents[0]; ++row) {
      for (extent column = 0; column < elements_.extents[1]; ++column) f(elements_(row, column), at++);
    }
  }

  std::vector<double> memory_;
  view<double, 2> elements_;
};

/// An exchange under construction, on ranks of the communicator.
template <communicator C>
class letter {
 public:
  explicit letter(C& comm) : comm_(comm) {}
  letter& send(marked& memory, int to) {
    sends_.push_back(memory.to(wire(comm_, to)));
    return *this;
  }
  letter& receive(marked& memory, int from) {
    receives_.push_back(memory.to(wire(comm_, from)));
    return *this;
  }
  letter& send(piece sent, int to) {
    sent.peer = wire(comm_, to);
    sends_.push_back(sent);
    return *this;
  }
  letter& receive(piece asked, int from) {
    asked.peer = wire(comm_, from);
    receives_.push_back(asked);
    return *this;
  }
  [[nodiscard]] request_t<C> post(pattern shape = pattern::pairs) {
    return comm_.post({.sends = sends_, .receives = receives_, .shape = shape}, stream_t<C>{});
  }

 private:
  C& comm_;
  std::vector<piece> sends_, receives_;
};

inline void require(bool holds, const line& law) {
  if (!holds) throw law_violation(law);
}

}  // namespace ringfold::laws
