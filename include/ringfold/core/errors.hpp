#pragma once

#include <cstdarg>
#include <cstdio>
#include <exception>

#include <ringfold/core/config.hpp>

/// \file
/// What can go wrong, as types: a usage_error sent nothing and leaves the communicator good; every other error
/// poisons it, and every rank then learns the origin's rank and text. No error allocates when it is thrown.

namespace ringfold {

/// One line of text of fixed size, so that an error can be made when memory is out.
struct line {
  char text[512] = {};
};

/// Formats one line as printf does; what does not fit is cut.
[[gnu::format(printf, 1, 2)]] inline line say(const char* format, ...) noexcept {
  line made;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(made.text, sizeof made.text, format, arguments);
  va_end(arguments);
  return made;
}

/// Where an error happened; -1 where a number is not known or does not apply.
struct place {
  int rank = -1;    ///< the rank that threw
  int peer = -1;    ///< the rank it was dealing with
  long step = -1;   ///< the exchange it was in, counted from 0 on this communicator
  int origin = -1;  ///< the rank where the failure began
};

/// The base of everything that ringfold throws.
class error : public std::exception {
 public:
  explicit error(const line& what, place where = {}) noexcept : what_(what), where_(where) {}
  const char* what() const noexcept override { return what_.text; }
  const place& where() const noexcept { return where_; }

 private:
  line what_;
  place where_;
};

/// A mistake in a call: nothing was sent, nothing was written, the communicator is still good.
struct usage_error : error {
  using error::error;
};
/// Extents that do not fit each other.
struct shape_error : usage_error {
  using usage_error::usage_error;
};
/// An output that overlaps an input.
struct alias_error : usage_error {
  using usage_error::usage_error;
};
/// A size that does not fit 64 bits.
struct size_overflow : usage_error {
  using usage_error::usage_error;
};

/// Two ranks disagree about what is exchanged.
struct contract_violation : error {
  using error::error;
};

/// The wire failed.
struct transport_error : error {
  using error::error;
};
/// A peer did not arrive within the communicator's deadline.
struct timeout_error : transport_error {
  using transport_error::transport_error;
};
/// A peer is gone.
struct peer_failed : transport_error {
  using transport_error::transport_error;
};
/// Another rank failed; where().origin says which, what() repeats its text.
struct poisoned : transport_error {
  using transport_error::transport_error;
};

/// A device reported a failure.
struct device_error : error {
  using error::error;
};
/// The caller asked to stop.
struct cancelled : error {
  using error::error;
};

}  // namespace ringfold
