#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include <sys/wait.h>

#include <doctest/doctest.h>

/// \file
/// Programs run as a user runs them.

namespace programs {

namespace fs = std::filesystem;

/// A directory of this test alone, removed with everything in it.
class temporary_directory {
 public:
  temporary_directory() : path_((fs::temp_directory_path() / "ringfold-test-XXXXXX").string()) {
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~temporary_directory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::size_t files() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(path_), {})); }

 private:
  std::string path_;
};

inline std::string text_of(const std::string& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct outcome {
  int code = -1;
  std::string out, err;
};

/// Runs a command line.
inline outcome run(const std::string& command) {
  temporary_directory const where;
  int const status = std::system((command + " >" + (where / "out") + " 2>" + (where / "err") + " </dev/null").c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text_of(where / "out"), text_of(where / "err")};
}

}  // namespace programs
