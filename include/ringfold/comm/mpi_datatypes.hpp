#pragma once

#include <vector>

#include <ringfold/comm/mpi_failure.hpp>
#include <ringfold/core/exchange.hpp>

/// \file
/// Strided pieces as MPI datatypes, made once per shape.

namespace ringfold::detail {

/// Runs of bytes, repeated along up to four axes, the innermost first; contiguous axes are folded.
struct strided_runs {
  extent run = 0;
  int axes = 0;
  extent counts[4] = {};
  extent strides[4] = {};
  friend bool operator==(const strided_runs&, const strided_runs&) = default;
};

inline strided_runs runs_of(const piece& p) {
  strided_runs made;
  if (p.elements() == 0) return made;
  made.run = p.type.bytes();
  for (int axis = 3; axis >= 0; --axis) {
    extent const count = p.extents[axis], stride = p.strides[axis];
    if (count == 1) continue;
    int const last = made.axes - 1;
    if (made.axes == 0 && stride == made.run) {
      made.run *= count;
    } else if (made.axes > 0 && stride == made.strides[last] * made.counts[last]) {
      made.counts[last] *= count;
    } else {
      made.counts[made.axes] = count;
      made.strides[made.axes++] = stride;
    }
  }
  return made;
}

/// The MPI datatypes of the shapes that were exchanged lately, because committing one allocates.
class mpi_datatypes {
 public:
  mpi_datatypes() = default;
  mpi_datatypes(const mpi_datatypes&) = delete;
  mpi_datatypes& operator=(const mpi_datatypes&) = delete;
  ~mpi_datatypes() {
    if (mpi_finalized()) return;
    for (entry& each : entries_) MPI_Type_free(&each.type);
  }

  /// The datatype of one piece of strided runs; give it back when the message is complete.
  MPI_Datatype take(const strided_runs& shape) {
    for (entry& each : entries_) {
      if (each.shape == shape) return ++each.users, each.type;
    }
    if (entries_.size() >= capacity) forget_idle();
    entries_.reserve(entries_.size() + 1);
    entries_.push_back({shape, make(shape), 1});
    return entries_.back().type;
  }

  void give(MPI_Datatype type) {
    for (entry& each : entries_) {
      if (each.type == type) --each.users;
    }
  }

 private:
  static constexpr std::size_t capacity = 64;

  struct entry {
    strided_runs shape;
    MPI_Datatype type;
    int users;
  };

  static MPI_Datatype make(const strided_runs& shape) {
    MPI_Datatype type = MPI_DATATYPE_NULL;
    mpi_check(MPI_Type_contiguous(static_cast<int>(shape.run), MPI_BYTE, &type), "MPI_Type_contiguous");
    for (int axis = 0; axis < shape.axes; ++axis) {
      MPI_Datatype outer = MPI_DATATYPE_NULL;
      int const code = MPI_Type_create_hvector(static_cast<int>(shape.counts[axis]), 1,
                                               static_cast<MPI_Aint>(shape.strides[axis]), type, &outer);
      MPI_Type_free(&type);
      mpi_check(code, "MPI_Type_create_hvector");
      type = outer;
    }
    int const code = MPI_Type_commit(&type);
    if (code != MPI_SUCCESS) MPI_Type_free(&type);
    mpi_check(code, "MPI_Type_commit");
    return type;
  }

  void forget_idle() {
    std::size_t kept = 0;
    for (entry& each : entries_) {
      if (each.users > 0) {
        entries_[kept++] = each;
      } else {
        MPI_Type_free(&each.type);
      }
    }
    entries_.resize(kept);
  }

  std::vector<entry> entries_;
};

}  // namespace ringfold::detail
