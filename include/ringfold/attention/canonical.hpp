#pragma once

#include <vector>

#include <ringfold/algebra/binned_softmax.hpp>
#include <ringfold/kernel/attention.hpp>
#include <ringfold/kernel/operands.hpp>

/// \file
/// Attention whose results are the same bits at any rank count and under any schedule.

namespace ringfold {

namespace detail {

/// Some rows of a shard, and which chunk of the sequence they are.
struct chunk_of_rows {
  int chunk;
  range rows;
};

/// The base of logarithms in which a unit is closed.
template <class A>
using base_of_unit = std::conditional_t<closes_in_any_base<A>, base_2, base_e>;

/// Calls f(chunk_of_rows) for all chunks of an owner, in the order in which it stores them.
template <class F>
void for_each_chunk(const layout& tokens, int owner, extent chunk, F f) {
  extent row = 0;
  for (const segment& each : tokens.segments(owner)) {
    for (extent first = 0; first < each.count; first += chunk) {
      extent const count = each.count - first < chunk ? each.count - first : chunk;
      f(chunk_of_rows{static_cast<int>((each.first + first * each.step) / chunk), {row + first, count}});
    }
    row += each.count;
  }
}

/// Throws unless every segment consists of whole chunks.
inline void check_chunks(const char* what, const layout& tokens, extent chunk) {
  for (int owner = 0; owner < tokens.ranks(); ++owner) {
    for (const segment& each : tokens.segments(owner)) {
      bool const adjacent = each.step == 1 || each.count == 1 || chunk == 1;
      extent const end = each.first + each.count;
      if (adjacent && each.first % chunk == 0 && (end % chunk == 0 || end == tokens.tokens())) continue;
      throw usage_error(
          say("canonical: rank %d holds %lld %s from token %lld on in steps of %lld; whole chunks of %lld are needed, "
              "as in "
              "striped(tokens, ranks, %lld)",
              owner, static_cast<long long>(each.count), what, static_cast<long long>(each.first),
              static_cast<long long>(each.step), static_cast<long long>(chunk), static_cast<long long>(chunk)));
    }
  }
}

/// The layout in which every chunk has an owner of its own. A sum has a term from each of them, and from each of
/// `group` heads. Throws when they are too many.
inline layout chunks_of(const char* what, const layout& tokens, extent chunk, extent group) {
  extent const count = tokens.tokens() / chunk + (tokens.tokens() % chunk != 0), most = binned_sum<float>::most_terms;
  if (checked_multiply(count, group) > most) {
    throw usage_error(
        say("canonical: %lld chunks of %s, times %lld heads that read a key; at most %lld fit a sum, so take longer "
            "chunks than %lld",
            static_cast<long long>(count), what, static_cast<long long>(group), static_cast<long long>(most),
            static_cast<long long>(chunk)));
  }
  return striped(tokens.tokens(), count > 0 ? static_cast<int>(count) : 1, chunk);
}

}  // namespace detail

/// An attention on one rank that gives the same bits whoever holds which chunks: under ring, gather, ulysses and every
/// nesting of them, at any rank count, forward and backward.
///
/// The work is cut into units that no rank count changes: one query head, a chunk of queries and one of keys, each the
/// tokens c * chunk .. (c + 1) * chunk - 1 of the sequence for some c (its last may be shorter). What the inner
/// attention makes of a unit is added to sums that are exactly associative (binned_sum), so neither the order in which
/// units come nor who adds them decides a bit. Gradients of keys and values travel as such sums.
///
/// Layouts of queries and of keys must consist of whole chunks: contiguous(tokens, ranks, chunk), zigzag(tokens, ranks,
/// chunk), striped(tokens, ranks, chunk). Bits depend on the chunk, the inner attention and the dtype. Those of
/// reference_kernel are the same from every compiler, those of flash_kernel on machines with fma and registers of one
/// width; of bf16, with AVX512_BF16 or without (those of widening_flash_kernel, on both). Gradients of sinks are a rank's
/// own sums, over its rows, and not meant.
///
/// **Steps** as without. **Bytes** forward as without. Backward, an element of a travelling gradient has 16 bytes
/// instead of 4 (24 instead of 8 for double). **Memory** as without, where gradients of keys and values take as many
/// times more; for each query row and head value_dim + 1 such sums, backward dim of them; one unit's results.
/// **Order** none. **Overlap** as without.
/// **Time** of flash_kernel, float, dim 64 and 128, 4096 tokens (bench/kernel_bench.cpp): in chunks of 64, 2.3 times
/// forward and 2 times backward what it takes without; of 128, 1.7 and 1.5; of 512, 1.3 and 1.15; of 1024, 1.2 and 1.1.
/// Source: reproducible summation, see binned_sum; closed partials by chunk: FlashDecoding (Dao et al., 2023).
/// \snippet attention/canonical_test.cpp canonical
template <attention_type A>
class canonical_attention {
 public:
  using stream = typename A::stream;
  using space = typename stream::space;
  static constexpr bool is_canonical = true, closes_in_any_base = true;
  template <class P>
  using gradient_sum = binned_sum<typename P::accumulate>;

