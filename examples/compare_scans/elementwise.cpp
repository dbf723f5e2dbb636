#include "support/rules/convolved.hpp"
#include "support/rules/diagonal.hpp"
#include "support/rules/memory_cell.hpp"
#include "support/rules/selective.hpp"

#include "prepared.hpp"

namespace compare_scans {

using ringfold::field, ringfold::factors;

std::unique_ptr<prepared> prepare_hgrn(const shape& s) {
  return prepare(rules::diagonal<field::real>{s.value_dim, slow, 0}, s);
}
std::unique_ptr<prepared> prepare_lru(const shape& s) {
  return prepare(rules::diagonal<field::complex, factors::learned>{s.value_dim, slow, 0}, s);
}
std::unique_ptr<prepared> prepare_mamba1(const shape& s) {
  return prepare(rules::selective{s.dim, s.value_dim, s.chunk, slow}, s);
}
std::unique_ptr<prepared> prepare_mlstm(const shape& s) {
  return prepare(rules::memory_cell{s.dim, s.value_dim, s.chunk, 2, 0, scale_of(s)}, s);
}
std::unique_ptr<prepared> prepare_convolution(const shape& s) { return prepare(rules::convolved{4, s.value_dim}, s); }

}  // namespace compare_scans
