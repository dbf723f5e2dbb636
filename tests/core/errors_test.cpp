#include <doctest/doctest.h>

#include <cstring>
#include <exception>
#include <string>
#include <type_traits>

#include <ringfold/core/errors.hpp>

using namespace ringfold;

namespace {
template <class Derived, class Base>
constexpr bool below = std::is_base_of_v<Base, Derived> && !std::is_same_v<Base, Derived>;

static_assert(below<error, std::exception>);
static_assert(below<usage_error, error> && below<contract_violation, error> && below<transport_error, error>);
static_assert(below<device_error, error> && below<cancelled, error>);
static_assert(below<shape_error, usage_error> && below<alias_error, usage_error> && below<size_overflow, usage_error>);
static_assert(below<timeout_error, transport_error> && below<peer_failed, transport_error>);
static_assert(below<poisoned, transport_error>);
static_assert(!below<transport_error, usage_error> && !below<contract_violation, usage_error>);

// Throwing copies an error; a copy that could throw would end the program.
static_assert(std::is_nothrow_copy_constructible_v<poisoned> && std::is_nothrow_copy_assignable_v<poisoned>);
static_assert(noexcept(say("%d", 1)));
}  // namespace

TEST_CASE("say formats as printf does") {
  CHECK(std::string(say("ring: %d of %lld", 3, 4'000'000'000LL).text) == "ring: 3 of 4000000000");
  CHECK(std::string(say("%s", "").text).empty());
}

TEST_CASE("say cuts what does not fit, and ends it") {
  std::string const just_fits(511, 'x'), too_long(512, 'y'), much_too_long(100'000, 'z');
  CHECK(std::string(say("%s", just_fits.c_str()).text) == just_fits);
  CHECK(std::string(say("%s", too_long.c_str()).text) == std::string(511, 'y'));
  CHECK(std::string(say("%s", much_too_long.c_str()).text) == std::string(511, 'z'));
}

TEST_CASE("an error keeps its text and its place when it is caught as a base") {
  try {
    throw timeout_error(say("ring: no word from rank %d", 2), place{.rank = 1, .peer = 2, .step = 7, .origin = 3});
  } catch (const error& caught) {
    CHECK(std::strcmp(caught.what(), "ring: no word from rank 2") == 0);
    CHECK(caught.where().rank == 1);
    CHECK(caught.where().peer == 2);
    CHECK(caught.where().step == 7);
    CHECK(caught.where().origin == 3);
  }
  CHECK_THROWS_AS(throw shape_error(say("x")), usage_error);
  CHECK_THROWS_AS(throw poisoned(say("x")), std::exception);
}

TEST_CASE("an error that names no place says so") {
  place const nowhere = usage_error(say("x")).where();
  CHECK(nowhere.rank == -1);
  CHECK(nowhere.peer == -1);
  CHECK(nowhere.step == -1);
  CHECK(nowhere.origin == -1);
}

TEST_CASE("a copy of an error has a text of its own") {
  usage_error const copy = [] { return usage_error(say("first %d", 1)); }();
  usage_error other = copy;
  other = usage_error(say("second"));
  CHECK(std::string(copy.what()) == "first 1");
  CHECK(std::string(other.what()) == "second");
}