  /// \throws usage_error when the chunk is not positive, or the inner attention spans several ranks.
  canonical_attention(A inner, extent chunk) : inner_(inner), chunk_(chunk) {
    if (chunk <= 0) {
      throw usage_error(say("canonical: chunks of %lld; at least 1 is needed", static_cast<long long>(chunk)));
    }
    if (inner.ranks() != 1) {
      throw usage_error(
          say("canonical: its attention spans %d ranks; put it around the kernel alone, as in ring(comm, "
              "canonical(kernel, chunk))",
              inner.ranks()));
    }
  }

  int ranks() const { return 1; }
  int owner() const { return 0; }
  int owner_of(int) const { return 0; }
  extent fewest_heads() const { return inner_.fewest_heads(); }

  template <class P>
  bool needs(const P& p, int query_owner, int key_owner) const {
    return inner_.needs(p, query_owner, key_owner);
  }

  /// \throws usage_error when a layout does not consist of whole chunks, or consists of too many.
  template <class P>
  auto state(const P& p, arena<space>& memory) const {
    require_attention<A, P, stream>();
    using sum = typename P::accumulate;
    struct open {
      units<P, state_of<A, P, stream>> work;
      view<const typename P::element, 4, space> q;        // as given to prepare()
      partial<sum, space, detail::base_of_unit<A>> part;  // one unit's
      binned_partial<sum, space> whole;
    };
    extent const rows = p.queries.rows(p.owner), heads = p.head.query;
    open made{cut(p, memory, [&](const P& of, arena<space>& in) { return inner_.state(of, in); }), {}, {}, {}};
    extent const longest = made.work.chunked.queries.most_rows();
    made.part = {memory.template take_view<sum>(p.batch, longest, 1, p.value_dim),
                 memory.template take_view<sum>(p.batch, longest, 1)};
    made.whole = {memory.template take_view<sum>(p.batch, rows, heads),
                  memory.template take_view<binned_sum<sum>>(p.batch, rows, heads),
                  memory.template take_view<binned_sum<sum>>(p.batch, rows, heads, p.value_dim)};
    return made;
  }

  template <class S, class Q>
  void prepare(S& s, Q q, stream on) const {
    s.q = q;
    set_identity(on, s.whole);
  }

  template <class S, class T>
  void accumulate(S& s, block<T, space> kv, stream on) const {
    for_each_unit(s.work, kv, [&](auto& inner, range rows, extent head, const block<T, space>& keys, range, extent) {
      decltype(s.part) const part{slice(s.part.o, row_axis, 0, rows.count), slice(s.part.lse, row_axis, 0, rows.count)};
      inner_.prepare(inner, part_of(s.q, rows, head), on);
      inner_.accumulate(inner, keys, on);
      inner_.close(inner, part, on);
      merge(on, slice(s.whole, rows, head), convert<base_2>(on, part));
    });
  }

  template <class S, class Out>
  void close(S& s, Out out, stream on) const {
    ringfold::close(on, s.whole, out);
  }

  /// \throws usage_error as state().
  template <class P>
  auto backward_state(const P& p, arena<space>& memory) const {
    require_differentiable<A, P, stream>();
    static_assert(!decltype(p.score.parts)::collects,
                  "[ringfold] canonical: the gradient of a bias is added to in the order in which work comes; take the "
                  "bias without a gradient, or the kernel without canonical");
    using element = typename P::element;
    using sum = typename P::accumulate;
    struct open {
      units<P, backward_state_of<A, P, stream>> work;
      view<const element, 4, space> q;
      cotangent<element, space> of_out;
      view<sum, 4, space> dq;  // one unit's
      block_gradient<sum, space> of_keys;
      view<binned_sum<sum>, 4, space> whole;
    };
    open made{cut(p, memory, [&](const P& of, arena<space>& in) { return inner_.backward_state(of, in); }),
              {},
              {},
              {},
              {},
              {}};
    extent const queries = made.work.chunked.queries.most_rows(), keys = made.work.chunked.keys.most_rows();
    made.dq = memory.template take_view<sum>(p.batch, queries, 1, p.dim);
    made.of_keys = {memory.template take_view<sum>(p.batch, keys, 1, p.dim),
                    memory.template take_view<sum>(p.batch, keys, 1, p.value_dim)};
    made.whole = memory.template take_view<binned_sum<sum>>(p.batch, p.queries.rows(p.owner), p.head.query, p.dim);
    return made;
  }

  template <class S, class Q, class T>
  void prepare_backward(S& s, Q q, cotangent<T, space> of_out, stream on) const {
    s.q = q, s.of_out = of_out;
    on.elementwise(elementwise::set_zero{}, s.whole);
  }

