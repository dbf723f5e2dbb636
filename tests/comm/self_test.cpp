#include <doctest/doctest.h>

#include <ringfold/comm/self.hpp>
#include <ringfold/testing/communicator_laws.hpp>

using namespace ringfold;

static_assert(communicator<self> && lends<self>);
static_assert(communicator<basic_self<phantom_stream>> && lends<basic_self<phantom_stream>>);

TEST_CASE("self keeps the laws of communicators") {
  for (std::uint64_t seed = 1; seed < 20; ++seed) communicator_laws(self(), seed);
}
