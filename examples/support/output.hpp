#pragma once

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include <ringfold/core/errors.hpp>

/// \file
/// Files that a program writes.

namespace ringfold::examples {

/// Writes a file; - is the standard output. \throws error when it cannot.
inline void write(const std::string& file, const std::string& text) {
  if (file == "-") {
    std::cout << text << std::flush;
    if (!std::cout) throw ringfold::error(say("--json -: the standard output cannot be written"));
    return;
  }
  errno = 0;
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw ringfold::error(say("%s: cannot be written (%s)", file.c_str(), std::strerror(errno)));
}

/// \throws usage_error when a file cannot be written; a file that was not there is not there afterwards.
inline void check_writable(const char* argument, const std::string& file) {
  if (file.empty() || file == "-") return;
  std::error_code ignored;
  bool const there = std::filesystem::exists(file, ignored);
  errno = 0;
  bool const opened = std::ofstream(file, std::ios::binary | std::ios::app).is_open();
  int const why = errno;
  if (opened && !there) std::filesystem::remove(file, ignored);
  if (!opened) {
    throw usage_error(say("%s %s: cannot be written (%s); allowed: a file in a folder that exists", argument,
                          file.c_str(), std::strerror(why)));
  }
}

}  // namespace ringfold::examples
