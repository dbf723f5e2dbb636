#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "subject.hpp"

/// \file
/// Flash attention as frameworks do it on a CPU: blocks of queries by keys, products by a library, softmax in between.

namespace peers {

/// Numbers by signed index.
template <class T>
class buffer {
 public:
  explicit buffer(long size) : numbers_(static_cast<std::size_t>(size)) {}
  T* begin() { return numbers_.data(); }
  T* end() { return begin() + numbers_.size(); }
  T& operator[](long i) { return begin()[i]; }

 private:
  std::vector<T> numbers_;
};

/// Library::multiply is C = op(A) op(B) + beta C in row-major order, of elements T into floats.
///
/// Blocks are PyTorch's, 256 queries by 512 keys; those above the diagonal are skipped, that on it is cut off at the
/// last key that anyone sees.
/// Source: aten/native/cpu/FlashAttentionKernel.cpp (PyTorch), after FlashAttention-2 (Dao, 2023).
template <class Library, class T>
class blocked_attention : public subject {
  static constexpr long query_block = 256, key_block = 512;
  static constexpr float hidden = -1e30F;  // a number, as -ffast-math knows no infinities

 public:
  explicit blocked_attention(const attention_case& of)
      : of_(of),
        scale_(1 / std::sqrt(static_cast<float>(of.dim))),
        scores_(key_block * query_block),
        slopes_(key_block * query_block),
        weights_(key_block * query_block),
        sum_(query_block * of.dim),
        largest_(query_block),
        total_(query_block),
        dq_(of.tokens * of.dim),
        dk_(of.tokens * of.dim),
        dv_(of.tokens * of.dim) {}

  void forward(void* const* tensors) override {
    auto const *query = read(tensors[attention::q]), *key = read(tensors[attention::k]),
               *value = read(tensors[attention::v]);
    auto* const output = static_cast<T*>(tensors[attention::out]);
    auto* const logarithms = static_cast<float*>(tensors[attention::lse]);
    long const dim = of_.dim;
    each_query_block([&](long i, long queries, long seen) {
      std::fill_n(largest_.begin(), queries, hidden);
      std::fill_n(total_.begin(), queries, 0.0F);
      each_key_block(seen, [&](long j, long keys) {
        Library::multiply(false, true, queries, keys, dim, query + i * dim, dim, key + j * dim, dim, 0.0F,
                          scores_.begin(), keys);
        for (long row = 0; row < queries; ++row) fold_row(row, keys, seen_of(i + row, j, keys), j == 0);
        Library::multiply(false, false, queries, dim, keys, weights_.begin(), keys, value + j * dim, dim,
                          j == 0 ? 0.0F : 1.0F, sum_.begin(), dim);
      });
      for (long row = 0; row < queries; ++row) {
        float const share = 1 / total_[row];
        float const* const sum = &sum_[row * dim];
        for (long c = 0; c < dim; ++c) output[(i + row) * dim + c] = T(sum[c] * share);
        logarithms[i + row] = largest_[row] + std::log(total_[row]);
      }
    });
  }

