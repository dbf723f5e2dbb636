#pragma once

#include <new>
#include <type_traits>

#include <ringfold/core/reject.hpp>
#include <ringfold/kernel/attention.hpp>

/// \file
/// The outermost call: it checks, it owns the scratch memory, and it does once what must happen once.

namespace ringfold {

namespace detail {

struct round_to {
  template <class To, class From>
  RINGFOLD_HD void operator()(To& to, const From& from) const {
    to = static_cast<To>(from);
  }
};

/// The first byte of a view and the one behind its last; equal when it is empty.
template <class T, int Rank, class Space>
void byte_range(const view<T, Rank, Space>& v, const char*& begin, const char*& end) {
  begin = end = reinterpret_cast<const char*>(v.data);
  for (int axis = 0; axis < Rank; ++axis) {
    if (v.extents[axis] == 0) return;
  }
  for (int axis = 0; axis < Rank; ++axis) {
    extent const reach = (v.extents[axis] - 1) * v.strides[axis] * static_cast<extent>(sizeof(T));
    (reach < 0 ? begin : end) += reach;
  }
  end += sizeof(T);
}

template <class V, class W>
void refuse_overlap(const char* out_name, const V& out, const char* in_name, const W& in) {
  const char *out_begin, *out_end, *in_begin, *in_end;
  byte_range(out, out_begin, out_end);
  byte_range(in, in_begin, in_end);
  if (out_begin < in_end && in_begin < out_end) {
    throw alias_error(say("forward: %s overlaps %s; outputs need memory of their own", out_name, in_name));
  }
}

/// All that a plan takes from an arena; made from a measuring arena, it tells how much that is.
template <class A, class P, class Space>
struct workings {
  using element = typename P::element;
  using sum = typename P::accumulate;
  static constexpr bool rounds = !std::is_same_v<element, sum>;

  workings(const A& attend, const P& p, arena<Space>& memory)
      : output(
            memory.template take_view<sum>(rounds ? p.batch : 0, p.queries.rows(p.owner), p.head.query, p.value_dim)),
        lse(memory.template take_view<sum>(p.batch, p.queries.rows(p.owner), p.head.query)),
        state(attend.state(p, memory)) {}

  view<sum, 4, Space> output;  // before rounding
  view<sum, 3, Space> lse;     // where the caller wants none
  state_of<A, P, typename A::stream> state;
};

/// The problem seen from the caller's place in it. \throws usage_error when the rank counts differ.
template <class A, class P>
P placed(const A& attend, P p) {
  if (p.queries.ranks() != attend.ranks()) {
    throw usage_error(
        say("plan: the layout is for %d ranks, the attention spans %d", p.queries.ranks(), attend.ranks()));
  }
  p.owner = attend.owner();
  return p;
}

template <class V>
void check_view(const char* name, const V& v, std::initializer_list<extent> wanted) {
  static constexpr const char* axes[] = {"batch", "rows", "heads", "dim"};
  int axis = 0;
  extent elements = 1;
  for (extent const each : wanted) {
    if (v.extents[axis] != each) {
      throw shape_error(say("forward: %s has %lld %s, the problem has %lld", name,
                            static_cast<long long>(v.extents[axis]), axes[axis], static_cast<long long>(each)));
    }
    elements *= each;
    ++axis;
  }
  if (elements > 0 && v.data == nullptr) throw usage_error(say("forward: %s has no memory", name));
}

}  // namespace detail

/// The bytes of scratch that a plan needs on this rank.
template <class A, class P>
extent workspace_bytes(const A& attend, const P& p) {
  using space = typename A::stream::space;
  arena<space> measure;
  detail::workings<A, P, space> const measured(attend, detail::placed(attend, p), measure);
  return measure.used();
}

/// An attention made ready for one problem: checked, with all its memory; forward() may be called any number of times.
///
/// Every rank makes its plan and calls forward together. Inputs are never written.
/// A plan of host memory owns its scratch; for another space give memory of workspace_bytes(), which the caller keeps.
/// \snippet attention/plan_test.cpp plan
template <attention_type A, class P>
class plan {
  static_assert((require_attention<A, P, typename A::stream>(), true));

 public:
  using stream = typename A::stream;
  using space = typename stream::space;
  using element = typename P::element;
  using sum = typename P::accumulate;
  template <class T, int Rank>
  using view_here = view<T, Rank, space>;

  /// \throws usage_error when the problem does not fit the attention; nothing has been sent then.
  plan(const A& attend, const P& p) : plan(attend, p, nullptr, workspace_bytes(attend, p)) {
    static_assert(
        std::is_same_v<space, host_space>,
        "[ringfold] plan: only host memory is taken for you; pass memory of workspace_bytes(attend, problem)");
  }

