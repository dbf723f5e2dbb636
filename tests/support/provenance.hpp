#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include <ringfold/algebra/softmax_merge.hpp>
#include <ringfold/core/dtype.hpp>

/// \file
/// A number that remembers which (query, key) pairs it is made of.

/// A real number with a memory: which query it belongs to, and how often each key has been added to it.
///
/// Sums add the counts. A product pairs a query with a key, or a weight with the value of the same key; anything else
/// is marked wrong, for good. A maximum forgets, since it only scales. Use it with dim = value_dim = 1.
struct provenance {
  static constexpr int most_keys = 64;

  double value = 0;
  std::int32_t query = -1;
  std::uint8_t wrong = 0;
  std::uint8_t keys[most_keys] = {};

  provenance() = default;
  explicit provenance(double plain) : value(plain) {}
  static provenance of_query(int query, double value) {
    provenance made(value);
    made.query = query;
    return made;
  }
  static provenance of_key(int key, double value) {
    provenance made(value);
    made.keys[key] = 1;
    return made;
  }

  bool holds_keys() const {
    for (auto const each : keys) {
      if (each != 0) return true;
    }
    return false;
  }
  bool same_keys(const provenance& other) const {
    for (int i = 0; i < most_keys; ++i) {
      if (keys[i] != other.keys[i]) return false;
    }
    return true;
  }
  void join_query(const provenance& other) {
    if (query >= 0 && other.query >= 0 && query != other.query) wrong = 1;
    if (query < 0) query = other.query;
    wrong = static_cast<std::uint8_t>(wrong | other.wrong);
  }

  friend provenance operator+(provenance a, const provenance& b) {
    a.value += b.value;
    a.join_query(b);
    for (int i = 0; i < most_keys; ++i) a.keys[i] = static_cast<std::uint8_t>(a.keys[i] + b.keys[i]);
    return a;
  }
  friend provenance operator-(provenance a, const provenance& b) {
    a.value -= b.value;
    a.join_query(b);
    return a;
  }
  friend provenance operator*(provenance a, const provenance& b) {
    a.value *= b.value;
    a.join_query(b);
    if (!a.holds_keys()) {
      for (int i = 0; i < most_keys; ++i) a.keys[i] = b.keys[i];
    } else if (b.holds_keys() && !a.same_keys(b)) {
      a.wrong = 1;
    }
    return a;
  }
  friend provenance operator/(provenance a, const provenance& b) {
    if (!a.same_keys(b)) a.wrong = 1;
    a.value /= b.value;
    a.join_query(b);
    return a;
  }
  friend bool operator<(const provenance& a, const provenance& b) { return a.value < b.value; }
  friend bool operator==(const provenance& a, const provenance& b) { return a.value == b.value; }
  friend provenance exp2(provenance a) {
    a.value = std::exp2(a.value);
    return a;
  }
  friend provenance log2(provenance a) {
    a.value = std::log2(a.value);
    return a;
  }
  friend provenance fma(const provenance& a, const provenance& b, const provenance& c) { return a * b + c; }
  friend provenance max(const provenance& a, const provenance& b) {
    provenance made(std::fmax(a.value, b.value));
    made.wrong = static_cast<std::uint8_t>(a.wrong | b.wrong);
    return made;
  }
};

/// Merges partials: a weight knows the keys that it is the weight of, so that an output weighed by another's is wrong.
template <class Base>
ringfold::merged_lse<provenance> merged_weights(const provenance& a, const provenance& b) {
  auto const merged = ringfold::merged_weights<Base>(a.value, b.value);
  ringfold::merged_lse<provenance> made{a + b, a, b};
  made.lse.value = merged.lse, made.weight_a.value = merged.weight_a, made.weight_b.value = merged.weight_b;
  return made;
}
inline provenance merged_output(const provenance& weight_a, const provenance& a, const provenance& weight_b,
                                const provenance& b) {
  if (!weight_a.same_keys(a) || !weight_b.same_keys(b)) {
    provenance made;
    made.wrong = 1;
    return made;
  }
  return weight_a * a + weight_b * b;
}

template <>
struct ringfold::scalar_traits<provenance> {
  using accumulate = provenance;
  static constexpr dtype type{3, 8, sizeof(provenance)};
};