  template <class S, class T, class Sum>
  void accumulate_backward(S& s, block<T, space> kv, block_gradient<Sum, space> to, stream on) const {
    auto const add = [&](const auto& sums, const auto& terms) { on.elementwise(elementwise::add_to{}, sums, terms); };
    for_each_unit(
        s.work, kv,
        [&](auto& inner, range rows, extent head, const block<T, space>& keys, range key_rows, extent key_head) {
          auto const dq = slice(s.dq, row_axis, 0, rows.count);
          decltype(s.of_keys) const of_keys{slice(s.of_keys.k, row_axis, 0, key_rows.count),
                                            slice(s.of_keys.v, row_axis, 0, key_rows.count)};
          on.elementwise(elementwise::set_zero{}, of_keys.k);
          on.elementwise(elementwise::set_zero{}, of_keys.v);
          cotangent<T, space> const of_out{part_of(s.of_out.dout, rows, head), part_of(s.of_out.lse, rows, head),
                                           part_of(s.of_out.delta, rows, head)};
          inner_.prepare_backward(inner, part_of(s.q, rows, head), of_out, on);
          inner_.accumulate_backward(inner, keys, of_keys, on);
          inner_.close_backward(inner, dq, on);
          add(part_of(s.whole, rows, head), dq);
          add(part_of(to.k, key_rows, key_head), of_keys.k);
          add(part_of(to.v, key_rows, key_head), of_keys.v);
        });
  }

  template <class S, class Out>
  void close_backward(S& s, Out dq, stream on) const {
    on.elementwise(elementwise::round_to{}, dq, s.whole);
  }

 private:
  /// The caller's queries in chunks, and a state of the inner attention for each chunk and head, used in turn.
  template <class P, class State>
  struct units {
    P whole, chunked;  // the problem, and the one whose owners are chunks
    std::vector<detail::chunk_of_rows> queries;
    std::vector<State> states;  // [chunk][head]
  };

  template <class P, class Open>
  auto cut(const P& p, arena<space>& memory, Open open) const {
    static_assert(std::is_floating_point_v<typename P::accumulate>,
                  "[ringfold] canonical: sums must be kept in float or double");
    detail::check_chunks("queries", p.queries, chunk_);
    detail::check_chunks("keys", p.keys, chunk_);
    units<P, decltype(open(p, memory))> made{p, p, {}, {}};
    made.chunked.queries = detail::chunks_of("queries", p.queries, chunk_, p.head.group);
    made.chunked.keys = detail::chunks_of("keys", p.keys, chunk_, 1);
    detail::for_each_chunk(p.queries, p.owner, chunk_, [&](auto each) { made.queries.push_back(each); });
    int const count = static_cast<int>(made.queries.size() * static_cast<std::size_t>(p.head.query));
    made.states.reserve(static_cast<std::size_t>(count));
    memory.take_in_turn(count, [&](int turn) {
      P unit = made.chunked;
      extent const head = p.head.first_query + turn % p.head.query;
      unit.owner = made.queries[static_cast<std::size_t>(turn / p.head.query)].chunk;
      unit.head = {head, 1, head / p.head.group, 1, p.head.group};
      made.states.push_back(open(unit, memory));
    });
    return made;
  }

  /// Calls f(inner state, rows and head of its queries, chunk of keys, its rows and head in the block) for every unit
  /// of a block in which a query may see a key.
  template <class U, class T, class F>
  void for_each_unit(U& work, const block<T, space>& kv, F f) const {
    if (!kv.present()) return;
    heads const& h = work.whole.head;
    auto const readers = detail::readers(h, kv.first_key, kv.k.extents[head_axis]);
    detail::for_each_chunk(work.whole.keys, kv.owner, chunk_, [&](auto const& keys) {
      auto* inner = work.states.data();
      for (auto const& queries : work.queries) {
        auto* const of_chunk = inner;
        inner += h.query;
        if (!inner_.needs(work.chunked, queries.chunk, keys.chunk)) continue;
        for (extent head = readers.first; head < readers.first + readers.count; ++head) {
          extent const key_head = (h.first_query + head) / h.group, in_block = key_head - kv.first_key;
          block<T, space> const unit{part_of(kv.k, keys.rows, in_block), part_of(kv.v, keys.rows, in_block), keys.chunk,
                                     key_head};
          f(of_chunk[head], queries.rows, head, unit, keys.rows, in_block);
        }
      }
    });
  }

  /// Some rows of one head.
  template <class V>
  static V part_of(const V& whole, range rows, extent head) {
    return slice(slice(whole, row_axis, rows), head_axis, head, 1);
  }

  A inner_;
  extent chunk_;
};

/// The same bits at any rank count and under any schedule, from a kernel's work on chunks of so many tokens:
/// `ring(comm, canonical(flash_kernel{}, 512))`.
template <attention_type A>
canonical_attention<A> canonical(A inner, extent chunk) {
  return {inner, chunk};
}
template <class A>
  requires(!attention_type<A>)
not_an_attention<A> canonical(A, extent) {
  return {};
}

}  // namespace ringfold
