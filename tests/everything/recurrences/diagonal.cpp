#include "../../../examples/support/rules/diagonal.hpp"

#include "check.hpp"

namespace recurrences {

using rules::diagonal;

std::string run_hgrn(const settings& s) { return run(diagonal<ringfold::field::real>{}, s); }
std::string run_lru(const settings& s) {
  return run(diagonal<ringfold::field::complex, ringfold::factors::learned>{}, s);
}

}  // namespace recurrences
