#include <doctest/doctest.h>

#include <string>

#include <ringfold/comm/self.hpp>
#include <ringfold/testing/communicator_laws.hpp>

using namespace ringfold;

static_assert(communicator<self> && lends<self>);
static_assert(communicator<basic_self<phantom_stream>> && lends<basic_self<phantom_stream>>);

TEST_CASE("self keeps the laws of communicators") {
  for (std::uint64_t seed = 1; seed < 20; ++seed) communicator_laws(self(), seed);
}

namespace {

piece block(double* memory, extent count) { return piece_of(dense(memory, count), role::other, 0); }

template <class Error, class F>
std::string text_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("self never waits for what nobody can send") {
  host_stream const s;
  double memory[4] = {};
  piece const p = block(memory, 4), asked = block(nullptr, 4);
  self comm;
  SUBCASE("a receive without a send") {
    CHECK(text_of<contract_violation>([&] {
            comm.post({{}, {&p, 1}}, s).arrived(s);
          }) == "self, exchange 0: waits for ever, 1 of its receives have no send");
  }
  SUBCASE("a send without a receive") {
    CHECK(text_of<contract_violation>([&] {
            comm.post({{&p, 1}, {}}, s).reusable(s);
          }) == "self, exchange 0: waits for ever, 1 of its sends have no receive, or were lent and not released");
  }
  SUBCASE("a loan that is not released") {
    auto posted = comm.post({{&p, 1}, {&asked, 1}}, s);
    posted.arrived(s);
    CHECK_THROWS_AS(posted.reusable(s), contract_violation);
  }
  SUBCASE("a dropped send") { static_cast<void>(comm.post({{&p, 1}, {}}, s)); }
  SUBCASE("a disagreement") {
    piece const shorter = block(memory, 3);
    CHECK(text_of<contract_violation>([&] {
            comm.post({{&p, 1}, {&shorter, 1}}, s);
          }) == "self: receive 0 of exchange 0 is f64 [1, 1, 1, 3], but send 0 of exchange 0 is f64 [1, 1, 1, 4]");
  }
  SUBCASE("poison") { comm.poison(nullptr); }
  self copy = comm;
  CHECK(text_of<poisoned>([&] { copy.post({}, s); }) == "self: an exchange before this one failed");
}
