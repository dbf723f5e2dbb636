#pragma once

#include <cstdint>

#include <ringfold/sequence/score.hpp>

/// \file
/// Dropout of attention weights that does not depend on who computes them.

namespace ringfold {

/// Four random words from a counter and a key; the same everywhere. Source: Philox4x32-10, Salmon et al. (2011).
struct philox {
  std::uint32_t words[4];

  RINGFOLD_HD constexpr philox(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d, std::uint64_t key)
      : words{a, b, c, d} {
    for (int round = 0; round < 10; ++round) {
      turn(words[0], words[1], words[2], words[3], static_cast<std::uint32_t>(key),
           static_cast<std::uint32_t>(key >> 32));
      key = next(key);
    }
  }

  /// One round.
  RINGFOLD_HD static constexpr void turn(std::uint32_t& a, std::uint32_t& b, std::uint32_t& c, std::uint32_t& d,
                                         std::uint32_t key_a, std::uint32_t key_b) {
    std::uint64_t const left = std::uint64_t{a} * 0xd2511f53u, right = std::uint64_t{c} * 0xcd9e8d57u;
    a = static_cast<std::uint32_t>(right >> 32) ^ b ^ key_a, b = static_cast<std::uint32_t>(right);
    c = static_cast<std::uint32_t>(left >> 32) ^ d ^ key_b, d = static_cast<std::uint32_t>(left);
  }

  /// The key of the next round.
  RINGFOLD_HD static constexpr std::uint64_t next(std::uint64_t key) {
    std::uint32_t const low = static_cast<std::uint32_t>(key) + 0x9e3779b9u;
    std::uint32_t const high = static_cast<std::uint32_t>(key >> 32) + 0xbb67ae85u;
    return std::uint64_t{high} << 32 | low;
  }
};

/// A weight is dropped, or divided by 1 - probability, by a random word of its pair.
class dropout_part : public score_part {
 public:
  static constexpr bool drops = true;

  dropout_part(double probability, std::uint64_t seed)
      : seed_(seed), below_(static_cast<std::uint32_t>(probability * 0x1p32)), kept_(1 / (1 - probability)) {}

  std::uint64_t seed() const { return seed_; }
  /// What a random word makes of a weight.
  template <class A>
  A factor(std::uint32_t word) const {
    return word < below_ ? A(0) : A(kept_);
  }

  /// Four keys share a counter.
  template <class A>
  A keep(const token_pair& at) const {
    philox const drawn(static_cast<std::uint32_t>(at.key >> 2), static_cast<std::uint32_t>(at.query),
                       static_cast<std::uint32_t>(at.head), static_cast<std::uint32_t>(at.batch), seed_);
    return factor<A>(drawn.words[at.key & 3]);
  }

  void check(const pair_bounds& of) const {
    auto const numbered = [](const char* what, extent count, extent most) {
      if (count <= most) return;
      throw shape_error(say("dropout: %lld %s; at most %lld are told apart", static_cast<long long>(count), what,
                            static_cast<long long>(most)));
    };
    extent const words = extent{1} << 32;
    numbered("batches", of.batches, words), numbered("heads", of.heads, words);
    numbered("queries", of.queries, words), numbered("keys", of.keys, 4 * words);  // four share a counter
  }

 private:
  std::uint64_t seed_;
  std::uint32_t below_;
  double kept_;
};

/// Drops each weight with a probability, and divides the others by 1 - probability; the log-sum-exp knows nothing of it.
///
/// Which ones is a function of (seed, batch, head, query, key) in the numbers of the whole problem: the same at any
/// rank count, schedule and kernel, forward and backward. Give every call a seed of its own.
/// \throws usage_error when the probability is not in [0, 1). Source: Srivastava et al. (2014).
inline scored<dropout_part> dropout(double probability, std::uint64_t seed) {
  if (!(probability >= 0 && probability < 1)) {
    throw usage_error(say("dropout: a probability of %g; it must be in [0, 1)", probability));
  }
  return {0, dropout_part(probability, seed)};
}

}  // namespace ringfold
