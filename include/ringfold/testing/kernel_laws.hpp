#pragma once

#include <cstring>

#include <ringfold/kernel/attention.hpp>
#include <ringfold/testing/attention_cases.hpp>

/// \file
/// The laws of a local kernel on host memory: run them on your own.

namespace ringfold {

namespace testing::detail {

/// 64-byte aligned memory for an arena.
class law_memory {
 public:
  explicit law_memory(extent bytes) : chunks_(static_cast<std::size_t>(bytes / 64 + 1)), bytes_(bytes) {}
  arena<> fresh() { return {chunks_.data(), bytes_}; }
  /// Leaves no number as it was.
  void wipe() { std::memset(chunks_.data(), 0xff, chunks_.size() * sizeof(chunk)); }

 private:
  struct alignas(64) chunk {
    unsigned char bytes[64];
  };
  std::vector<chunk> chunks_;
  extent bytes_;
};

/// The results of one owner's queries.
template <class Sum>
struct rows_result {
  std::vector<Sum> o, lse;
  friend bool operator==(const rows_result&, const rows_result&) = default;
};

/// A kernel at work for one owner of a case.
template <class T, class Kernel>
class kernel_at_work {
  using problem_type = decltype(make_problem<T>(layout{}, shape{}, band{}));

 public:
  kernel_at_work(const Kernel& kernel, const attention_case& c, int owner)
      : kernel_(kernel), case_(c), problem_(make_problem<T>(c.tokens, c.of, c.seen)), owner_(owner) {
    problem_.owner = owner;
    arena<> measure;
    (void)kernel_.state(problem_, measure);
    bytes_ = measure.used();
    q_ = rows_of<T>(case_.q, case_.tokens, owner_, case_.of.batch, case_.of.heads * case_.of.dim);
  }

  /// Opens a state and lets `work(*this, state)` use it; then what was taken must be what was measured.
  template <class Work>
  rows_result<accumulate_t<T>> run(Work work) {
    law_memory memory(bytes_);
    memory_ = &memory;
    arena<> given = memory.fresh();
    auto state = kernel_.state(problem_, given);
    if (given.used() != bytes_) {
      throw law_violation(say("measured memory: state() takes %lld bytes, but measured %lld",
                              static_cast<long long>(given.used()), static_cast<long long>(bytes_)));
    }
    work(*this, state);
    extent const rows = case_.tokens.rows(owner_);
    rows_result<accumulate_t<T>> made;
    made.o.resize(static_cast<std::size_t>(case_.of.batch * rows * case_.of.heads * case_.of.value_dim));
    made.lse.resize(static_cast<std::size_t>(case_.of.batch * rows * case_.of.heads));
    kernel_.close(
        state,
        partial<accumulate_t<T>>{dense(made.o.data(), case_.of.batch, rows, case_.of.heads, case_.of.value_dim),
                                 dense(made.lse.data(), case_.of.batch, rows, case_.of.heads)},
        host_stream{});
    return made;
  }

  template <class S>
  void prepare(S& state) {
    extent const rows = case_.tokens.rows(owner_);
    kernel_.prepare(state, view<const T, 4>(dense(q_.data(), case_.of.batch, rows, case_.of.heads, case_.of.dim)),
                    host_stream{});
  }

  /// Folds in an owner's block, or some of its heads; the block's memory is gone afterwards, and must not have changed.
  template <class S>
  void fold(S& state, int owner, extent first_head, extent heads) {
    auto const& of = case_.of;
    auto const k = rows_of<T>(case_.k, case_.tokens, owner, of.batch, of.kv_heads * of.dim);
    auto const v = rows_of<T>(case_.v, case_.tokens, owner, of.batch, of.kv_heads * of.value_dim);
    auto k_now = k, v_now = v;
    extent const rows = case_.tokens.rows(owner);
    auto const whole_k = dense(k_now.data(), of.batch, rows, of.kv_heads, of.dim);
    auto const whole_v = dense(v_now.data(), of.batch, rows, of.kv_heads, of.value_dim);
    block<T> const part{slice(whole_k, head_axis, first_head, heads), slice(whole_v, head_axis, first_head, heads),
                        owner, first_head};
    kernel_.accumulate(state, part, host_stream{});
    for (std::size_t i = 0; i < k.size(); ++i) {
      if (static_cast<accumulate_t<T>>(k[i]) != static_cast<accumulate_t<T>>(k_now[i])) {
        throw law_violation(say("inputs are read only: accumulate() wrote to a key"));
      }
    }
  }
  template <class S>
  void fold_all(S& state) {
    for (int owner = 0; owner < case_.tokens.ranks(); ++owner) fold(state, owner, 0, case_.of.kv_heads);
  }
  template <class S>
  void fold_nothing(S& state, int owner) {
    block<T> nothing{{}, {}, owner, 0};
    nothing.k.extents[0] = nothing.v.extents[0] = case_.of.batch;
    nothing.k.extents[2] = nothing.v.extents[2] = case_.of.kv_heads;
    nothing.k.extents[3] = case_.of.dim, nothing.v.extents[3] = case_.of.value_dim;
    kernel_.accumulate(state, nothing, host_stream{});
  }

