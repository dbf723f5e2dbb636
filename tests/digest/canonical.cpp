// Built by each compiler at several optimisation levels: all of them must print the same, and what is committed.
#include <cstdio>

#include "support/canonical_digest.hpp"

int main() {
  int wrong = 0;
  for (int which = 0; which < 2; ++which) {
    for (int const rows : {1, 3}) {
      for (int const columns : {1, 2}) {
        std::uint64_t const got = canonical_digest::of(which, rows, columns), wanted = canonical_digest::wanted[which];
        std::printf("step %d on %d x %d ranks: %016llx, wanted %016llx\n", which, rows, columns,
                    static_cast<unsigned long long>(got), static_cast<unsigned long long>(wanted));
        wrong += got != wanted;
      }
    }
  }
  return wrong != 0;
}
