#pragma once

#include <ringfold/core/view.hpp>

/// \file
/// Memory that is asked for before it is needed.

namespace ringfold::detail {

/// Tokens to be worked on, and those whose turn is next.
struct chunk_rows {
  extent first, count;
  range next;
};

/// Rows that are wanted soon, fetched a few lines at a time while there is other work: a processor that follows one
/// stream by itself loses the thread of four that are read by tiles, and all at once they would keep it waiting.
class lines_ahead {
 public:
  void clear() { runs_ = 0, now_ = 0; }

  template <class T>
  void want(const view<T, 4>& of, extent batch, extent head, range rows) {
    constexpr extent bytes = sizeof(T);
    if (rows.count == 0 || runs_ == most || of.data == nullptr || of.strides[dim_axis] != 1) return;
    const void* const first = &of(batch, rows.first, head, 0);
    run_[runs_++] = {static_cast<const char*>(first), of.extents[dim_axis] * bytes, of.strides[row_axis] * bytes,
                     rows.count};
  }

  /// Asks for the next few rows.
  void fetch() {
    for (extent left = at_once; left > 0 && now_ < runs_;) {
      run& from = run_[now_];
      for (extent at = 0; at < from.bytes; at += line) __builtin_prefetch(from.row + at, 0, second_level);
      from.row += from.stride, left -= from.bytes;
      if (--from.rows == 0) ++now_;
    }
  }

 private:
  static constexpr int most = 8, second_level = 2;
  static constexpr extent line = 64, at_once = 24 * line;
  struct run {
    const char* row;
    extent bytes, stride, rows;
  };

  run run_[most] = {};
  int runs_ = 0, now_ = 0;
};

}  // namespace ringfold::detail