  /// Another state uses the memory.
  void wipe() { memory_->wipe(); }

  const attention_case& described() const { return case_; }
  bool needs(int key_owner) const { return kernel_.needs(problem_, owner_, key_owner); }

 private:
  Kernel kernel_;
  const attention_case& case_;
  problem_type problem_;
  int owner_;
  std::vector<T> q_;
  law_memory* memory_ = nullptr;
  extent bytes_ = 0;
};

}  // namespace testing::detail

/// Whatever the masks, layouts and shards: the definition's result, to within rounding of T.
template <class T, class Kernel>
void definition_law(const Kernel& kernel, const testing::attention_case& c, int owner) {
  testing::detail::kernel_at_work<T, Kernel> work(kernel, c, owner);
  auto const got = work.run([](auto& w, auto& state) { w.prepare(state), w.fold_all(state); });
  auto const o = testing::rows_of<double>(c.o, c.tokens, owner, c.of.batch, c.of.heads * c.of.value_dim);
  auto const lse = testing::rows_of<double>(c.lse, c.tokens, owner, c.of.batch, c.of.heads);
  constexpr double bound = sizeof(accumulate_t<T>) == 8 ? 1e-13 : 4e-6;
  testing::agree("definition, o", got.o, o, bound);
  testing::agree("definition, lse", got.lse, lse, bound);
}

/// prepare() starts afresh, whatever other states did to its memory meanwhile; absent blocks, and blocks of nobody's need, change no bit.
template <class T, class Kernel>
void state_law(const Kernel& kernel, const testing::attention_case& c, int owner) {
  testing::detail::kernel_at_work<T, Kernel> work(kernel, c, owner);
  auto const once = work.run([](auto& w, auto& state) { w.prepare(state), w.fold_all(state); });
  auto const again = work.run([](auto& w, auto& state) {
    w.prepare(state), w.fold_all(state);
    w.prepare(state), w.fold_all(state);
  });
  if (!(once == again)) throw law_violation(say("a state is used again: prepare() did not start afresh"));
  auto const in_turn = work.run([](auto& w, auto& state) {
    w.prepare(state), w.fold_all(state), w.wipe();
    w.prepare(state), w.fold_all(state);
  });
  if (!(once == in_turn)) throw law_violation(say("states in turn: prepare() trusts what memory held before"));
  int const ranks = c.tokens.ranks();
  auto const padded = work.run([ranks](auto& w, auto& state) {
    w.prepare(state);
    for (int from = 0; from < ranks; ++from) {
      w.fold_nothing(state, from);
      w.fold(state, from, 0, w.described().of.kv_heads);
    }
  });
  if (!(once == padded)) throw law_violation(say("absent blocks: one changed the result"));
  auto const needed = work.run([ranks](auto& w, auto& state) {
    w.prepare(state);
    for (int from = 0; from < ranks; ++from) {
      if (w.needs(from)) w.fold(state, from, 0, w.described().of.kv_heads);
    }
  });
  if (!(once == needed)) throw law_violation(say("need: a block that needs() refuses changed the result"));
}

/// Blocks in any order, and a few heads at a time, give the definition's result too.
template <class T, class Kernel>
void order_law(const Kernel& kernel, const testing::attention_case& c, int owner) {
  testing::detail::kernel_at_work<T, Kernel> work(kernel, c, owner);
  int const ranks = c.tokens.ranks();
  auto const got = work.run([ranks](auto& w, auto& state) {
    w.prepare(state);
    for (int i = 0; i < ranks; ++i) {
      for (extent head = w.described().of.kv_heads; head-- > 0;) w.fold(state, ranks - 1 - i, head, 1);
    }
  });
  auto const o = testing::rows_of<double>(c.o, c.tokens, owner, c.of.batch, c.of.heads * c.of.value_dim);
  constexpr double bound = sizeof(accumulate_t<T>) == 8 ? 1e-13 : 4e-6;
  testing::agree("any order, head by head", got.o, o, bound);
}

/// All laws of a local kernel, for elements of T. \throws law_violation
/// \snippet testing/attention_laws_test.cpp kernel_laws
template <class T, class Kernel>
void kernel_laws(const Kernel& kernel, std::uint64_t seed = 1) {
  static_assert(attention<Kernel, problem<T>, host_stream>, "[ringfold] kernel_laws: not an attention on host memory");
  shape const shapes[] = {{.heads = 2, .dim = 8},
                          {.batch = 2, .heads = 6, .kv_heads = 2, .dim = 5, .value_dim = 3},
                          {.heads = 3, .kv_heads = 1, .dim = 33, .value_dim = 40}};
  for (int const ranks : {1, 3}) {
    for (const layout& tokens : testing::law_layouts(ranks)) {
      for (band const mask : testing::law_masks()) {
        auto const c = testing::make_case<T>(tokens, shapes[seed % 3], mask, seed);
        ++seed;
        for (int owner = 0; owner < ranks; ++owner) {
          definition_law<T>(kernel, c, owner);
          state_law<T>(kernel, c, owner);
          order_law<T>(kernel, c, owner);
        }
      }
    }
  }
}

}  // namespace ringfold
