#pragma once

#include <exception>
#include <new>
#include <stdexcept>

#include <fmt/format.h>

#include <ringfold/core/errors.hpp>

/// \file
/// How a program ends when something is wrong.

namespace ringfold::examples {

/// What f() returns; else one line to stderr, and 2 for an argument that is not allowed, 1 for anything else.
template <class F>
int guarded(const char* program, F f) {
  auto const complain = [&](const char* why) { fmt::print(stderr, "{}: {}\n", program, why); };
  constexpr const char* too_large = "out of memory; a smaller --seq, --batch, --heads or --dim needs less";
  try {
    return f();
  } catch (const usage_error& e) {
    complain(e.what());
    return 2;
  } catch (const std::bad_alloc&) {
    complain(too_large);
  } catch (const std::length_error&) {
    complain(too_large);
  } catch (const std::exception& e) {
    complain(e.what());
  }
  return 1;
}

}  // namespace ringfold::examples
