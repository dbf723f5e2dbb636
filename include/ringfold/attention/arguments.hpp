#pragma once

#include <type_traits>
#include <vector>

#include <ringfold/core/arguments.hpp>
#include <ringfold/kernel/attention.hpp>

/// \file
/// What every plan of an attention does: its place in the problem, its memory.

namespace ringfold {

namespace detail {

/// The problem seen from the caller's place in it. \throws usage_error when the rank counts differ.
template <class A, class P>
P placed(const A& attend, P p) {
  if (p.queries.ranks() != attend.ranks()) {
    throw usage_error(
        say("plan: the layout is for %d ranks, the attention spans %d", p.queries.ranks(), attend.ranks()));
  }
  // Two axes that overlap, or leave ranks out, would leave shards out.
  std::vector<bool> seen(static_cast<std::size_t>(attend.ranks()), false);
  for (int index = 0; index < attend.ranks(); ++index) {
    int const owner = attend.owner_of(index);
    if (owner < 0 || owner >= attend.ranks() || seen[static_cast<std::size_t>(owner)]) {
      throw usage_error(
          say("plan: the attention spans %d ranks, but rank %d of them is %s; nest groups that are the "
              "rows and columns of one grid, and begin with group::as_whole() for a part of the ranks",
              attend.ranks(), owner, owner < attend.ranks() ? "there twice" : "not one of them"));
    }
    seen[static_cast<std::size_t>(owner)] = true;
  }
  p.owner = attend.owner();
  return p;
}

/// What may be left out is not given as elements without memory.
template <class V>
void check_optional(const char* call, const char* name, const V& v) {
  if (v.data == nullptr && v.size() > 0) throw usage_error(say("%s: %s has no memory", call, name));
}

/// Numbers per head: all of them, or none.
template <class V>
void check_sinks(const char* call, const char* name, const V& v, extent heads) {
  check_optional(call, name, v);
  if (v.data != nullptr && !std::is_floating_point_v<std::remove_const_t<typename V::element>>) {
    throw usage_error(say("%s: %s of numbers that are neither float nor double; leave them out", call, name));
  }
  if (v.data != nullptr && v.extents[0] != heads) {
    throw shape_error(say("%s: %s has %lld heads, the problem has %lld", call, name,
                          static_cast<long long>(v.extents[0]), static_cast<long long>(heads)));
  }
}

/// An attention made ready for one problem: checked, with all the memory that Work takes of an arena.
template <class A, class P, class Work>
class planned {
 public:
  using stream = typename A::stream;
  using space = typename stream::space;

  planned(const planned&) = delete;
  planned& operator=(const planned&) = delete;

  /// The bytes that Work takes on this rank.
  static extent measure(const A& attend, const P& p) {
    arena<space> nowhere;
    Work const measured(attend, placed(attend, p), nowhere);
    return nowhere.used();
  }

  /// The bytes of scratch in use.
  extent workspace() const { return memory_.used(); }
  /// The problem, with the caller's place in it.
  const P& described() const { return problem_; }

 protected:
  /// \throws alias_error when what a caller hands over lies in the scratch that is in use.
  template <class V>
  void refuse_in_scratch(const char* call, const char* name, const V& v) const {
    view<const unsigned char, 1, space> const scratch{scratch_, {memory_.used()}, {1}};
    refuse_overlap(call, "the plan's scratch", scratch, name, v);
  }

  /// In memory of its own, which must be host memory.
  planned(const A& attend, const P& p)
      : attend_(attend),
        problem_(placed(attend, p)),
        owned_(measure(attend, p)),
        scratch_(static_cast<const unsigned char*>(owned_.data())),
        memory_(owned_.data(), measure(attend, p)),
        work_(attend_, problem_, memory_) {}

  /// In the caller's memory. \throws usage_error when that is none
  planned(const A& attend, const P& p, void* memory, extent bytes)
      : attend_(attend),
        problem_(placed(attend, p)),
        owned_(0),
        scratch_(static_cast<const unsigned char*>(memory)),
        memory_(given(memory, bytes), bytes),
        work_(attend_, problem_, memory_) {}

  A attend_;
  P problem_;

 private:
  static void* given(void* memory, extent bytes) {
    if (memory == nullptr && bytes > 0) {
      throw usage_error(
          say("plan: %lld bytes of scratch at no address; was the memory allocated?", static_cast<long long>(bytes)));
    }
    return memory;
  }

  scratch_memory<space> owned_;
  const unsigned char* scratch_;
  arena<space> memory_;

 protected:
  Work work_;
};

}  // namespace detail

}  // namespace ringfold
