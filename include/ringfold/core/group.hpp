#pragma once

#include <ringfold/core/reject.hpp>

/// \file
/// Some ranks of a communicator, by arithmetic: no new wire, the same order and the same counters.

namespace ringfold {

/// Every stride-th rank of a communicator from `first` on, `count` of them; the caller is one of them.
///
/// A group posts on its communicator's wire, so that two groups of one communicator can never deadlock each other.
template <communicator C>
class group {
 public:
  using stream = stream_t<C>;

  /// \throws usage_error when the caller is not a member or a member does not exist.
  group(C all, int first, int stride, int count)
      : all_(all), first_(first), stride_(stride), count_(count), owner_stride_(axis_of(all_).stride * stride) {
    extent const offset = extent{all_.rank()} - first;
    bool const member = stride > 0 && offset >= 0 && offset % stride == 0 && offset / stride < count;
    if (!member || first < 0 || first + extent{count - 1} * stride >= all_.size()) {
      throw usage_error(say("group: first %d, stride %d, count %d of %d ranks does not hold rank %d", first, stride,
                            count, all_.size(), all_.rank()));
    }
  }

  int rank() const noexcept { return (all_.rank() - first_) / stride_; }
  int size() const noexcept { return count_; }
  ringfold::axis axis() const { return {owner_stride_, count_}; }

  /// The same ranks as a world of their own: a layout then has their number of ranks, and grids begin with them.
  group as_whole() const {
    group same = *this;
    same.owner_stride_ = 1;
    return same;
  }
  int wire(int rank) const { return ringfold::wire(all_, first_ + rank * stride_); }
  request_t<C> post(exchange x, stream s) { return all_.post(x, s); }
  void poison(std::exception_ptr why) noexcept
    requires requires(C& c) { c.poison(why); }
  {
    all_.poison(why);
  }

 private:
  C all_;
  int first_, stride_, count_;
  int owner_stride_;  // between its ranks, in the numbering of owners
};

/// Ranks laid out as rows x columns, row by row: rank = row * columns + column.
template <communicator C>
class grid_of {
 public:
  /// \throws usage_error when rows * columns is not the number of ranks.
  grid_of(C all, int rows, int columns) : all_(all), rows_(rows), columns_(columns) {
    if (rows <= 0 || columns <= 0 || checked_multiply(rows, columns) != all.size()) {
      throw usage_error(say("grid: %d x %d ranks asked of a communicator of %d", rows, columns, all.size()));
    }
  }

  /// The ranks of my row: neighbours, `columns` of them.
  group<C> row() const { return {all_, all_.rank() / columns_ * columns_, 1, columns_}; }
  /// The ranks of my column: `rows` of them, `columns` apart.
  group<C> col() const { return {all_, all_.rank() % columns_, columns_, rows_}; }

 private:
  C all_;
  int rows_, columns_;
};

/// Lays the ranks of a communicator out as rows x columns.
template <communicator C>
grid_of<C> grid(C all, int rows, int columns) {
  return {all, rows, columns};
}

template <class C>
  requires(!communicator<C>)
not_a_communicator<C> grid(C, int, int);

}  // namespace ringfold
