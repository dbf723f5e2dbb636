#include "support/rules/matrices.hpp"

#include "prepared.hpp"

namespace compare_scans {

using ringfold::gating;
using rules::matrices, rules::writing;

std::unique_ptr<prepared> prepare_linear(const shape& s) {
  return prepare(matrices<writing::adds, gating::none>{s.dim, s.value_dim, s.chunk, slow, 0, scale_of(s)}, s);
}
std::unique_ptr<prepared> prepare_retention(const shape& s) {
  return prepare(matrices<writing::adds, gating::per_head>{s.dim, s.value_dim, s.chunk, slow, 0, scale_of(s)}, s);
}
std::unique_ptr<prepared> prepare_scalar(const shape& s) {
  return prepare(matrices<writing::adds, gating::per_token>{s.dim, s.value_dim, s.chunk, slow, 0, scale_of(s)}, s);
}
std::unique_ptr<prepared> prepare_gla(const shape& s) {
  return prepare(matrices<writing::adds, gating::per_row>{s.dim, s.value_dim, s.chunk, slow, 0, scale_of(s)}, s);
}

}  // namespace compare_scans
