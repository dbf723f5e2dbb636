#include <doctest/doctest.h>

#include <ringfold/comm/threads.hpp>
#include <ringfold/testing/communicator_laws.hpp>

using namespace ringfold;

static_assert(communicator<threads> && lends<threads>);
static_assert(communicator<basic_threads<phantom_stream>> && lends<basic_threads<phantom_stream>>);

TEST_CASE("threads keep the laws of communicators") {
  for (int const ranks : {1, 2, 3, 4, 5, 7, 8, 9, 16}) {
    CAPTURE(ranks);
    run_ranks(ranks, [](threads comm) { communicator_laws(comm, 7); });
  }
}
