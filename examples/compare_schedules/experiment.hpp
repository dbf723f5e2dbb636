#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <ringfold/algebra/binned_sum.hpp>
#include <ringfold/core/dtype.hpp>
#include <ringfold/sequence/alibi.hpp>
#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/dropout.hpp>
#include <ringfold/sequence/problem.hpp>

/// \file
/// What is compared: one attention over whole tensors.

namespace compare_schedules {

using ringfold::dtype;
using ringfold::dtype_of;
using ringfold::extent;

/// Calls f(T{}) for the element type that a tag names: one of f32, f64, bf16, f16.
template <class F>
auto with_element(dtype type, F f) {
  if (type == dtype_of<float>) return f(float{});
  if (type == dtype_of<double>) return f(double{});
  if (type == dtype_of<ringfold::bf16>) return f(ringfold::bf16{});
  return f(ringfold::f16{});
}

/// A whole tensor, dense [batch, token, head, dim], that owns its elements.
struct tensor {
  dtype type;
  extent extents[4] = {};
  std::vector<std::byte> bytes;

  tensor() = default;
  tensor(dtype element, extent batch, extent tokens, extent heads, extent dim)
      : type(element), extents{batch, tokens, heads, dim} {
    using ringfold::checked_multiply;
    extent const elements = checked_multiply(checked_multiply(batch, tokens), checked_multiply(heads, dim));
    bytes.resize(static_cast<std::size_t>(checked_multiply(elements, type.bytes())));
  }

  /// T must be the type that the tag names.
  template <class T>
  ringfold::view<T, 4> as() {
    return ringfold::dense(reinterpret_cast<T*>(bytes.data()), extents[0], extents[1], extents[2], extents[3]);
  }
  template <class T>
  ringfold::view<const T, 4> as() const {
    return ringfold::dense(reinterpret_cast<const T*>(bytes.data()), extents[0], extents[1], extents[2], extents[3]);
  }
};

/// The masks of the command line behind one type: a band, within documents where there are any.
struct any_mask {
  ringfold::band band;
  std::optional<ringfold::packed<ringfold::band>> documents;

  bool allows(extent query, extent key) const {
    return documents ? documents->allows(query, key) : band.allows(query, key);
  }
  ringfold::coverage classify(ringfold::hull queries, ringfold::hull keys) const {
    return documents ? documents->classify(queries, keys) : band.classify(queries, keys);
  }
  bool meets(ringfold::segment queries, ringfold::segment keys) const {
    return documents ? documents->meets(queries, keys) : band.meets(queries, keys);
  }
};

using optional_cap = ringfold::optional_part<ringfold::softcap_part>;
using optional_alibi = ringfold::optional_part<ringfold::alibi_part>;
using optional_dropout = ringfold::optional_part<ringfold::dropout_part>;
/// The scores of the command line behind one type.
using any_score = ringfold::score_chain<ringfold::score_chain<optional_cap, optional_alibi>, optional_dropout>;
template <class T>
using any_problem = ringfold::problem<T, any_mask, ringfold::scored<any_score>>;

/// One attention, the same on every rank.
struct experiment {
  ringfold::layout tokens, keys;  ///< who holds which queries, and which keys
  ringfold::shape shape;
  any_mask mask;
  std::vector<extent> ends;  ///< of documents
  double softcap = 0;        ///< 0: none
  bool alibi = false;
  double dropout = 0;
  std::uint64_t dropout_seed = 0;
  std::vector<double> sinks;  ///< one per head, or none
  bool backward = false;
  extent chunk = 0;  ///< of the canonical order; 0: the fast one
  dtype type;
  int repeats = 1;
  tensor q, k, v, dout;

  int ranks() const { return tokens.ranks(); }
  /// What sums are kept in.
  dtype sum_type() const {
    return with_element(type, []<class T>(T) { return dtype_of<ringfold::accumulate_t<T>>; });
  }
  /// What gradients of keys and values travel in.
  dtype gradient_type() const {
    return with_element(type, [&]<class T>(T) {
      using sum = ringfold::accumulate_t<T>;
      return chunk > 0 ? dtype_of<ringfold::binned_sum<sum>> : dtype_of<sum>;
    });
  }
  /// What is added to a query's position to be compared with keys: queries end where the keys end.
  extent offset() const { return keys.tokens() - tokens.tokens(); }

  ringfold::scored<any_score> score() const {
    return ringfold::optionally(softcap > 0, ringfold::softcap(softcap > 0 ? softcap : 1)) |
           ringfold::optionally(alibi, ringfold::alibi(shape.heads, offset())) |
           ringfold::optionally(dropout > 0, ringfold::dropout(dropout, dropout_seed));
  }
  template <class T>
  any_problem<T> problem(const ringfold::layout& of_queries, const ringfold::layout& of_keys) const {
    return ringfold::make_problem<T>(of_queries, of_keys, shape, mask, score());
  }
};

}  // namespace compare_schedules