  void backward(void* const* tensors) override {
    auto const *query = read(tensors[attention::q]), *key = read(tensors[attention::k]),
               *value = read(tensors[attention::v]), *output = read(tensors[attention::out]),
               *cotangent = read(tensors[attention::dout]);
    auto const* const logarithms = static_cast<const float*>(tensors[attention::lse]);
    long const dim = of_.dim;
    for (buffer<float>* each : {&dq_, &dk_, &dv_}) std::fill(each->begin(), each->end(), 0.0F);
    each_query_block([&](long i, long queries, long seen) {
      for (long row = 0; row < queries; ++row) {
        float sum = 0;
        for (long c = (i + row) * dim; c < (i + row + 1) * dim; ++c) sum += float(output[c]) * float(cotangent[c]);
        total_[row] = sum;
      }
      each_key_block(seen, [&](long j, long keys) {
        Library::multiply(false, true, queries, keys, dim, query + i * dim, dim, key + j * dim, dim, 0.0F,
                          scores_.begin(), keys);
        for (long row = 0; row < queries; ++row) {
          float const logarithm = logarithms[i + row];
          float const* const score = &scores_[row * keys];
          T* const __restrict weight = &weights_[row * keys];
          long const visible = seen_of(i + row, j, keys);
          for (long c = 0; c < visible; ++c) weight[c] = T(std::exp(score[c] * scale_ - logarithm));
          std::fill(weight + visible, weight + keys, T(0.0F));
        }
        Library::multiply(true, false, keys, dim, queries, weights_.begin(), keys, cotangent + i * dim, dim, 1.0F,
                          &dv_[j * dim], dim);
        Library::multiply(false, true, queries, keys, dim, cotangent + i * dim, dim, value + j * dim, dim, 0.0F,
                          slopes_.begin(), keys);
        for (long row = 0; row < queries; ++row) {
          float const less = total_[row];
          float const* const slope = &slopes_[row * keys];
          T* const __restrict weight = &weights_[row * keys];
          for (long c = 0; c < keys; ++c) weight[c] = T(float(weight[c]) * (slope[c] - less) * scale_);
        }
        Library::multiply(false, false, queries, dim, keys, weights_.begin(), keys, key + j * dim, dim, 1.0F,
                          &dq_[i * dim], dim);
        Library::multiply(true, false, keys, dim, queries, weights_.begin(), keys, query + i * dim, dim, 1.0F,
                          &dk_[j * dim], dim);
      });
    });
    write(dq_, tensors[attention::dq]), write(dk_, tensors[attention::dk]), write(dv_, tensors[attention::dv]);
  }

 private:
  static const T* read(const void* tensor) { return static_cast<const T*>(tensor); }
  static void write(buffer<float>& from, void* to) {
    std::transform(from.begin(), from.end(), static_cast<T*>(to), [](float number) { return T(number); });
  }

  /// Calls f(first query, queries, keys that they see).
  template <class F>
  void each_query_block(F f) const {
    for (long i = 0; i < of_.tokens; i += query_block) {
      long const queries = std::min(query_block, of_.tokens - i);
      f(i, queries, of_.is_causal ? i + queries : of_.tokens);
    }
  }
  template <class F>
  static void each_key_block(long seen, F f) {
    for (long j = 0; j < seen; j += key_block) f(j, std::min(key_block, seen - j));
  }
  /// How many of the keys from j on a query sees.
  long seen_of(long query, long j, long keys) const {
    return of_.is_causal ? std::clamp(query + 1 - j, 0L, keys) : keys;
  }

  /// Weights of a row's scores; what was summed before is scaled down to the new largest score.
  void fold_row(long row, long keys, long visible, bool is_first) {
    float const* const score = &scores_[row * keys];
    T* const __restrict weight = &weights_[row * keys];
    float const scale = scale_;
    float highest = largest_[row], sum = 0;
    for (long c = 0; c < visible; ++c) highest = std::max(highest, score[c] * scale);
    float const largest = highest;
    for (long c = 0; c < visible; ++c) {
      float const each = std::exp(score[c] * scale - largest);
      sum += each;
      weight[c] = T(each);
    }
    std::fill(weight + visible, weight + keys, T(0.0F));
    float const shrink = std::exp(largest_[row] - largest);
    total_[row] = total_[row] * shrink + sum;
    largest_[row] = largest;
    if (is_first) return;
    for (long c = row * of_.dim; c < (row + 1) * of_.dim; ++c) sum_[c] *= shrink;
  }

  attention_case of_;
  float scale_;
  buffer<float> scores_, slopes_;
  buffer<T> weights_;
  buffer<float> sum_, largest_, total_, dq_, dk_, dv_;
};

}  // namespace peers
