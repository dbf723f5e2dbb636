#pragma once

#include <ringfold/core/span.hpp>
#include <ringfold/sequence/score.hpp>

/// \file
/// Attention with linear biases: scores fall with the distance of query and key.

namespace ringfold {

/// s becomes s - slope of the head * |query + offset - key|.
class alibi_part : public score_part {
 public:
  static constexpr bool changes = true;

  alibi_part(extent heads, const double* slopes, extent offset) : heads_(heads), slopes_(slopes), offset_(offset) {}

  extent offset() const { return offset_; }

  /// The slope of a query head. For a number of heads that is not a power of two, the heads beyond the next smaller
  /// one take every other slope of the next larger one, as published.
  double slope_of(extent head) const {
    if (slopes_ != nullptr) return slopes_[head];
    extent whole = 1;
    while (2 * whole <= heads_) whole *= 2;
    double const heads = static_cast<double>(whole);
    return head < whole ? exponential::exp2(-8 * static_cast<double>(head + 1) / heads)
                        : exponential::exp2(-4 * static_cast<double>(2 * (head - whole) + 1) / heads);
  }

  template <class A>
  A operator()(A s, const token_pair& at) const {
    extent const ahead = at.query + offset_ - at.key;
    return detail::fused(A(-slope_of(at.head)), A(ahead < 0 ? -ahead : ahead), s);
  }

  void check(const pair_bounds& of) const {
    if (heads_ != of.heads) {
      throw shape_error(say("alibi: slopes for %lld heads, the problem has %lld", static_cast<long long>(heads_),
                            static_cast<long long>(of.heads)));
    }
    if (!of.documents.alike) {
      throw usage_error(
          say("alibi: documents whose queries stand at different offsets from their keys; distances are "
              "between positions in the sequence, so one offset must hold for all"));
    }
    if (of.documents.given && of.documents.offset != offset_) {
      throw usage_error(
          say("alibi: an offset of %lld; queries of these documents stand %lld before their keys: give that",
              static_cast<long long>(offset_), static_cast<long long>(of.documents.offset)));
    }
  }

 private:
  extent heads_;
  const double* slopes_;
  extent offset_;
};

namespace detail {
inline void check_alibi_offset(extent offset) {
  constexpr extent most = extent{1} << 30;  // kernels subtract positions in 32 bits
  if (offset > most || offset < -most) {
    throw usage_error(say("alibi: an offset of %lld; at most 2^30 either way", static_cast<long long>(offset)));
  }
}
}  // namespace detail

/// The published slopes, 2^(-8 / heads), 2^(-16 / heads), ...; `offset` is added to every query's position, as
/// keys - queries where the mask is aligned to the bottom right.
/// Distances are between positions in the sequences. Documents of queries and of keys must stand one offset apart, all of
/// them, and that is to be given: then distances are those in the document too.
/// \throws usage_error when heads is not positive, or the offset is further than 2^30 either way.
/// Source: Press et al., Train Short, Test Long (2021).
inline scored<alibi_part> alibi(extent heads, extent offset = 0) {
  detail::check_alibi_offset(offset);
  if (heads <= 0) throw usage_error(say("alibi: %lld heads; at least 1 is needed", static_cast<long long>(heads)));
  return {0, alibi_part(heads, nullptr, offset)};
}

/// Slopes of your own, one per query head of the whole problem; they stay yours.
/// \throws usage_error when they have no memory, or the offset is further than 2^30 either way.
inline scored<alibi_part> alibi(span<const double> slopes, extent offset = 0) {
  detail::check_alibi_offset(offset);
  if (slopes.data() == nullptr) throw usage_error(say("alibi: slopes that have no memory"));
  return {0, alibi_part(static_cast<extent>(slopes.size()), slopes.data(), offset)};
}

}  // namespace ringfold
