#pragma once

#include <concepts>
#include <functional>
#include <variant>

#include <ringfold/sequence/documents.hpp>
#include <ringfold/sequence/shifted.hpp>

/// \file
/// A mask chosen at run time, so that one compiled test serves all of them.

/// A band, packed documents with a band in each, or a function of (query, key).
class any_mask {
 public:
  using by_pairs = ringfold::predicate_mask<std::function<bool(ringfold::extent, ringfold::extent)>>;

  any_mask(ringfold::band of) : which_(of) {}
  any_mask(ringfold::packed<ringfold::band> of) : which_(std::move(of)) {}
  template <std::predicate<ringfold::extent, ringfold::extent> F>
  any_mask(F of) : which_(by_pairs(std::move(of))) {}

  bool allows(ringfold::extent query, ringfold::extent key) const {
    return std::visit([&](const auto& m) { return m.allows(query, key); }, which_);
  }
  ringfold::coverage classify(ringfold::hull queries, ringfold::hull keys) const {
    return std::visit([&](const auto& m) { return m.classify(queries, keys); }, which_);
  }
  bool meets(ringfold::segment queries, ringfold::segment keys) const {
    return std::visit([&](const auto& m) { return m.meets(queries, keys); }, which_);
  }
  void check(const ringfold::layout& queries, const ringfold::layout& keys) const {
    std::visit(
        [&](const auto& m) {
          if constexpr (requires { m.check(queries, keys); }) m.check(queries, keys);
        },
        which_);
  }
  /// Of a band only.
  ringfold::extent left() const { return std::get<ringfold::band>(which_).left(); }
  ringfold::extent right() const { return std::get<ringfold::band>(which_).right(); }

 private:
  std::variant<ringfold::band, ringfold::packed<ringfold::band>, by_pairs> which_;
};