  /// As above, in the caller's memory.
  plan(const A& attend, const P& p, void* memory, extent bytes)
      : attend_(attend),
        problem_(detail::placed(attend, p)),
        owned_(memory == nullptr ? bytes : 0),
        memory_(memory == nullptr ? owned_.data : memory, bytes),
        work_(attend_, problem_, memory_) {}
  plan(const plan&) = delete;
  plan& operator=(const plan&) = delete;

  /// Any tensor, as the view that forward() works on.
  template <class T, int Rank>
  struct argument {
    view_here<T, Rank> at;
    argument() = default;
    template <class Tensor>
      requires(!std::is_same_v<std::remove_cvref_t<Tensor>, argument>)
    argument(Tensor&& t) {
      if constexpr (std::is_convertible_v<Tensor, view_here<T, Rank>>) {
        at = t;
      } else {
        constexpr bool is_tensor = tensor<std::remove_reference_t<Tensor>>;
        static_assert(is_tensor, "[ringfold] not a tensor: pass a ringfold::view, or add    auto ringfold_view();");
        if constexpr (is_tensor) {
          constexpr bool fits = std::is_convertible_v<decltype(as_view(t)), view_here<T, Rank>>;
          static_assert(fits, "[ringfold] this tensor has another element type, rank or space than the plan's problem");
          if constexpr (fits) at = as_view(t);
        }
      }
    }
  };

  /// Attention of this rank's rows: q [batch, rows, heads, dim], k and v with kv heads, out with value_dim, and
  /// optionally the log-sum-exp (natural, [batch, rows, heads], -inf where a row saw nothing and out is 0).
  /// \throws shape_error, alias_error, usage_error before anything is sent; what the communicator throws afterwards.
  void forward(argument<const element, 4> q, argument<const element, 4> k, argument<const element, 4> v,
               argument<element, 4> out, argument<sum, 3> lse = {}, stream on = {}) {
    run(q.at, k.at, v.at, out.at, lse.at.data == nullptr ? work_.lse : lse.at, on);
  }

  /// The bytes of scratch in use.
  extent workspace() const { return memory_.used(); }
  /// The problem, with the caller's place in it.
  const P& described() const { return problem_; }

 private:
  extent rows() const { return problem_.queries.rows(problem_.owner); }

  void run(view_here<const element, 4> q, view_here<const element, 4> k, view_here<const element, 4> v,
           view_here<element, 4> out, view_here<sum, 3> lse, stream on) {
    check(q, k, v, out, lse);
    attend_.prepare(work_.state, q, on);
    attend_.accumulate(work_.state, block<element, space>{k, v, problem_.owner, problem_.head.first_key}, on);
    if constexpr (std::is_same_v<element, sum>) {
      attend_.close(work_.state, partial<sum, space>{out, lse}, on);
    } else {
      attend_.close(work_.state, partial<sum, space>{work_.output, lse}, on);
      on.elementwise(detail::round_to{}, out, work_.output);
    }
  }

  void check(view_here<const element, 4> q, view_here<const element, 4> k, view_here<const element, 4> v,
             view_here<element, 4> out, view_here<sum, 3> lse) const {
    P const& p = problem_;
    extent const keys = p.keys.rows(p.owner);
    detail::check_view("q", q, {p.batch, rows(), p.head.query, p.dim});
    detail::check_view("k", k, {p.batch, keys, p.head.key, p.dim});
    detail::check_view("v", v, {p.batch, keys, p.head.key, p.value_dim});
    detail::check_view("out", out, {p.batch, rows(), p.head.query, p.value_dim});
    detail::check_view("lse", lse, {p.batch, rows(), p.head.query});
    detail::refuse_overlap("out", out, "q", q);
    detail::refuse_overlap("out", out, "k", k);
    detail::refuse_overlap("out", out, "v", v);
    detail::refuse_overlap("lse", lse, "q", q);
    detail::refuse_overlap("lse", lse, "k", k);
    detail::refuse_overlap("lse", lse, "v", v);
    detail::refuse_overlap("lse", lse, "out", out);
  }

  /// Host memory for the arena, when the caller gave none.
  struct buffer {
    explicit buffer(extent bytes)
        : data(bytes == 0
                   ? nullptr
                   : ::operator new(static_cast<std::size_t>(bytes), std::align_val_t{arena<space>::alignment})) {}
    ~buffer() {
      if (data != nullptr) ::operator delete(data, std::align_val_t{arena<space>::alignment});
    }
    buffer(const buffer&) = delete;
    buffer& operator=(const buffer&) = delete;
    void* data;
  };

  A attend_;
  P problem_;
  buffer owned_;
  arena<space> memory_;
  detail::workings<A, P, space> work_;
};

}  // namespace ringfold
