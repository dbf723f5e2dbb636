#include "support/rules/matrices.hpp"

#include "prepared.hpp"

namespace compare_scans {

using ringfold::gating;
using rules::matrices, rules::writing;

std::unique_ptr<prepared> prepare_delta(const shape& s) {
  return prepare(matrices<writing::corrects, gating::none>{s.dim, s.value_dim, s.chunk, slow, 0, scale_of(s)}, s);
}
std::unique_ptr<prepared> prepare_gated_delta(const shape& s) {
  return prepare(matrices<writing::corrects, gating::per_token>{s.dim, s.value_dim, s.chunk, slow, 0, scale_of(s)}, s);
}
std::unique_ptr<prepared> prepare_kda(const shape& s) {
  return prepare(matrices<writing::corrects, gating::per_row>{s.dim, s.value_dim, s.chunk, slow, 0, scale_of(s)}, s);
}
std::unique_ptr<prepared> prepare_rwkv7(const shape& s) {
  return prepare(matrices<writing::of_low_rank, gating::per_row>{s.dim, s.value_dim, s.chunk, slow, 0, scale_of(s)}, s);
}

}  // namespace compare_scans
