#pragma once

#include <initializer_list>
#include <new>
#include <type_traits>

#include <ringfold/core/overlap.hpp>
#include <ringfold/core/workspace.hpp>

/// \file
/// What a caller hands over to a plan, the checks of it, and the memory that a plan owns.

namespace ringfold {

/// Any tensor that shows elements of T in this space, as the view that a plan works on.
template <class T, int Rank, class Space>
struct argument {
  view<T, Rank, Space> at;

  argument() = default;
  template <class Tensor>
    requires(!std::is_same_v<std::remove_cvref_t<Tensor>, argument>)
  argument(Tensor&& t) {
    if constexpr (std::is_convertible_v<Tensor, view<T, Rank, Space>>) {
      at = t;
    } else {
      constexpr bool is_tensor = tensor<std::remove_reference_t<Tensor>>;
      static_assert(is_tensor, "[ringfold] not a tensor: pass a ringfold::view, or add    auto ringfold_view();");
      if constexpr (is_tensor) {
        constexpr bool fits = std::is_convertible_v<decltype(as_view(t)), view<T, Rank, Space>>;
        static_assert(fits, "[ringfold] this tensor has another element type, rank or space than the plan's problem");
        if constexpr (fits) at = as_view(t);
      }
    }
  }
};

namespace detail {

template <class V, class W>
void refuse_overlap(const char* call, const char* out_name, const V& out, const char* in_name, const W& in) {
  if (overlap(out, in)) {
    throw alias_error(say("%s: %s overlaps %s; outputs need memory of their own", call, out_name, in_name));
  }
}

inline constexpr const char* tensor_axes[4] = {"batch", "rows", "heads", "dim"};

template <class V>
void check_view(const char* call, const char* name, const V& v, const extent* wanted,
                const char* const (&axes)[4] = tensor_axes) {
  extent elements = 1;
  for (int axis = 0; axis < V::rank; ++axis) {
    if (v.extents[axis] != wanted[axis]) {
      throw shape_error(say("%s: %s has %lld %s, the problem has %lld", call, name,
                            static_cast<long long>(v.extents[axis]), axes[axis], static_cast<long long>(wanted[axis])));
    }
    elements *= wanted[axis];
  }
  if (elements > 0 && v.data == nullptr) throw usage_error(say("%s: %s has no memory", call, name));
}

template <class V>
void check_view(const char* call, const char* name, const V& v, std::initializer_list<extent> wanted) {
  check_view(call, name, v, wanted.begin());
}

/// Elements that are written must not share memory: each axis must step over all that axes of smaller strides span.
template <class V>
void check_written(const char* call, const char* name, const V& v) {
  for (extent const each : v.extents) {
    if (each == 0) return;
  }
  bool done[V::rank] = {};
  extent span = 0;  // from the first element to the last, over the axes done
  for (int turn = 0; turn < V::rank; ++turn) {
    int next = -1;
    extent step = 0;
    for (int axis = 0; axis < V::rank; ++axis) {
      extent const stride = v.strides[axis] < 0 ? -v.strides[axis] : v.strides[axis];
      if (!done[axis] && (next < 0 || stride < step)) next = axis, step = stride;
    }
    done[next] = true;
    if (v.extents[next] == 1) continue;
    if (step <= span) {
      throw alias_error(
          say("%s: %s has a stride of %lld along axis %d, within what other axes span; elements that are "
              "written need memory of their own",
              call, name, static_cast<long long>(v.strides[next]), next));
    }
    span += (v.extents[next] - 1) * step;
  }
}

/// Host memory for an arena, when the caller gave none.
template <class Space>
class scratch_memory {
 public:
  explicit scratch_memory(extent bytes)
      : data_(bytes == 0 ? nullptr
                         : ::operator new(static_cast<std::size_t>(bytes), std::align_val_t{arena<Space>::alignment})) {
  }
  ~scratch_memory() {
    if (data_ != nullptr) ::operator delete(data_, std::align_val_t{arena<Space>::alignment});
  }
  scratch_memory(const scratch_memory&) = delete;
  scratch_memory& operator=(const scratch_memory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_;
};

}  // namespace detail

}  // namespace ringfold
