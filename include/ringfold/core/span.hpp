#pragma once

#include <cstddef>
#include <type_traits>

#include <ringfold/core/config.hpp>

/// \file
/// A pointer and a count. The standard's own is the dearest header that the core would include.

namespace ringfold {

/// `size()` elements from `data()` on; owns nothing. Anything with data() and size() converts, std::span too.
template <class T>
class span {
 public:
  constexpr span() = default;
  constexpr span(T* first, std::size_t count) : first_(first), count_(count) {}
  template <std::size_t N>
  constexpr span(T (&all)[N]) : first_(all), count_(N) {}
  template <class Range>
    requires requires(Range&& all) {
      static_cast<T*>(all.data());
      static_cast<std::size_t>(all.size());
    } && (!std::is_same_v<std::remove_cvref_t<Range>, span>)
  constexpr span(Range&& all) : first_(all.data()), count_(all.size()) {}

  constexpr T* data() const { return first_; }
  constexpr std::size_t size() const { return count_; }
  constexpr bool empty() const { return count_ == 0; }
  constexpr T& operator[](std::size_t index) const { return first_[index]; }
  constexpr T& front() const { return *first_; }
  constexpr T& back() const { return first_[count_ - 1]; }
  constexpr T* begin() const { return first_; }
  constexpr T* end() const { return first_ + count_; }

 private:
  T* first_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace ringfold
